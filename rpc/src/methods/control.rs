//! Help, uptime, stop.

use super::{METHODS, MethodSpec, is_offered, method_spec};
use crate::{
    backend::Backend,
    error::{RpcError, excerpt},
};

pub(super) async fn help<B: Backend>(backend: &B, command: Option<String>) -> Result<String, RpcError> {
    match command {
        None => Ok(list(backend)),
        Some(name) => match method_spec(&name).filter(|spec| is_offered(backend, spec)) {
            Some(spec) => Ok(describe(spec)),
            None => Err(RpcError::invalid_parameter(format!(
                "help: unknown command: {}; `help` lists all commands",
                excerpt(&name)
            ))),
        },
    }
}

/// All methods, one a line, by category.
fn list<B: Backend>(backend: &B) -> String {
    let mut text = String::new();
    let mut category = "";
    for spec in METHODS.iter().filter(|spec| is_offered(backend, spec)) {
        if spec.category != category {
            if !category.is_empty() {
                text.push('\n');
            }
            category = spec.category;
            text.push_str(&format!("== {category} ==\n"));
        }
        text.push_str(&signature(spec));
        text.push('\n');
    }
    text
}

/// A method with its parameters, as one types it: `getblock blockhash [verbosity]`.
fn signature(spec: &MethodSpec) -> String {
    let params = spec.params.iter().map(|param| format!(" {param}"));
    format!("{}{}", spec.name, params.collect::<String>())
}

fn describe(spec: &MethodSpec) -> String {
    let mut text = format!("{}\n\n", signature(spec));
    for line in spec.help {
        let line = line.trim();
        if line.starts_with("Example:") {
            text.push('\n');
            text.push_str(&arguments(spec));
        }
        text.push_str(line);
        text.push('\n');
    }
    text
}

fn arguments(spec: &MethodSpec) -> String {
    if spec.params.is_empty() {
        return String::new();
    }
    let line = |param: &super::ParamSpec| {
        let optional = if param.optional { ", optional" } else { "" };
        format!("  {}: {}{optional}\n", param.name, param.kind)
    };
    format!("Parameters:\n{}\n", spec.params.iter().map(line).collect::<String>())
}

pub(super) async fn stop<B: Backend>(backend: &B) -> Result<String, RpcError> {
    backend.stop();
    Ok("Cairn is stopping".into())
}

pub(super) async fn uptime<B: Backend>(backend: &B) -> Result<u64, RpcError> {
    Ok(backend.uptime_secs())
}

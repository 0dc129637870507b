//! The commands of `cairn`, each in a file of its own.
//!
//! Answers go to stdout through [`answer`] and nothing else does; everything that is said goes to stderr.

mod chain;
mod completions;
mod connect;
mod devnet;
mod mine;
mod node;
mod progress;
mod rpc;
mod wallet;

use std::{
    fmt::Display,
    io::{self, Write},
    process::ExitCode,
};

use ::rpc::{
    client::ClientError,
    error::{RpcError, code},
};
use anyhow::Context;
use clap::Parser;

#[cfg(feature = "failpoints")]
use crate::store::failpoint::{NAMES, PANIC_VARIABLE, PARTS, VARIABLE};
use crate::{
    cli::{Cli, Command},
    shutdown,
};

/// All that the program does: reads the command line, does what was asked, says what went wrong. With the
/// feature `failpoints`, `CAIRN_FAILPOINT=list` and `CAIRN_PANIC=list` list them.
#[must_use]
pub fn main() -> ExitCode {
    shutdown::abort_on_panic();
    #[cfg(feature = "failpoints")]
    if std::env::var(VARIABLE).is_ok_and(|value| value == "list") {
        return exit_code(answer(NAMES.join("\n")), ErrorForm::Text);
    }
    #[cfg(feature = "failpoints")]
    if std::env::var(PANIC_VARIABLE).is_ok_and(|value| value == "list") {
        return exit_code(answer(PARTS.join("\n")), ErrorForm::Text);
    }
    let command = Cli::parse().command;
    let form = error_form(&command);
    exit_code(run(command), form)
}

/// Does what was asked.
///
/// # Errors
/// What to print to stderr, see [`exit_code`].
pub fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Node(args) => node::run(&args),
        Command::Wallet(args) => wallet::run(&args),
        Command::Mine(args) => mine::run(&args),
        Command::Devnet(args) => devnet::run(args),
        Command::Rpc(args) => rpc::run(&args),
        Command::Chain(args) => chain::run(&args),
        Command::Completions { shell } => completions::run(shell),
    }
}

/// How an error is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorForm {
    /// For people.
    Text,
    /// One line with a JSON object that has `code` and `message`, for programs.
    Json,
}

/// In which form the errors of a command are said: in that of its answers.
#[must_use]
pub fn error_form(command: &Command) -> ErrorForm {
    match command {
        Command::Wallet(args) if args.json => ErrorForm::Json,
        Command::Mine(args) if args.json => ErrorForm::Json,
        _ => ErrorForm::Text,
    }
}

/// Zero only for success; else says on stderr what went wrong, with its causes.
#[must_use]
pub fn exit_code(outcome: anyhow::Result<()>, form: ErrorForm) -> ExitCode {
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    let broken_pipe = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    };
    if error.downcast_ref::<AnswerError>().is_some() && error.chain().any(broken_pipe) {
        // Whoever read our answer has seen enough, as `head` does.
        return ExitCode::SUCCESS;
    }
    if form == ErrorForm::Json {
        say(&error_json(&error).to_string());
        return ExitCode::FAILURE;
    }
    match error.downcast_ref::<RpcRefusal>() {
        Some(RpcRefusal(error)) => {
            say(&format!("error code: {}\nerror message:\n{}", error.code, error.message));
        }
        None => say(&format!("error: {}", causes(&error))),
    }
    ExitCode::FAILURE
}

/// The error as an object: the code is the node's where it refused, else Bitcoin Core's for any other error.
fn error_json(error: &anyhow::Error) -> serde_json::Value {
    let of_node = |cause: &(dyn std::error::Error + 'static)| {
        let refusal = cause.downcast_ref::<RpcError>().map(|error| error.code);
        refusal.or_else(|| cause.downcast_ref::<ClientError>()?.code())
    };
    let code = error.chain().find_map(of_node).unwrap_or(code::MISC);
    serde_json::json!({ "code": code, "message": causes(error) })
}

/// A node's refusal as `bitcoin-cli` shows it.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct RpcRefusal(RpcError);

/// The answer could not be printed.
#[derive(Debug, thiserror::Error)]
#[error("the answer could not be written to stdout")]
struct AnswerError(#[source] io::Error);

/// The error and its causes in one line. A cause that the text before it repeats is left out.
fn causes(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

/// Why a node did not answer, with what to start.
fn explain(error: ClientError) -> anyhow::Error {
    match error {
        ClientError::Unreachable { .. } | ClientError::Cookie(_) => anyhow::anyhow!(
            "{error} Start one with `cairn node` or `cairn devnet`, or name another one with --node or --datadir."
        ),
        error => error.into(),
    }
}

/// Prints the answer, or a part of it, and the end of the line, to stdout.
///
/// # Errors
/// When stdout takes nothing more.
fn answer(text: impl Display) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}").and_then(|()| stdout.flush()).map_err(AnswerError).map_err(Into::into)
}

/// Prints an answer as indented JSON.
///
/// # Errors
/// When stdout takes nothing more.
fn answer_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    answer(serde_json::to_string_pretty(value).context("the answer cannot be written as JSON")?)
}

/// Says something on stderr. That stderr takes nothing is nothing that could be told.
fn say(text: &str) {
    drop(writeln!(io::stderr().lock(), "{text}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("it failed: {0}")]
        struct Outer(#[source] io::Error);
        let error = anyhow::Error::new(Outer(io::Error::other("no room"))).context("writing");
        assert_eq!(causes(&error), "writing: it failed: no room");
    }

    #[test]
    fn errors_are_objects_with_the_code_of_whoever_refused() {
        let refusal = RpcError::new(code::VERIFY_REJECTED, "no");
        for error in [anyhow::Error::new(refusal.clone()), ClientError::Rpc(refusal).into()] {
            let object = error_json(&error.context("sending"));
            assert_eq!(object["code"], code::VERIFY_REJECTED);
            assert!(object["message"].as_str().is_some_and(|text| text.starts_with("sending")), "{object}");
        }
        let own = error_json(&anyhow::anyhow!("there is no such wallet"));
        assert_eq!(own, serde_json::json!({"code": code::MISC, "message": "there is no such wallet"}));
    }
}

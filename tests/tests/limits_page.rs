//! `docs/limits.md` lists every limit on what comes from outside, as the sources have it: what is not on the page
//! is not in the sources, and the other way round. `make limits` writes it anew.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use node::p2p::{ConnectionCaps, wire::Kind};

/// The variable with which the page is written instead of being held.
const WRITE_VARIABLE: &str = "CAIRN_WRITE_LIMITS";
/// The rooms that hear the outside, and what they are to a reader.
const ROOMS: [(&str, &str); 4] = [
    ("node/src/p2p", "Connections, messages and gossip"),
    ("node/src/engine", "What is kept of what peers say"),
    ("node/src/live", "Queues between the parts of a node"),
    ("rpc/src/server", "The RPC server"),
];
/// Words of which one is in the name of every limit.
const WORDS: [&str; 12] = [
    "MAX_", "LIMIT", "TIMEOUT", "DEADLINE", "WINDOW", "PAUSE", "QUEUED", "_PER_", "BAN_", "LEAST_",
    "HISTORY", "STALL",
];
/// What the page says before its tables.
const INTRODUCTION: &str = "# Limits on what comes from outside

Everything that a peer or a caller can send, open, or make a node keep has a limit with a name. This page is made
from the sources (`make limits`), and a test (`tests/tests/limits_page.rs`) holds it to them. What follows from
breaking a limit is in `node/src/p2p/conduct.rs`; how it is provoked, in `tests/tests/hostile/`.
";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// The Rust files below a folder, tests left out, in order.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("a folder can be listed").path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            if !path.ends_with("tests") {
                files(&path, found);
            }
        } else if path.extension().is_some_and(|ending| ending == "rs") && !path.ends_with("tests.rs") {
            found.push(path);
        }
    }
}

/// Name, value and meaning of the limits of a source.
fn limits(text: &str) -> Vec<(String, String, String)> {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let mut meaning = String::new();
    let mut found = Vec::new();
    let mut lines = code.lines();
    while let Some(line) = lines.next() {
        if let Some(words) = line.strip_prefix("///") {
            meaning = format!("{meaning} {}", words.trim()).trim().to_owned();
            continue;
        }
        let constant = line
            .split_once("const ")
            .filter(|(before, _)| before.is_empty() || (before.starts_with("pub") && !before.contains("fn")));
        if let Some((name, rest)) = constant.and_then(|(_, rest)| rest.split_once(": ")) {
            let mut rest = rest.to_owned();
            while !rest.contains(';') {
                let Some(more) = lines.next() else { break };
                rest = format!("{rest} {}", more.trim());
            }
            if let Some((kind, value)) = rest.split_once(" = ")
                && WORDS.iter().any(|word| name.contains(word))
                && !kind.contains("str")
            {
                let value = value.split(';').next().unwrap_or_default().replace('|', "\\|");
                found.push((name.to_owned(), value, meaning.replace('|', "\\|")));
            }
        }
        meaning.clear();
    }
    found
}

fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    page += "\n## Requests, by kind\n\n| protocol | request, bytes | response, bytes | open for each side | seconds |\n";
    page += "| --- | --- | --- | --- | --- |\n";
    for kind in Kind::ALL {
        page += &format!(
            "| `{}` | {} | {} | {} | {} |\n",
            kind.name(),
            kind.max_request_bytes(),
            kind.max_response_bytes(),
            kind.requests_per_peer(),
            kind.timeout_secs(),
        );
    }
    page += &format!(
        "\n## Connections\n\nWhere few file descriptors are allowed there are fewer (`node/src/live/descriptors.rs`).\n\n```\n{:#?}\n```\n",
        ConnectionCaps::default()
    );
    for (room, title) in ROOMS {
        page += &format!("\n## {title}\n");
        let mut paths = Vec::new();
        files(&root().join(room), &mut paths);
        for path in paths {
            let limits = limits(&fs::read_to_string(&path).expect("a source is text"));
            if limits.is_empty() {
                continue;
            }
            let name = path.strip_prefix(root()).expect("inside the workspace").display().to_string();
            page += &format!("\n`{name}`\n\n| limit | value | what it bounds |\n| --- | --- | --- |\n");
            for (name, value, meaning) in limits {
                page += &format!("| `{name}` | `{value}` | {meaning} |\n");
            }
        }
    }
    page
}

#[test]
fn the_page_of_limits_is_what_the_sources_say() {
    let path = root().join("docs/limits.md");
    let page = page();
    if env::var_os(WRITE_VARIABLE).is_some() {
        fs::write(&path, &page).expect("the page can be written");
    }
    let held = fs::read_to_string(&path).expect("docs/limits.md");
    let differs = page.lines().zip(held.lines()).find(|(now, then)| now != then);
    assert!(page == held, "docs/limits.md is not what the sources say: run `make limits` ({differs:?})");
    assert!(page.lines().count() > 80, "the limits were not found");
    let silent = limits_without_meaning();
    assert!(silent.is_empty(), "these limits have no meaning: {silent:?}");
}

/// Limits whose meaning nobody has written down.
fn limits_without_meaning() -> Vec<(String, String)> {
    let mut paths = Vec::new();
    ROOMS.iter().for_each(|(room, _)| files(&root().join(room), &mut paths));
    let read = |path: PathBuf| limits(&fs::read_to_string(path).expect("a source is text"));
    let all = paths.into_iter().flat_map(read);
    all.filter(|(_, _, meaning)| meaning.is_empty()).map(|(name, _, meaning)| (name, meaning)).collect()
}

//! Somebody tries the program out at a prompt: help, versions, completions, a benchmark, and mistakes.
//! Answers go to standard output and nothing else does; mistakes end with an error that says what to do.

use std::process::{Command, Stdio};

use tests::command::{cairn, run, run_with_input, word};

const COMMANDS: [&str; 6] = ["node", "wallet", "mine", "devnet", "rpc", "chain"];

#[test]
fn every_command_explains_itself() {
    let help = run(["--help"]).success();
    for command in COMMANDS {
        assert!(help.contains(command), "{command}: {help}");
        let own = run([command, "--help"]).success();
        assert!(own.contains("Usage: cairn ") && own.contains(command), "{own}");
    }
    assert!(run(["--version"]).success().starts_with("cairn "));
    // Without a command there is nothing to answer.
    let said = run::<&str>([]).failure();
    assert!(said.contains("Usage"), "{said}");
    let said = run(["devnett"]).failure();
    assert!(said.contains("devnet"), "the nearest command is suggested: {said}");
}

#[test]
fn mistakes_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "").expect("written");
    for command in [vec!["rpc", "uptime"], vec!["node"], vec!["wallet", "balance"]] {
        let said = run(command.iter().copied().chain(["--datadir", word(&file)])).failure();
        assert!(said.contains("is a file"), "{command:?}: {said}");
    }
    let said = run(["node", "--chain", "class.toml", "--datadir", word(folder.path())]).failure();
    assert!(said.contains("there is no file class.toml in /"), "{said}");
    let said = run(["wallet", "history", "--count", "-1"]).failure();
    assert!(said.contains("from 1 to 1000"), "{said}");
}

#[test]
fn errors_are_objects_where_answers_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "").expect("written");
    for words in [vec!["wallet", "balance", "--json"], vec!["wallet", "--json", "coins"]] {
        let said = run(words.iter().copied().chain(["--datadir", word(&file)])).failure();
        let last = said.lines().last().expect("an error");
        let object: serde_json::Value = serde_json::from_str(last).unwrap_or_else(|_| panic!("{said}"));
        assert_eq!(object["code"], -1, "{said}");
        assert!(object["message"].as_str().is_some_and(|text| text.contains("is a file")), "{said}");
    }
}

#[test]
fn completions_are_a_script_that_bash_understands() {
    let script = run(["completions", "bash"]).success();
    let mut bash = Command::new("bash");
    bash.args(["-n", "-s"]).stderr(Stdio::piped());
    let outcome = run_with_input(bash, &script);
    assert!(outcome.status.success(), "{outcome}");
    assert!(script.contains("devnet"));
}

#[test]
fn the_benchmark_prints_figures() {
    let mut command = cairn();
    command.args(["mine", "--benchmark", "--secs", "1", "--threads", "1", "--json"]);
    let figures = run_with_input(command, "").json();
    let figures = figures.as_object().expect("an object");
    let rates: Vec<f64> = figures.values().filter_map(serde_json::Value::as_f64).collect();
    assert!(rates.len() >= 3 && rates.iter().all(|rate| *rate > 0.0), "{figures:?}");
}

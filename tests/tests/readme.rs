//! A newcomer types the README's tour as it stands there, against the devnet that the README starts.
//! Every block that is marked as tested runs, in order and in one shell, and what it promises is what happens.

use std::{
    env, fs,
    path::Path,
    process::{Command, Stdio},
};

use chain::hash::TxId;
use tempfile::tempdir;
use tests::{
    answers::{await_agreement, await_mined},
    binary,
    command::cairn,
    devnet::Devnet,
    process::Process,
};

/// A block of shell in the README.
#[derive(Debug, PartialEq, Eq)]
struct Block {
    /// Whether it must fail.
    fails: bool,
    text: String,
}

/// The blocks that are marked, in order.
fn tested_blocks(readme: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = readme.lines();
    while let Some(line) = lines.next() {
        let fails = match line {
            "<!-- tested -->" => false,
            "<!-- tested: fails -->" => true,
            _ => continue,
        };
        assert_eq!(lines.next(), Some("```sh"), "a block of shell follows the mark");
        let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        blocks.push(Block { fails, text: text.join("\n") });
    }
    blocks
}

/// One script of all blocks. It stops where one fails, or where one does not that should.
fn script(blocks: &[Block]) -> String {
    let part = |block: &Block| match block.fails {
        false => format!("{}\n", block.text),
        true => format!("if {{\n{}\n}}; then echo 'this should have failed' >&2; exit 99; fi\n", block.text),
    };
    let blocks: String = blocks.iter().map(part).collect();
    // What the test looks at afterwards.
    blocks + "echo \"payment $payment\"\n"
}

#[test]
fn the_marked_blocks_are_found() {
    let readme = "a\n<!-- tested -->\n```sh\none\ntwo\n```\n```sh\nnot this\n```\n<!-- tested: fails -->\n```sh\nthree\n```\n";
    let expected =
        [Block { fails: false, text: "one\ntwo".into() }, Block { fails: true, text: "three".into() }];
    assert_eq!(tested_blocks(readme), expected);
}

#[test]
fn the_tour_runs_as_it_stands() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let blocks = tested_blocks(&fs::read_to_string(readme).expect("the README is there"));
    assert!(blocks.len() >= 5 && blocks.iter().any(|block| block.fails), "{blocks:?}");

    let home = tempdir().expect("a folder");
    let folder = home.path().join(".cairn/devnet");
    let mut command = cairn();
    // As `make devnet` starts it.
    command.arg("devnet").env("HOME", home.path()).current_dir(home.path());
    let (out, log) = (home.path().join("devnet.out"), home.path().join("devnet.log"));
    let devnet = Devnet::when_ready(Process::start("the devnet of the README", command, &out, &log), &folder);

    let binary = binary::path();
    let program_folder = binary.parent().expect("the program lies in a folder");
    let path = format!("{}:{}", program_folder.display(), env::var("PATH").expect("there is a PATH"));
    let mut shell = Command::new("bash");
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CAIRN_")) {
        shell.env_remove(name);
    }
    shell
        .args(["-e", "-c", &script(&blocks)])
        .env("PATH", path)
        .env("HOME", home.path())
        .current_dir(home.path());
    let output = shell.stdin(Stdio::null()).output().expect("there is a bash");
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{said}\n{errors}", output.status);

    let payment = said.lines().find_map(|line| line.strip_prefix("payment ")).expect("the payment's id");
    let payment: TxId = payment.parse().expect("an id");
    assert!(said.contains("\"confirmations\""), "it was confirmed: {said}");
    assert!(
        errors.contains("already spent") && errors.contains(&payment.to_string()),
        "the refusal: {errors}"
    );
    let shown = devnet.supervisor.output() + &devnet.supervisor.log();
    assert!(shown.contains("carol is dead"), "the devnet shows it: {shown}");
    // Carol's node was ended at the end of the tour; the others have it all.
    let nodes = &devnet.file().nodes;
    let others: Vec<_> = nodes.iter().filter(|node| node.name != "carol").map(|node| node.rpc()).collect();
    assert_eq!(others.len(), 3);
    await_mined(&others, payment);
    await_agreement(&others);
    let carol = nodes.iter().find(|node| node.name == "carol").expect("there is a carol");
    assert!(carol.rpc().uptime().is_err(), "it was told to stop");
}

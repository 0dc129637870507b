//! Keeps the house of `docs/architecture.md`: who may import whom, what a pure room may not touch, how long a
//! file may grow. A rule that no test keeps is soon a wish.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// The most lines of a source file: longer, and it is a room that wants a wall.
const MAX_LINES: usize = 500;

/// What each crate may import of the others.
const IMPORTS: [(&str, &[&str]); 6] = [
    ("chain", &[]),
    ("miner", &["chain"]),
    ("wallet", &["chain"]),
    ("rpc", &["chain"]),
    ("node", &["chain", "miner", "wallet", "rpc"]),
    ("tests", &["chain", "miner", "wallet", "rpc", "node"]),
];

struct Source {
    path: String,
    text: String,
}

impl Source {
    /// Lines of code with their numbers, without comments and without what only tests compile.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let code = self.text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let numbered = (1..).zip(code.lines());
        numbered.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    fn is_test(&self) -> bool {
        self.path.starts_with("tests/") || self.path.contains("/tests/") || self.path.ends_with("/tests.rs")
    }

    fn is_in(&self, room: &str) -> bool {
        self.path.starts_with(room)
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace holds this crate").to_path_buf()
}

fn collect(folder: &Path, endings: &[&str], found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable entry").path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if path.is_dir() && !matches!(name.as_str(), "target" | "vendor" | ".git") {
            collect(&path, endings, found);
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            found.push(path);
        }
    }
}

fn sources(endings: &[&str]) -> Vec<Source> {
    let root = root();
    let mut paths = Vec::new();
    for (room, _) in IMPORTS {
        collect(&root.join(room), endings, &mut paths);
    }
    let read = |path: PathBuf| Source {
        path: path.strip_prefix(&root).expect("inside the workspace").display().to_string(),
        text: fs::read_to_string(&path).expect("text"),
    };
    let sources: Vec<Source> = paths.into_iter().map(read).collect();
    assert!(sources.len() > 50, "the sources were not found");
    sources
}

/// Fails with all findings at once.
fn hold(findings: &[String]) {
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

/// Where one of `words` stands in the code of the sources that `concerns` picks.
fn find_words(concerns: impl Fn(&Source) -> bool, words: &[&str]) -> Vec<String> {
    let mut findings = Vec::new();
    for source in sources(&[".rs"]).iter().filter(|source| concerns(source)) {
        for (number, line) in source.code() {
            for word in words.iter().filter(|word| line.contains(**word)) {
                findings.push(format!("{}:{number}: {word}: {}", source.path, line.trim()));
            }
        }
    }
    findings
}

#[test]
fn imports_run_one_way() {
    let mut findings = Vec::new();
    for (room, allowed) in IMPORTS {
        let manifest = fs::read_to_string(root().join(room).join("Cargo.toml")).expect("a manifest");
        for (other, _) in IMPORTS.iter().filter(|(other, _)| *other != room && !allowed.contains(other)) {
            let names_it = |line: &str| {
                let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
                name == *other
            };
            if manifest.lines().any(names_it) {
                findings.push(format!("{room} imports {other}"));
            }
        }
    }
    hold(&findings);
}

#[test]
fn the_chain_is_pure() {
    let io = [
        "std::fs",
        "std::net",
        "std::env",
        "std::process",
        "SystemTime",
        "Instant",
        "tokio",
        "tracing",
        "rand::",
        "getrandom",
        "println!",
        "eprintln!",
        "static mut",
        "thread_local!",
        "std::thread",
        "f32",
        "f64",
    ];
    let mut findings = find_words(|source| source.is_in("chain/src") && !source.is_test(), &io);
    let parallel = |source: &Source| {
        source.is_in("chain/src")
            && ![
                "chain/src/check/body.rs",
                "chain/src/check/run.rs",
                "chain/src/ledger.rs",
                "chain/src/ledger/activation.rs",
                "chain/src/signature.rs",
            ]
            .contains(&source.path.as_str())
    };
    findings.extend(find_words(parallel, &["rayon"]));
    hold(&findings);
}

#[test]
fn the_engine_has_no_clock_no_sockets_and_no_chance() {
    let words = [
        "tokio",
        "std::time",
        "SystemTime",
        "Instant",
        "std::net",
        "std::fs",
        "std::thread",
        "libp2p",
        "rocksdb",
        "rand::",
        "getrandom",
        "RandomState",
        "axum",
        "println!",
    ];
    hold(&find_words(|source| source.is_in("node/src/engine") && !source.is_test(), &words));
}

#[test]
fn every_library_has_one_room() {
    for (word, rooms) in [
        ("rocksdb::", &["node/src/store"][..]),
        ("libp2p::", &["node/src/p2p"][..]),
        ("axum::", &["rpc/src/server"][..]),
        ("clap::", &["node/src/cli", "node/src/commands", "node/src/main.rs"][..]),
        ("argon2::", &["wallet/src"][..]),
        ("curve25519_dalek", &["chain/src/zip215.rs"][..]),
        // What the former is held against.
        ("ed25519_zebra", &[][..]),
    ] {
        let outside = |source: &Source| !source.is_test() && !rooms.iter().any(|room| source.is_in(room));
        hold(&find_words(outside, &[word]));
    }
}

#[test]
fn libraries_do_not_panic_or_print() {
    let library = |source: &Source| !source.is_test();
    hold(&find_words(
        library,
        &[".unwrap()", "panic!(", "unreachable!(", "todo!(", "unimplemented!(", "dbg!("],
    ));
    let prints = |source: &Source| {
        let may = ["node/src/commands", "node/src/main.rs", "node/src/cli"];
        !source.is_test() && !may.iter().any(|room| source.is_in(room))
    };
    hold(&find_words(prints, &["println!(", "eprintln!(", "print!("]));
}

#[test]
fn an_expectation_says_why_it_holds() {
    let mut findings = Vec::new();
    for source in sources(&[".rs"]).iter().filter(|source| !source.is_test()) {
        for (number, line) in source.code() {
            if let Some((_, reason)) = line.split_once(".expect(\"")
                && reason.split('"').next().is_none_or(|reason| reason.split(' ').count() < 4)
            {
                findings.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    hold(&findings);
}

#[test]
fn unsafe_code_is_nowhere() {
    // The miner's SIMD kernels, once there are any, are the one exception.
    hold(
        &find_words(|_| true, &["unsafe {", "unsafe fn", "unsafe impl"])
            .into_iter()
            .filter(|finding| !finding.starts_with("tests/tests/tidy.rs"))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn files_are_short_and_say_what_they_are() {
    let mut findings = Vec::new();
    for source in sources(&[".rs", ".js", ".css"]) {
        let lines = source.text.lines().count();
        if lines > MAX_LINES {
            findings.push(format!("{} has {lines} lines", source.path));
        }
        if source.path.ends_with(".rs") && !source.text.starts_with("//!") {
            findings.push(format!("{} does not begin with what it is", source.path));
        }
        let name = Path::new(&source.path).file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if ["utils", "util", "common", "helpers", "helper", "manager", "misc"].contains(&name.as_str()) {
            findings.push(format!("{}: a name that says nothing", source.path));
        }
    }
    hold(&findings);
}

#[test]
fn every_rpc_method_is_documented() {
    let mut names = BTreeMap::new();
    for method in rpc::methods::METHODS {
        assert!(method.help.concat().len() > 40, "{} is not explained", method.name);
        assert!(names.insert(method.name, ()).is_none(), "{} stands twice", method.name);
    }
    assert!(names.len() >= 28, "methods are missing");
}

/// A threat's test is found by its row's id: every name of the form `x00_` is a row of the table that
/// `docs/threats.md` keeps.
#[test]
fn threat_tests_name_rows_that_exist() {
    let table = fs::read_to_string(root().join("docs/threats.md")).expect("docs/threats.md");
    let mut findings = Vec::new();
    let mut covered = BTreeMap::new();
    for source in sources(&[".rs"]) {
        for (number, line) in (1..).zip(source.text.lines()) {
            let Some(name) =
                line.trim_start().strip_prefix("fn ").or_else(|| line.trim_start().strip_prefix("async fn "))
            else {
                continue;
            };
            let id: String = name.chars().take(3).collect();
            let is_id = name.as_bytes().get(3) == Some(&b'_')
                && id.starts_with(|letter: char| "cpmsrwd".contains(letter))
                && id[1..].bytes().all(|digit| digit.is_ascii_digit());
            if !is_id {
                continue;
            }
            let row = format!("| {} |", id.to_uppercase());
            if !table.contains(&row) {
                findings.push(format!("{}:{number}: there is no threat {}", source.path, id.to_uppercase()));
            }
            covered.insert(id, ());
        }
    }
    hold(&findings);
    // Consensus threats, by a ledger alone or in the simulator.
    for number in 1..=29 {
        let id = format!("c{number:02}");
        assert!(covered.contains_key(&id), "no test is named {id}_...");
    }
}

#[test]
fn d01_known_holes_are_banned_by_name_and_not_linked() {
    // Some holes are in no advisory database: the versions below have published remote denial of service.
    let holes = [
        ("libp2p", "0.57.1"),
        ("libp2p-gossipsub", "0.50.1"),
        ("yamux", "0.14.1"),
        ("libp2p-quic", "0.13.1"),
    ];
    let deny = fs::read_to_string(root().join("deny.toml")).expect("deny.toml is there");
    let lock = fs::read_to_string(root().join("Cargo.lock")).expect("Cargo.lock is there");
    let number = |version: &str| -> Vec<u32> {
        version.split('.').map(|part| part.parse().expect("a released version has plain numbers")).collect()
    };
    for (name, mended) in holes {
        let ban = format!("name = \"{name}\", version = \"<{mended}\"");
        assert!(deny.contains(&ban), "deny.toml bans {name} below {mended}");
        for entry in lock.split("[[package]]").filter(|entry| entry.contains(&format!("name = \"{name}\"\n")))
        {
            let version = entry.lines().find_map(|line| line.strip_prefix("version = \"")?.strip_suffix('"'));
            let version = version.expect("a package has a version");
            assert!(number(version) >= number(mended), "{name} {version} is linked");
        }
    }
    // And the list is asked in CI.
    let makefile = fs::read_to_string(root().join("Makefile")).expect("the Makefile is there");
    let ci = fs::read_to_string(root().join(".ci/run")).expect(".ci/run is there");
    assert!(makefile.contains("scripts/deny.sh") && ci.contains("make lint"));
}

//! What must not be linked in, read from the workspace's own files: a gate that only CI's cargo-deny kept would be open
//! on every desk.

use std::{fs, path::Path};

fn read(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace holds this crate");
    fs::read_to_string(root.join(name)).expect("text")
}

/// The line of `Cargo.toml` that chooses libp2p's features.
fn libp2p_features() -> Vec<String> {
    let manifest = read("Cargo.toml");
    let line = manifest.lines().find(|line| line.starts_with("libp2p = ")).expect("libp2p is a dependency");
    let features = line.split("features = [").nth(1).expect("features are listed");
    features.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn p28_the_build_opens_no_ports_of_routers() {
    let features = libp2p_features();
    assert!(features.iter().any(|feature| feature == "tcp"), "{features:?}");
    for feature in ["upnp", "autonat", "relay", "dcutr", "kad", "full"] {
        assert!(!features.iter().any(|chosen| chosen == feature), "{feature}");
    }
    assert!(!read("node/Cargo.toml").contains("upnp"));
}

#[test]
fn p27_quic_is_built_in_for_those_alone_who_ask_for_it() {
    assert!(!libp2p_features().iter().any(|feature| feature == "quic"));
    let manifest = read("node/Cargo.toml");
    assert!(!manifest.contains("default ="), "no feature is on by itself");
    let naming: Vec<&str> = manifest.lines().filter(|line| line.contains("libp2p/quic")).collect();
    assert_eq!(naming, [r#"quic = ["libp2p/quic"]"#]);
}

#[test]
fn p27_crates_with_published_faults_are_not_locked() {
    let lock = read("Cargo.lock");
    let versions = |name: &str| -> Vec<(u64, u64, u64)> {
        let head = format!("name = \"{name}\"\nversion = \"");
        let found = lock.split(head.as_str()).skip(1).map(|rest| rest.split('"').next().expect("a version"));
        let number = |part: Option<&str>| part.and_then(|part| part.parse().ok()).expect("a number");
        let parse = |version: &str| {
            let mut parts = version.split(['.', '-', '+']);
            (number(parts.next()), number(parts.next()), number(parts.next()))
        };
        found.map(parse).collect()
    };
    for (name, least) in [
        ("libp2p", (0, 57, 1)),
        ("libp2p-gossipsub", (0, 50, 1)),
        ("yamux", (0, 14, 1)),
        ("libp2p-quic", (0, 13, 1)),
        ("snow", (0, 9, 5)),
        ("quinn-proto", (0, 11, 7)),
        ("multihash", (0, 16, 3)),
        ("hickory-proto", (0, 25, 0)),
    ] {
        for version in versions(name) {
            assert!(version >= least, "{name} {version:?} is locked, and {least:?} is the least");
        }
    }
    assert_eq!(versions("libp2p").len(), 1);
    assert_eq!(versions("yamux").len(), 1);
}

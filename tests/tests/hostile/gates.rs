//! What is linked decides what can be attacked: versions with published holes are not, and nothing that opens ports
//! or expands what it is sent is.

use std::{fs, path::Path};

/// Crates that speak to peers, and the first version of each without a published remote fault (RustSec, GitHub).
const MENDED: [(&str, &str); 8] = [
    ("snow", "0.9.5"),
    ("multihash", "0.11.3"),
    ("quinn", "0.11.7"),
    ("quinn-proto", "0.11.14"),
    ("hickory-proto", "0.26.1"),
    ("libp2p-core", "0.31.1"),
    ("yamux", "0.14.1"),
    ("libp2p-gossipsub", "0.50.1"),
];
/// Crates that expand what they read; none may be linked into what hears peers.
const EXPANDERS: [&str; 5] = ["flate2", "brotli", "snap", "zstd", "libp2p-deflate"];

fn workspace_file(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    fs::read_to_string(root.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn numbers(version: &str) -> Vec<u64> {
    let plain = version.split(['-', '+']).next().unwrap_or_default();
    plain.split('.').map(|part| part.parse().expect("a version has plain numbers")).collect()
}

/// The versions of a crate that Cargo.lock names.
fn locked(name: &str) -> Vec<String> {
    let lock = workspace_file("Cargo.lock");
    let entries = lock.split("[[package]]").filter(|entry| entry.contains(&format!("\nname = \"{name}\"\n")));
    let version = |entry: &str| {
        let line = entry.lines().find_map(|line| line.strip_prefix("version = \""));
        line.expect("a package has a version").trim_end_matches('"').to_owned()
    };
    entries.map(version).collect()
}

fn assert_mended(names: &[&str]) {
    for (name, least) in MENDED.iter().filter(|(name, _)| names.contains(name)) {
        for version in locked(name) {
            assert!(numbers(&version) >= numbers(least), "{name} {version} has holes that {least} mends");
        }
    }
}

#[test]
fn p21_advisories_are_a_gate_and_identities_are_checked_by_current_crates() {
    let deny = workspace_file("deny.toml");
    assert!(deny.contains("[advisories]") && deny.contains("yanked = \"deny\""));
    assert!(workspace_file("Makefile").contains("scripts/deny.sh"));
    assert_mended(&["snow", "multihash", "libp2p-core"]);
}

#[test]
fn p27_what_speaks_to_peers_has_no_published_hole() {
    assert_mended(&MENDED.map(|(name, _)| name));
    let deny = workspace_file("deny.toml");
    for name in ["yamux", "libp2p-gossipsub", "libp2p", "libp2p-quic"] {
        assert!(
            deny.contains(&format!("name = \"{name}\", version = \"<")),
            "deny.toml bans old versions of {name}"
        );
    }
}

#[test]
fn p28_no_port_is_opened_on_anybodys_router() {
    let manifest = workspace_file("Cargo.toml");
    let features = manifest.lines().find(|line| line.starts_with("libp2p = ")).expect("libp2p is used");
    assert!(!features.contains("upnp") && !features.contains("full"), "{features}");
}

#[test]
fn p14_nothing_is_linked_that_expands_what_a_peer_sends() {
    for name in EXPANDERS {
        let users = workspace_file("node/Cargo.toml");
        assert!(!users.contains(name), "{name} is used by the node");
    }
}

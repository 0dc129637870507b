//! `devnet.json`: what scripts, wallets and people need to know to use a devnet. It is there only while payments
//! can be made.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{DevnetError, files, plan::Layout};

/// The content of `devnet.json`. Paths are absolute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// The chain file.
    pub chain: PathBuf,
    /// The nodes.
    pub nodes: Vec<AnnouncedNode>,
    /// The wallets.
    pub wallets: Vec<AnnouncedWallet>,
    /// Always true: the file is written when payments can be made, and not before.
    pub ready: bool,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnnouncedNode {
    /// Its name.
    pub name: String,
    /// Where its RPC server answers.
    pub rpc_url: String,
    /// The cookie for its RPC.
    pub cookie_file: PathBuf,
    /// What other nodes' `--bootstrap` takes.
    pub p2p_address: String,
    /// Its data folder.
    pub datadir: PathBuf,
    /// Its process id.
    pub pid: u32,
}

/// A wallet; its passphrase is empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnnouncedWallet {
    /// Its name.
    pub name: String,
    /// Its key file.
    pub file: PathBuf,
    /// The address at which its node's blocks pay it.
    pub address: String,
    /// The name of the node beside which it lies.
    pub node: String,
}

impl Announcement {
    /// Writes `devnet.json`.
    pub(super) fn write(&self, layout: &Layout) -> Result<(), DevnetError> {
        let path = layout.announcement();
        let text =
            serde_json::to_string_pretty(self).map_err(|error| super::plan::malformed(&path, error))?;
        files::replace(&path, &layout.aside(), format!("{text}\n").as_bytes())
            .map_err(DevnetError::file(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_the_shape_that_scripts_rely_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let layout = Layout::new(folder.path());
        std::fs::create_dir(layout.private()).expect("made");
        let announcement = Announcement {
            chain: layout.chain_file(),
            nodes: vec![AnnouncedNode {
                name: "alice".into(),
                rpc_url: "http://127.0.0.1:2".into(),
                cookie_file: layout.datadir("alice").join(".cookie"),
                p2p_address: "/ip4/127.0.0.1/tcp/1/p2p/12D3KooW".into(),
                datadir: layout.datadir("alice"),
                pid: 7,
            }],
            wallets: vec![AnnouncedWallet {
                name: "alice".into(),
                file: layout.wallet("alice"),
                address: "dcrn1x".into(),
                node: "alice".into(),
            }],
            ready: true,
        };
        announcement.write(&layout).expect("written");
        let text = std::fs::read_to_string(layout.announcement()).expect("read");
        let found: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let root = folder.path().display();
        let expected = serde_json::json!({
            "chain": format!("{root}/chain.toml"),
            "nodes": [{
                "name": "alice",
                "rpc_url": "http://127.0.0.1:2",
                "cookie_file": format!("{root}/alice/.cookie"),
                "p2p_address": "/ip4/127.0.0.1/tcp/1/p2p/12D3KooW",
                "datadir": format!("{root}/alice"),
                "pid": 7,
            }],
            "wallets": [{
                "name": "alice",
                "file": format!("{root}/alice/wallet.json"),
                "address": "dcrn1x",
                "node": "alice",
            }],
            "ready": true,
        });
        assert_eq!(found, expected);
    }
}

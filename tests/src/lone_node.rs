//! One node on a chain of its own, two people who pay, and calls as any program makes them.

use chain::{hash::BlockHash, transaction::OutPoint};
use rpc::client::Client;
use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use crate::{
    chains::{LabChain, lab_chain},
    full_node::{FullNode, settings},
    keys::{Held, Person, to_hex},
};

/// The node and what belongs to it.
#[derive(Debug)]
pub struct LoneNode {
    /// The node. It ends before its folder goes.
    pub node: FullNode,
    /// The chain.
    pub chain: LabChain,
    /// Who pays first.
    pub alice: Person,
    /// Who is paid, and pays on; the blocks are his, too.
    pub bob: Person,
    /// The folder of the story.
    pub folder: TempDir,
}

impl LoneNode {
    /// Starts a node on a new chain of this name.
    ///
    /// # Panics
    /// Where it does not come up.
    #[must_use]
    #[track_caller]
    pub fn start(name: &str) -> Self {
        let folder = tempdir().expect("a folder");
        let chain = lab_chain(folder.path(), name, |_| ());
        let node = FullNode::start(&folder.path().join("node"), &settings(&chain));
        let (alice, bob) = (Person::new(&chain.chain, "alice"), Person::new(&chain.chain, "bob"));
        Self { node, chain, alice, bob, folder }
    }

    /// The node's RPC.
    #[must_use]
    pub fn rpc(&self) -> &Client {
        self.node.rpc()
    }

    /// Mines blocks on demand.
    ///
    /// # Panics
    /// Where the node refuses.
    #[track_caller]
    pub fn mine(&self, blocks: u32) -> Vec<BlockHash> {
        self.rpc().generatetoaddress(blocks, self.bob.written(), None).expect("blocks are made on demand")
    }

    /// Calls a method with a list of parameters; the answer as it came.
    ///
    /// # Panics
    /// Where the node refuses.
    #[track_caller]
    pub fn call(&self, method: &str, params: Value) -> Value {
        let list = params.as_array().expect("a list").clone();
        self.rpc().call_raw(method, list).unwrap_or_else(|error| panic!("{method} {params}: {error}"))
    }

    /// Calls a method that must be refused with this code; the message.
    ///
    /// # Panics
    /// Where it is not refused, or with another code.
    #[track_caller]
    pub fn refused(&self, method: &str, params: Value, code: i64) -> String {
        let list = params.as_array().expect("a list").clone();
        let outcome = self.rpc().call_raw(method, list);
        let error = outcome.err().unwrap_or_else(|| panic!("{method} {params} is not refused"));
        assert_eq!(error.code(), Some(code), "{method} {params}: {error}");
        error.to_string()
    }

    /// Alice pays Bob with a coin, Bob pays the same on to himself, and so on, with these fees in pebbles; the
    /// ids.
    ///
    /// # Panics
    /// Where the node refuses one.
    #[track_caller]
    pub fn pay_on(&self, coin: &Held, fees: &[u64]) -> Vec<String> {
        let mut coin = coin.clone();
        let mut from = &self.alice;
        let mut ids = Vec::new();
        for fee in fees {
            let payment = from.pay(&coin, &self.bob, *fee);
            self.call("sendrawtransaction", json!([to_hex(&payment)]));
            ids.push(payment.txid().to_string());
            coin = (OutPoint { txid: payment.txid(), index: 0 }, payment.outputs[0].clone());
            from = &self.bob;
        }
        ids
    }
}

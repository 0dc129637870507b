//! The client against the server over loopback.

use std::{
    net::{SocketAddr, TcpListener as StdListener},
    sync::Arc,
};

use chain::height::Height;
use rpc::{
    auth::{Accounts, Cookie, Credentials},
    client::{Client, ClientError, Login, print_result},
    error::code,
    methods::{Addresses, Verbosity},
    server::{ServerConfig, bind, serve},
    types::OneOf,
};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::fake::{FEE, Fake, REWARD, coinbase_outpoint, payment};

pub const USER: &str = "alice";
pub const PASSWORD: &str = "wonder:land";

pub fn credentials() -> Credentials {
    Credentials::new(USER, PASSWORD).unwrap()
}

/// A server on a free port, with its node; it ends with this value.
pub struct Served {
    pub fake: Arc<Fake>,
    pub address: SocketAddr,
    server: Option<tokio::task::JoinHandle<()>>,
    runtime: Runtime,
}

impl Served {
    pub fn start(accounts: Vec<Credentials>) -> Self {
        let runtime = Runtime::new().unwrap();
        let fake = Fake::new();
        let listener = runtime.block_on(bind("127.0.0.1:0".parse().unwrap(), false)).unwrap();
        let address = listener.local_addr().unwrap();
        let mut stopped = fake.stopped.subscribe();
        let shutdown = async move {
            // The sender lives as long as the node; without it there is nothing left to serve.
            let _ = stopped.wait_for(|stopped| *stopped).await;
        };
        let config =
            ServerConfig { accounts: Accounts::new(accounts), allowed_hosts: Vec::new(), observer: None };
        let backend = Arc::clone(&fake);
        let server = runtime.spawn(async move { serve(listener, backend, config, shutdown).await.unwrap() });
        Self { fake, address, server: Some(server), runtime }
    }

    pub fn alice() -> Self {
        Self::start(vec![credentials()])
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn client(&self) -> Client {
        Client::new(self.url(), Login::Credentials(credentials()))
    }

    /// Waits until the server has ended.
    pub fn wait(mut self) {
        let server = self.server.take().unwrap();
        self.runtime.block_on(server).unwrap();
    }
}

#[test]
fn typed_calls() {
    let served = Served::alice();
    let client = served.client();
    let info = client.getblockchaininfo().unwrap();
    assert_eq!(info.blocks, Height::new(12));
    assert_eq!(info.genesishash, served.fake.chain.id());
    assert_eq!(client.getblockcount().unwrap(), Height::new(12));
    assert_eq!(client.getblockhash(Height::new(12)).unwrap(), info.bestblockhash);
    let OneOf::Long(block) = client.getblock(info.bestblockhash, Some(Verbosity(2))).unwrap() else {
        panic!("verbosity 2 gives an object")
    };
    let OneOf::Long(paid) = &block.tx[1] else { panic!("verbosity 2 gives transactions") };
    assert_eq!(paid.fee.unwrap().0.pebbles(), FEE);
    assert_eq!(paid.vout[0].value.0.pebbles(), REWARD - FEE);
    let OneOf::Short(hex) = client.getblock(info.bestblockhash, Some(Verbosity(0))).unwrap() else {
        panic!("verbosity 0 gives hexadecimal")
    };
    let bytes = const_hex::decode(hex).unwrap();
    assert_eq!(chain::block::Block::from_submission(&bytes).unwrap().hash(), info.bestblockhash);
    let ids = Addresses(vec![served.fake.text(2), served.fake.text(3)]);
    let coins = client.getaddressutxos(ids.clone()).unwrap();
    assert_eq!((coins.utxos.len(), coins.complete, coins.bestblock), (2, true, info.bestblockhash));
    assert_eq!(client.getaddresshistory(ids, None, None).unwrap().history.len(), 1);
    assert_eq!(client.getmempoolinfo().unwrap().size, 1);
    let OneOf::Long(entries) = client.getrawmempool(Some(true), None).unwrap() else {
        panic!("verbose gives an object")
    };
    assert_eq!(entries.len(), 1);
    assert_eq!(client.getpeerinfo().unwrap()[0].id, 3);
    assert!(client.getmininginfo().unwrap().generate);
    assert!(client.getblocktemplate(None).unwrap().coinbasetxn.data.len() >= 120);
    let spent = coinbase_outpoint(&served.fake.state().active[3]);
    let sent = payment(spent, 1, 2, REWARD - FEE);
    let hex = const_hex::encode(sent.to_bytes());
    assert_eq!(client.sendrawtransaction(hex.clone(), None).unwrap(), sent.txid());
    let again = client.sendrawtransaction(hex, None).unwrap_err();
    assert_eq!(again.code(), Some(code::ALREADY_IN_CHAIN));
    assert_eq!(client.gettxout(spent.txid, 0, None).unwrap(), None);
    client.addnode("/ip4/127.0.0.1/tcp/1".into(), "add".into()).unwrap();
    assert!(client.help(None).unwrap().contains("getblockcount"));
}

#[test]
fn words_of_a_command_line_are_typed_by_the_table() {
    let served = Served::alice();
    let client = served.client();
    let call = |method: &str, words: &[&str]| {
        client.call_words(method, &words.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let tip = call("getbestblockhash", &[]).unwrap();
    let tip = tip.as_str().unwrap();
    assert_eq!(call("getblockhash", &["12"]).unwrap(), json!(tip));
    assert!(call("getblock", &[tip, "0"]).unwrap().is_string());
    assert!(call("getblock", &[tip, "true"]).unwrap().is_object());
    assert!(call("getblockheader", &[tip, "false"]).unwrap().is_string());
    assert_eq!(call("getaddressutxos", &[&served.fake.text(2)]).unwrap()["height"], json!(12));
    let both = json!([served.fake.text(2), served.fake.text(3)]).to_string();
    assert_eq!(call("getaddressutxos", &[&both]).unwrap()["utxos"].as_array().unwrap().len(), 2);
    assert!(call("getblocktemplate", &["{}"]).unwrap().is_object());
    // A hash of 64 decimal digits stays a string.
    let error = call("getblock", &[&"1".repeat(64)]).unwrap_err();
    assert_eq!(error.code(), Some(code::INVALID_ADDRESS_OR_KEY));
    assert_eq!(call("getblockhash", &["abc"]).unwrap_err().code(), Some(code::TYPE));
    let unknown = call("nonsense", &[]).unwrap_err();
    assert_eq!(unknown.code(), Some(code::METHOD_NOT_FOUND));
    assert!(unknown.to_string().contains("help"), "{unknown}");
}

#[test]
fn r13_amounts_reach_the_caller_exactly() {
    let served = Served::alice();
    let balance = served.client().call_raw("getaddressbalance", vec![json!(served.fake.text(2))]).unwrap();
    assert_eq!(balance["confirmed"].to_string(), "49.99999000");
    assert!(print_result(&balance).contains("\"spendable\": 49.99999000"), "{}", print_result(&balance));
    assert_eq!(print_result(&json!("a\nb\n")), "a\nb");
    assert_eq!(print_result(&Value::Null), "null");
}

#[test]
fn credentials_that_are_wrong_and_nodes_that_are_not_there() {
    let served = Served::alice();
    let stranger = Login::Credentials(Credentials::new(USER, "guess").unwrap());
    let refused = Client::new(served.url(), stranger).getblockcount().unwrap_err();
    assert!(matches!(refused, ClientError::Unauthorised(_)), "{refused}");
    let no_cookie = Login::CookieFile("/nonexistent/.cookie".into());
    let refused = Client::new(served.url(), no_cookie).getblockcount().unwrap_err();
    assert!(matches!(refused, ClientError::Cookie(_)), "{refused}");
    // A port that was just free and that nobody listens on.
    let free = StdListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = Client::new(format!("http://{free}"), Login::Credentials(credentials()));
    let error = nobody.getblockcount().unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
    for url in ["", "127.0.0.1", "https://127.0.0.1:1", "http://"] {
        assert!(Client::new(url, Login::Credentials(credentials())).getblockcount().is_err(), "{url}");
    }
}

#[test]
fn r04_the_cookie_is_read_anew_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let cookie = Cookie::create(folder.path()).unwrap();
    let login = Login::CookieFile(cookie.path().into());
    let first = Served::start(vec![cookie.credentials().clone()]);
    assert_eq!(Client::new(first.url(), login.clone()).uptime().unwrap(), 42);
    let renewed = Cookie::create(folder.path()).unwrap();
    let second = Served::start(vec![renewed.credentials().clone()]);
    assert_eq!(Client::new(second.url(), login.clone()).uptime().unwrap(), 42);
    assert!(matches!(Client::new(first.url(), login).uptime().unwrap_err(), ClientError::Unauthorised(_)));
}

#[test]
fn stop_answers_and_then_ends_the_server() {
    let served = Served::alice();
    let client = served.client();
    assert_eq!(client.stop().unwrap(), "Cairn is stopping");
    served.wait();
    assert!(client.getblockcount().is_err());
}

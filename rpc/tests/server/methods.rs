//! Every method with good and bad parameters, without HTTP.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
};

use chain::{hash::BlockHash, height::Height};
use rpc::{
    backend::{BlockSubmission, IndexError, View},
    dispatch::{Methods, answer},
    error::{RpcError, code},
    message::Params,
    methods::{METHODS, NodeMethods},
};
use serde_json::{Value, json};

use crate::fake::{FEE, Fake, REWARD, address, block, coinbase_outpoint, payment};

async fn call_with(fake: &Arc<Fake>, method: &str, params: Params) -> Result<Value, RpcError> {
    let methods = NodeMethods::new(Arc::clone(fake));
    let result = methods.call(method, params).await?;
    Ok(serde_json::from_str(result.get()).expect("results are JSON"))
}

pub async fn call(fake: &Arc<Fake>, method: &str, params: Value) -> Result<Value, RpcError> {
    let Value::Array(params) = params else { panic!("positional parameters are an array") };
    call_with(fake, method, Params::Positional(params)).await
}

pub async fn ok(fake: &Arc<Fake>, method: &str, params: Value) -> Value {
    let shown = params.to_string();
    call(fake, method, params).await.unwrap_or_else(|error| panic!("{method} {shown}: {error}"))
}

pub async fn refused(fake: &Arc<Fake>, method: &str, params: Value) -> i64 {
    let shown = params.to_string();
    match call(fake, method, params).await {
        Ok(result) => panic!("{method} {shown} gave {result}"),
        Err(error) => error.code,
    }
}

#[test]
fn every_method_of_the_contract_is_there_and_documented() {
    let contract = "getblockchaininfo getblockcount getbestblockhash getblockhash getblockheader getblock \
        getchaintips getrawtransaction sendrawtransaction testmempoolaccept getmempoolinfo getrawmempool \
        gettxout getblocktemplate submitblock generatetoaddress getmininginfo getpeerinfo getconnectioncount \
        getnetworkinfo addnode gettxoutsetinfo uptime stop help getaddresshistory getaddressutxos \
        getaddressbalance savemempool getmempoolentry getmempoolancestors getmempooldescendants getdifficulty \
        getblockstats invalidateblock reconsiderblock preciousblock verifychain setconditions getconditions \
        clearconditions setban listbanned clearbanned disconnectnode";
    let names: BTreeSet<&str> = METHODS.iter().map(|spec| spec.name).collect();
    assert_eq!(names, contract.split_whitespace().collect());
    assert_eq!(names.len(), METHODS.len(), "no method is listed twice");
    for spec in METHODS {
        let (example, words) = spec.help.split_last().expect("a help text");
        assert!(example.contains(&format!("cairn rpc {}", spec.name)), "{}: {example}", spec.name);
        assert!(words.concat().len() > 20, "{} is described", spec.name);
        let first_optional = spec.params.iter().position(|param| param.optional).unwrap_or(spec.params.len());
        assert!(spec.params[first_optional..].iter().all(|param| param.optional), "{}", spec.name);
    }
}

#[tokio::test]
async fn help_shows_every_method() {
    let fake = Fake::new();
    let all = ok(&fake, "help", json!([])).await;
    for spec in METHODS {
        assert!(all.as_str().unwrap().contains(spec.name));
        let one = ok(&fake, "help", json!([spec.name])).await;
        assert!(one.as_str().unwrap().starts_with(spec.name));
        assert!(spec.params.iter().all(|param| one.as_str().unwrap().contains(param.name)));
    }
    assert_eq!(refused(&fake, "help", json!(["nonsense☃"])).await, code::INVALID_PARAMETER);
}

#[tokio::test]
async fn r11_wrong_parameters_of_every_method_are_typed_errors() {
    let fake = Fake::new();
    for spec in METHODS {
        let name = spec.name;
        let too_many = Value::Array(vec![json!("x"); spec.params.len() + 1]);
        assert_eq!(refused(&fake, name, too_many).await, code::INVALID_PARAMS, "{name}");
        let unknown = Params::Named(vec![("nonsense".into(), json!(1))]);
        assert_eq!(
            call_with(&fake, name, unknown).await.unwrap_err().code,
            code::INVALID_PARAMETER,
            "{name}"
        );
        if spec.params.first().is_some_and(|param| !param.optional) {
            assert_eq!(refused(&fake, name, json!([])).await, code::INVALID_PARAMS, "{name}");
        }
        for (index, param) in spec.params.iter().enumerate() {
            // Each parameter alone, by name: the ones before it are missing or of another type.
            for value in hostile_values() {
                let sent = vec![(param.name.to_string(), value.clone())];
                // `stop` takes no parameters: nothing here stops the node.
                if let Err(error) = call_with(&fake, name, Params::Named(sent)).await {
                    assert!(!error.message.is_empty(), "{name} {value}");
                }
            }
            if index == 0 {
                let wrong = if param.name == "template_request" { json!([7]) } else { json!([{"a": 1}]) };
                assert_eq!(refused(&fake, name, wrong).await, code::TYPE, "{name} {}", param.name);
            }
        }
    }
    assert!(!*fake.stopped.borrow());
}

fn hostile_values() -> Vec<Value> {
    let texts =
        ["", "☃☃☃", "\u{0}", "\r\n\u{1b}[31m", "0x00", "-1", "1e400", &"f".repeat(63), &"☃".repeat(64)];
    let numbers = ["-1", "0.5", "1e400", "4294967296", "18446744073709551616", "-0", "1e-400"];
    let numbers = numbers.map(|number| serde_json::from_str(number).expect("a number"));
    let mut values: Vec<Value> = texts.into_iter().map(Value::from).chain(numbers).collect();
    values.extend([
        json!(null),
        json!(true),
        json!([]),
        json!({}),
        json!([[]]),
        json!([1]),
        json!({"mode": 1}),
    ]);
    values.push(json!("f".repeat(1 << 20)));
    values.push(json!(vec!["00"; 26]));
    values
}

#[tokio::test]
async fn conditions_of_the_network_exist_only_in_a_lab() {
    let fake = Fake::new();
    ok(&fake, "setconditions", json!(["all", 100, 20, 0.25])).await;
    ok(&fake, "setconditions", json!(["12D3KooW", null, null, null, true])).await;
    let all = json!({"peer": "all", "delay_ms": 100, "jitter_ms": 20, "loss": 0.25, "blocked": false});
    let one = json!({"peer": "12D3KooW", "delay_ms": 0, "jitter_ms": 0, "loss": 0.0, "blocked": true});
    assert_eq!(ok(&fake, "getconditions", json!([])).await, json!([all, one]));
    ok(&fake, "clearconditions", json!(["all"])).await;
    assert_eq!(ok(&fake, "getconditions", json!([])).await, json!([one]));

    fake.has_lab.store(false, Ordering::SeqCst);
    let help = ok(&fake, "help", json!([])).await;
    for name in ["setconditions", "getconditions", "clearconditions"] {
        assert_eq!(refused(&fake, name, json!([])).await, code::METHOD_NOT_FOUND, "{name}");
        assert_eq!(refused(&fake, "help", json!([name])).await, code::INVALID_PARAMETER, "{name}");
        assert!(!help.as_str().unwrap().contains(name), "{name}");
    }
}

#[tokio::test]
async fn chain_methods() {
    let fake = Fake::new();
    let info = ok(&fake, "getblockchaininfo", json!([])).await;
    assert_eq!((&info["blocks"], &info["headers"], &info["chain"]), (&json!(12), &json!(12), &json!("dev")));
    assert_eq!(info["genesishash"], json!(fake.chain.id()));
    assert_eq!(ok(&fake, "getblockcount", json!([])).await, json!(12));
    let tip = ok(&fake, "getbestblockhash", json!([])).await;
    assert_eq!(ok(&fake, "getblockhash", json!([12])).await, tip);
    assert_eq!(ok(&fake, "getblockhash", json!([0])).await, json!(fake.chain.id()));
    for height in [json!([13]), json!([-1]), json!([1.5]), json!([4_294_967_296_u64])] {
        assert_eq!(refused(&fake, "getblockhash", height).await, code::INVALID_PARAMETER);
    }
    assert_eq!(refused(&fake, "getblockhash", json!(["12"])).await, code::TYPE);

    let header = ok(&fake, "getblockheader", json!([tip])).await;
    assert_eq!((&header["height"], &header["confirmations"]), (&json!(12), &json!(1)));
    assert!(header["nextblockhash"].is_null() && header["previousblockhash"].is_string());
    let raw = ok(&fake, "getblockheader", json!([tip, false])).await;
    assert_eq!(raw.as_str().unwrap().len(), 160);
    let genesis = ok(&fake, "getblockheader", json!([fake.chain.id()])).await;
    assert!(genesis["previousblockhash"].is_null() && genesis["nextblockhash"].is_string());
    assert_eq!(genesis["confirmations"], json!(13));

    let block = ok(&fake, "getblock", json!([tip])).await;
    assert_eq!((&block["nTx"], block["tx"].as_array().unwrap().len()), (&json!(2), 2));
    assert!(block["tx"][0].is_string());
    assert_eq!(ok(&fake, "getblock", json!([tip, 1])).await, block);
    assert_eq!(ok(&fake, "getblock", json!([tip, true])).await, block);
    let whole = ok(&fake, "getblock", json!([tip, 2])).await;
    assert_eq!(whole["tx"][1]["fee"].to_string(), "0.00001000");
    assert!(whole["tx"][0]["vin"][0]["coinbase"].is_string() && whole["tx"][0]["fee"].is_null());
    assert_eq!(whole["tx"][1]["vout"][1]["scriptPubKey"]["type"], json!("nulldata"));
    let bytes = ok(&fake, "getblock", json!([tip, 0])).await;
    let expected = fake.state().active[12].to_submission();
    assert_eq!(bytes, json!(const_hex::encode(expected)));
    let named = Params::Named(vec![("verbose".into(), json!(0)), ("blockhash".into(), tip.clone())]);
    assert_eq!(call_with(&fake, "getblock", named).await.unwrap(), bytes, "the older name of a parameter");

    let unknown = json!([BlockHash::from_bytes([7; 32])]);
    for method in ["getblock", "getblockheader"] {
        assert_eq!(refused(&fake, method, unknown.clone()).await, code::INVALID_ADDRESS_OR_KEY);
        assert_eq!(refused(&fake, method, json!(["00"])).await, code::INVALID_PARAMETER);
        assert_eq!(refused(&fake, method, json!(["z".repeat(64)])).await, code::INVALID_PARAMETER);
    }
    let side = json!(fake.state().side[0].1.hash());
    // Threat R11: a block that is on no active chain has no depth to be counted.
    let header = ok(&fake, "getblockheader", json!([side])).await;
    assert_eq!((&header["confirmations"], &header["nextblockhash"]), (&json!(-1), &Value::Null));
    assert_eq!(ok(&fake, "getblock", json!([side, 2])).await["confirmations"], json!(-1));
    let tips = ok(&fake, "getchaintips", json!([])).await;
    assert_eq!(tips[0], json!({"height": 12, "hash": tip, "branchlen": 0, "status": "active"}));
    assert_eq!(tips[1], json!({"height": 12, "hash": side, "branchlen": 1, "status": "valid-fork"}));
}

#[tokio::test]
async fn coins_and_addresses() {
    let fake = Fake::new();
    let (spent, unspent, tip) = {
        let state = fake.state();
        (state.active[2].coinbase.txid(), state.active[3].coinbase.txid(), state.active[12].hash())
    };
    assert_eq!(ok(&fake, "gettxout", json!([spent, 0])).await, Value::Null);
    let coin = ok(&fake, "gettxout", json!([spent, 0, false])).await;
    assert_eq!((&coin["coinbase"], &coin["confirmations"]), (&json!(true), &json!(11)));
    assert_eq!(coin["value"].to_string(), "50.00000000");
    assert_eq!(ok(&fake, "gettxout", json!([unspent, 0])).await["bestblock"], json!(tip));
    assert_eq!(ok(&fake, "gettxout", json!([unspent, 1])).await, Value::Null);
    assert_eq!(refused(&fake, "gettxout", json!([unspent, -1])).await, code::INVALID_PARAMETER);
    let set = ok(&fake, "gettxoutsetinfo", json!([])).await;
    assert_eq!((&set["txouts"], &set["height"]), (&json!(12), &json!(12)));
    assert_eq!(set["total_amount"].to_string(), "599.99999000");

    let coins = ok(&fake, "getaddressutxos", json!([fake.text(1)])).await;
    let coins = coins["utxos"].as_array().unwrap();
    assert_eq!(coins.len(), 11);
    // Coins of heights 2 and 3 have reached maturity 10 for block 13; that of height 4 too late by one.
    let mature: Vec<_> = coins.iter().filter(|coin| coin["mature"] == json!(true)).collect();
    assert_eq!(mature.len(), 2);
    assert!(coins[0]["spentby"].is_string());
    let both = ok(&fake, "getaddressutxos", json!([[fake.text(2), fake.text(3), fake.text(3)]])).await;
    assert_eq!(both["utxos"].as_array().unwrap().len(), 2, "an address that is named twice counts once");

    let balance = ok(&fake, "getaddressbalance", json!([fake.text(1)])).await;
    let shown =
        ["confirmed", "immature", "spending", "unconfirmed", "spendable"].map(|sum| balance[sum].to_string());
    assert_eq!(shown, ["550.00000000", "450.00000000", "50.00000000", "0.00000000", "50.00000000"]);
    let pending = ok(&fake, "getaddressbalance", json!([fake.text(3)])).await;
    assert_eq!(pending["unconfirmed"].to_string(), "49.99999000");

    let history = ok(&fake, "getaddresshistory", json!([fake.text(1), 3, 1])).await;
    assert_eq!(history["bestblock"], json!(tip));
    let heights: Vec<_> =
        history["history"].as_array().unwrap().iter().map(|event| &event["height"]).collect();
    assert_eq!(heights, [&json!(11), &json!(10), &json!(9)]);
    let too_many = json!([fake.text(1), 1_001]);
    assert_eq!(refused(&fake, "getaddresshistory", too_many).await, code::INVALID_PARAMETER);
    for method in ["getaddressutxos", "getaddressbalance", "getaddresshistory"] {
        let foreign = address(1).encode("elsewhere");
        for text in ["", "nonsense", "☃", foreign.as_str()] {
            assert_eq!(refused(&fake, method, json!([text])).await, code::INVALID_ADDRESS_OR_KEY, "{text}");
        }
        let many = json!([vec![fake.text(1); 1_001]]);
        assert_eq!(refused(&fake, method, many).await, code::INVALID_PARAMETER);
    }
}

#[tokio::test]
async fn what_needs_the_index_says_so() {
    let fake = Fake::new();
    let mined = fake.state().active[12].transactions[0].txid();
    let waiting = fake.state().mempool[0].txid();
    let block = fake.state().active[12].hash();
    let catching_up = IndexError::CatchingUp { height: Height::new(7), of: Height::new(12) };
    for (error, code) in [(catching_up, code::IN_WARMUP), (IndexError::Off, code::MISC)] {
        fake.state().index_error = Some(error.clone());
        for method in ["getaddressutxos", "getaddressbalance", "getaddresshistory"] {
            assert_eq!(refused(&fake, method, json!([fake.text(1)])).await, code);
        }
        let refusal = call(&fake, "getrawtransaction", json!([mined])).await.expect_err("no index");
        assert_eq!((refusal.code, refusal.message), (code, error.to_string()));
        // What waits, and what a block is named for, is found without.
        ok(&fake, "getrawtransaction", json!([waiting])).await;
        ok(&fake, "getrawtransaction", json!([mined, 1, block])).await;
    }
}

#[tokio::test]
async fn transactions_and_mempool() {
    let fake = Fake::new();
    let (mined, pending, tip, side) = {
        let state = fake.state();
        let mined = state.active[12].transactions[0].clone();
        (mined, Arc::clone(&state.mempool[0]), state.active[12].hash(), state.side[0].1.clone())
    };
    let hex = |transaction: &chain::transaction::Transaction| const_hex::encode(transaction.to_bytes());
    assert_eq!(ok(&fake, "getrawtransaction", json!([mined.txid()])).await, json!(hex(&mined)));
    assert_eq!(ok(&fake, "getrawtransaction", json!([mined.txid(), false])).await, json!(hex(&mined)));
    let info = ok(&fake, "getrawtransaction", json!([mined.txid(), true])).await;
    assert_eq!((&info["blockhash"], &info["confirmations"]), (&json!(tip), &json!(1)));
    assert_eq!(info["vin"][0]["address"], json!(fake.text(1)));
    assert_eq!(info["vout"][0]["scriptPubKey"]["address"], json!(fake.text(2)));
    let info = ok(&fake, "getrawtransaction", json!([pending.txid(), 1])).await;
    assert!(info["blockhash"].is_null() && info["confirmations"].is_null());
    let coinbase = json!([side.coinbase.txid(), 1, side.hash()]);
    let info = ok(&fake, "getrawtransaction", coinbase).await;
    assert_eq!((&info["in_active_chain"], &info["confirmations"]), (&json!(false), &json!(0)));
    for params in [json!([side.coinbase.txid()]), json!([mined.txid(), 0, side.hash()])] {
        assert_eq!(refused(&fake, "getrawtransaction", params).await, code::INVALID_ADDRESS_OR_KEY);
    }

    let free = payment(coinbase_outpoint(&fake.state().active[3]), 1, 2, REWARD - FEE);
    let double = payment(pending.inputs[0], 1, 9, REWARD - FEE);
    let missing = payment(mined.inputs[0], 1, 9, REWARD - FEE);
    let generous = payment(coinbase_outpoint(&fake.state().active[4]), 1, 2, REWARD / 2);
    let tested = ok(&fake, "testmempoolaccept", json!([[hex(&free), hex(&double)]])).await;
    assert_eq!((&tested[0]["allowed"], &tested[1]["allowed"]), (&json!(true), &json!(false)));
    assert_eq!(tested[0]["fees"]["base"].to_string(), "0.00001000");
    assert_eq!(tested[1]["reject-reason"], json!("txn-mempool-conflict"));
    for (transaction, code) in [
        (&*mined, code::ALREADY_IN_CHAIN),
        (&*pending, code::ALREADY_IN_CHAIN),
        (&missing, code::VERIFY),
        (&double, code::VERIFY_REJECTED),
        (&generous, code::VERIFY),
    ] {
        assert_eq!(refused(&fake, "sendrawtransaction", json!([hex(transaction)])).await, code);
    }
    let conflict = call(&fake, "sendrawtransaction", json!([hex(&double)])).await.unwrap_err();
    assert!(conflict.message.contains(&pending.txid().to_string()), "{conflict}");
    assert_eq!(ok(&fake, "sendrawtransaction", json!([hex(&generous), 0])).await, json!(generous.txid()));
    assert_eq!(ok(&fake, "sendrawtransaction", json!([hex(&free), "0.1"])).await, json!(free.txid()));
    for junk in ["", "00", "zz", "0", &format!("0x{}", hex(&free)), &format!("{}00", hex(&free))] {
        assert_eq!(
            refused(&fake, "sendrawtransaction", json!([junk])).await,
            code::DESERIALIZATION,
            "{junk}"
        );
        assert_eq!(refused(&fake, "testmempoolaccept", json!([[junk]])).await, code::DESERIALIZATION);
    }
    for rate in ["-1", "1e400", "0.000000001"] {
        let rate: Value = serde_json::from_str(rate).expect("a number");
        assert_eq!(refused(&fake, "sendrawtransaction", json!([hex(&free), rate])).await, code::TYPE);
    }
    assert_eq!(refused(&fake, "testmempoolaccept", json!([[]])).await, code::INVALID_PARAMETER);

    let state = ok(&fake, "getmempoolinfo", json!([])).await;
    assert_eq!((&state["size"], state["mempoolminfee"].to_string().as_str()), (&json!(3), "0.00001000"));
    assert_eq!(ok(&fake, "getrawmempool", json!([])).await.as_array().unwrap().len(), 3);
    let child = payment(chain::transaction::OutPoint { txid: free.txid(), index: 0 }, 2, 3, REWARD - 2 * FEE);
    fake.state().mempool.push(Arc::new(child.clone()));
    let entries = ok(&fake, "getrawmempool", json!([true, false])).await;
    assert_eq!(entries[child.txid().to_string()]["depends"], json!([free.txid()]));
    assert_eq!(entries[free.txid().to_string()]["spentby"], json!([child.txid()]));
    assert_eq!(refused(&fake, "getrawmempool", json!([false, true])).await, code::INVALID_PARAMETER);
}

#[tokio::test]
async fn mining() {
    let fake = Fake::new();
    let template =
        ok(&fake, "getblocktemplate", json!([{"capabilities": ["coinbasetxn"], "rules": ["segwit"]}])).await;
    let tip = fake.state().tip().header;
    assert_eq!(template["version"], json!(0x2000_0000));
    assert_eq!(template["previousblockhash"], json!(tip.hash()));
    assert_eq!(template["bits"], json!(format!("{:08x}", tip.bits.to_u32())));
    assert_eq!(template["target"].as_str().unwrap().len(), 64);
    assert_eq!((&template["height"], &template["rules"]), (&json!(13), &json!([])));
    let mutable = template["mutable"].as_array().unwrap();
    assert!(mutable.contains(&json!("submit/coinbase")) && !mutable.contains(&json!("coinbase/append")));
    assert!(template["longpollid"].is_string() && template["curtime"].is_u64());
    let data = const_hex::decode(template["coinbasetxn"]["data"].as_str().unwrap()).unwrap();
    assert!(data.len() >= 60);
    for entry in template["transactions"].as_array().unwrap() {
        let data = const_hex::decode(entry["data"].as_str().unwrap()).unwrap();
        let leaf = BlockHash::from_bytes(chain::hash::sha256d(&data));
        assert_eq!(entry["hash"], json!(leaf), "a leaf is the SHA-256d of the data");
        assert_eq!(entry["fee"], json!(FEE));
    }
    let other = ok(&fake, "getblocktemplate", json!([{"address": fake.text(9)}])).await;
    assert_ne!(other["coinbasetxn"], template["coinbasetxn"]);
    assert_eq!(
        refused(&fake, "getblocktemplate", json!([{"mode": "proposal"}])).await,
        code::INVALID_PARAMETER
    );
    let bad = json!([{"address": "x"}]);
    assert_eq!(refused(&fake, "getblocktemplate", bad).await, code::INVALID_ADDRESS_OR_KEY);

    let pending = fake.state().mempool_entries()[0].transaction.clone();
    let found = block(&fake.state().active[12].clone(), 13, 1, vec![(*pending).clone()]);
    let submission = found.to_submission();
    let hex = const_hex::encode(&submission);
    assert_eq!(ok(&fake, "submitblock", json!([hex])).await, Value::Null);
    assert_eq!(ok(&fake, "submitblock", json!([hex, "ignored"])).await, json!("duplicate"));
    let partial = &submission[..submission.len() - pending.to_bytes().len()];
    let answer = ok(&fake, "submitblock", json!([const_hex::encode(partial)])).await;
    assert_eq!(answer, json!("bad-txnmrklroot"));
    let BlockSubmission::CoinbaseOnly { header, coinbase, transactions } =
        fake.submitted.lock().unwrap().pop().unwrap()
    else {
        panic!("a submission without its transactions")
    };
    assert_eq!((header, coinbase, transactions), (found.header, found.coinbase, 1));
    for junk in ["", "00", "x", &hex[..160], &format!("{hex}00")] {
        assert_eq!(refused(&fake, "submitblock", json!([junk])).await, code::DESERIALIZATION, "{junk}");
    }

    let mined = ok(&fake, "generatetoaddress", json!([2, fake.text(1)])).await;
    assert_eq!(mined[1], ok(&fake, "getbestblockhash", json!([])).await);
    assert_eq!(refused(&fake, "generatetoaddress", json!([1, fake.text(2)])).await, code::MISC);
    assert_eq!(refused(&fake, "generatetoaddress", json!([1, "x"])).await, code::INVALID_ADDRESS_OR_KEY);
    assert_eq!(
        refused(&fake, "generatetoaddress", json!([10_001, fake.text(1)])).await,
        code::INVALID_PARAMETER
    );

    let info = ok(&fake, "getmininginfo", json!([])).await;
    assert_eq!((&info["blocks"], &info["genproclimit"]), (&json!(15), &json!(2)));
    // The fake's blocks are 5 s apart and of equal work.
    let work: f64 = 65_536.0 * 65_536.0
        / tip
            .bits
            .to_target()
            .map(|target| {
                target.to_be_bytes()[..4].iter().fold(0.0, |sum, byte| sum * 256.0 + f64::from(*byte))
            })
            .unwrap();
    let measured = info["networkhashps"].as_f64().unwrap();
    assert!((measured / (work / 5.0) - 1.0).abs() < 0.01, "{measured} is not {}", work / 5.0);
}

#[tokio::test]
async fn network_and_control() {
    let fake = Fake::new();
    let peers = ok(&fake, "getpeerinfo", json!([])).await;
    assert_eq!((&peers[0]["inbound"], &peers[0]["synced_headers"]), (&json!(true), &json!(12)));
    assert_eq!(ok(&fake, "getconnectioncount", json!([])).await, json!(1));
    let network = ok(&fake, "getnetworkinfo", json!([])).await;
    assert_eq!((&network["connections_in"], &network["version"]), (&json!(1), &json!(100)));
    let peer = "/ip4/127.0.0.1/tcp/4001";
    assert_eq!(ok(&fake, "addnode", json!([peer, "add"])).await, Value::Null);
    assert_eq!(refused(&fake, "addnode", json!([peer, "add"])).await, code::NODE_ALREADY_ADDED);
    assert_eq!(ok(&fake, "addnode", json!([peer, "remove"])).await, Value::Null);
    assert_eq!(refused(&fake, "addnode", json!([peer, "remove"])).await, code::NODE_NOT_ADDED);
    assert_eq!(ok(&fake, "addnode", json!([peer, "onetry"])).await, Value::Null);
    assert_eq!(refused(&fake, "addnode", json!([peer, "befriend"])).await, code::INVALID_PARAMETER);
    assert_eq!(refused(&fake, "addnode", json!(["nonsense", "add"])).await, code::INVALID_PARAMETER);
    let net = "192.0.2.0/24";
    assert_eq!(ok(&fake, "setban", json!([net, "add", 60])).await, Value::Null);
    assert_eq!(refused(&fake, "setban", json!([net, "add"])).await, code::NODE_ALREADY_ADDED);
    assert_eq!(refused(&fake, "setban", json!([net, "add", 5, true])).await, code::INVALID_PARAMETER);
    assert_eq!(refused(&fake, "setban", json!([net, "befriend"])).await, code::INVALID_PARAMETER);
    assert_eq!(refused(&fake, "setban", json!(["nonsense", "add"])).await, code::INVALID_IP_OR_SUBNET);
    let banned = ok(&fake, "listbanned", json!([])).await;
    assert_eq!((&banned[0]["address"], &banned[0]["ban_duration"]), (&json!(net), &json!(60)));
    assert_eq!(ok(&fake, "setban", json!([net, "remove"])).await, Value::Null);
    assert_eq!(refused(&fake, "setban", json!([net, "remove"])).await, code::INVALID_IP_OR_SUBNET);
    assert_eq!(ok(&fake, "clearbanned", json!([])).await, Value::Null);
    assert_eq!(ok(&fake, "disconnectnode", json!(["", 3])).await, Value::Null);
    assert_eq!(refused(&fake, "disconnectnode", json!(["", 4])).await, code::NODE_NOT_CONNECTED);
    assert_eq!(refused(&fake, "disconnectnode", json!([])).await, code::INVALID_PARAMETER);
    assert_eq!(ok(&fake, "uptime", json!([])).await, json!(42));
    assert!(ok(&fake, "stop", json!([])).await.is_string());
    assert!(*fake.stopped.borrow());
    assert_eq!(refused(&fake, "getblockcount", json!([])).await, code::INTERNAL, "a node that stops says so");
}

#[tokio::test]
async fn section_7_over_the_real_methods() {
    let methods = NodeMethods::new(Fake::new());
    let ask = async |body: &str| answer(&methods, body.as_bytes()).await.body;
    let batch = ask(
        r#"[{"jsonrpc": "2.0", "method": "getblockcount", "id": "1"}, 1, {"jsonrpc": "2.0", "method": "uptime"},
            {"jsonrpc": "2.0", "method": "getblockhash", "params": {"height": 99}, "id": 2}]"#,
    )
    .await;
    let answers: Vec<Value> = serde_json::from_slice(&batch).expect("JSON");
    assert_eq!(answers.len(), 3);
    assert_eq!((&answers[0]["result"], &answers[1]["error"]["code"]), (&json!(12), &json!(-32600)));
    assert_eq!(answers[2]["error"]["code"], json!(-8));
}

//! What the chain's and the mempool's methods say beyond looking things up: figures, advice, checks, relatives.

use std::sync::Arc;

use chain::{hash::BlockHash, hash::TxId, transaction::OutPoint};
use rpc::{
    backend::{ChainVerdict, CheckLevel, Departure, View},
    error::code,
};
use serde_json::{Value, json};

use crate::{
    fake::{FEE, Fake, REWARD, payment},
    methods::{call, ok, refused},
};

const UNKNOWN: [u8; 32] = [7; 32];

#[tokio::test]
async fn difficulty_is_that_of_the_tip() {
    let fake = Fake::new();
    let info = ok(&fake, "getblockchaininfo", json!([])).await;
    assert_eq!(ok(&fake, "getdifficulty", json!([])).await, info["difficulty"]);
}

#[tokio::test]
async fn figures_of_a_block() {
    let fake = Fake::new();
    let (tip, side, bytes) = {
        let state = fake.state();
        let bytes = state.active[12].transactions[0].to_bytes().len() as u64;
        (state.active[12].hash(), state.side[0].1.hash(), bytes)
    };
    let stats = ok(&fake, "getblockstats", json!([12])).await;
    assert_eq!(ok(&fake, "getblockstats", json!([tip])).await, stats);
    let figure = |name: &str| stats[name].as_i64().unwrap_or_else(|| panic!("{name} in {stats}"));
    let size = i64::try_from(bytes).expect("small");
    let fee = i64::try_from(FEE).expect("small");
    for (name, expected) in [
        ("txs", 2),
        ("ins", 1),
        ("outs", 3),
        ("height", 12),
        ("subsidy", i64::try_from(REWARD).expect("small")),
        ("total_out", i64::try_from(REWARD - FEE).expect("small")),
        ("total_size", size),
        ("avgtxsize", size),
        ("mintxsize", size),
        ("maxtxsize", size),
        ("mediantxsize", size),
        ("totalfee", fee),
        ("avgfee", fee),
        ("minfee", fee),
        ("maxfee", fee),
        ("medianfee", fee),
        ("avgfeerate", fee / size),
        ("minfeerate", fee / size),
        ("maxfeerate", fee / size),
        ("utxo_increase", 2),
        ("utxo_increase_actual", 1),
        // Amount, tag, address and overhead twice, less the one that was spent; the data has 8 + 1 + 4 + 4 bytes.
        ("utxo_size_inc", (8 + 1 + 32 + 41) + (8 + 1 + 4 + 4 + 41)),
        ("utxo_size_inc_actual", 8 + 1 + 32 + 41),
    ] {
        assert_eq!(figure(name), expected, "{name} in {stats}");
    }
    assert_eq!(stats["blockhash"], json!(tip));
    assert_eq!(stats["feerate_percentiles"], Value::from(vec![FEE / bytes; 5]));
    assert_eq!(ok(&fake, "getblockstats", json!([0])).await["utxo_increase"], json!(0));

    let some = ok(&fake, "getblockstats", json!([12, ["txs", "totalfee"]])).await;
    assert_eq!(some, json!({"txs": 2, "totalfee": FEE}));
    // Nobody knows what a block outside the active chain spent.
    assert_eq!(
        ok(&fake, "getblockstats", json!([side, ["txs", "height"]])).await,
        json!({"txs": 1, "height": 12})
    );
    for (params, code) in [
        (json!([side]), code::MISC),
        (json!([side, ["totalfee"]]), code::MISC),
        (json!([13]), code::INVALID_PARAMETER),
        (json!([-1]), code::INVALID_PARAMETER),
        (json!(["00"]), code::INVALID_PARAMETER),
        (json!([BlockHash::from_bytes(UNKNOWN)]), code::INVALID_ADDRESS_OR_KEY),
        (json!([12, ["txs", "weight"]]), code::INVALID_PARAMETER),
        (json!([12, [""]]), code::INVALID_PARAMETER),
        (json!([12, []]), code::INVALID_PARAMETER),
        (json!([12, vec!["txs"; 65]]), code::INVALID_PARAMETER),
        (json!([12, [1]]), code::TYPE),
        (json!([12, "txs"]), code::TYPE),
        (json!([true]), code::TYPE),
    ] {
        assert_eq!(refused(&fake, "getblockstats", params.clone()).await, code, "{params}");
    }
    // A hash whose digits are all decimal comes as a number from a command line.
    let decimal: Value = serde_json::from_str(&"1".repeat(64)).expect("a number");
    assert_eq!(refused(&fake, "getblockstats", json!([decimal])).await, code::INVALID_ADDRESS_OR_KEY);
}

#[tokio::test]
async fn supply_is_held_against_what_was_issued() {
    let fake = Fake::new();
    let set = ok(&fake, "gettxoutsetinfo", json!([])).await;
    assert_eq!(set["total_issued"].to_string(), "600.00000000");
    assert_eq!(set["total_unspendable_amount"].to_string(), "0.00001000", "a fee that nobody claimed");
    assert_eq!(set["supply_ok"], json!(true));
}

#[tokio::test]
async fn advice_reaches_the_node() {
    let fake = Fake::new();
    let tip = fake.state().tip().id.hash;
    for method in ["invalidateblock", "reconsiderblock", "preciousblock"] {
        assert_eq!(ok(&fake, method, json!([tip])).await, Value::Null);
        let unknown = json!([BlockHash::from_bytes(UNKNOWN)]);
        assert_eq!(refused(&fake, method, unknown).await, code::INVALID_ADDRESS_OR_KEY);
        assert_eq!(refused(&fake, method, json!(["zz"])).await, code::INVALID_PARAMETER);
        assert_eq!(refused(&fake, method, json!([12])).await, code::TYPE);
    }
    let heard = fake.advice.lock().expect("no panic").clone();
    assert_eq!(heard, [("invalidate", tip), ("reconsider", tip), ("precious", tip)]);
    assert_eq!(refused(&fake, "invalidateblock", json!([fake.chain.id()])).await, code::INVALID_PARAMETER);
}

#[tokio::test]
async fn checks_of_the_chain() {
    let fake = Fake::new();
    for params in [json!([]), json!([4, 0]), json!([0, 9]), json!([null, 1])] {
        assert_eq!(ok(&fake, "verifychain", params).await, json!(true));
    }
    let asked = fake.checks.lock().expect("no panic").clone();
    let levels = [
        (CheckLevel::Disconnect, Some(6)),
        (CheckLevel::Connect, None),
        (CheckLevel::Bodies, Some(9)),
        (CheckLevel::Disconnect, Some(1)),
    ];
    assert_eq!(asked, levels);
    assert_eq!(refused(&fake, "verifychain", json!([5])).await, code::INVALID_PARAMETER);
    assert_eq!(refused(&fake, "verifychain", json!([3, -1])).await, code::INVALID_PARAMETER);
    *fake.verdict.lock().expect("no panic") = Some(ChainVerdict::Damaged("a body".into()));
    assert_eq!(ok(&fake, "verifychain", json!([])).await, json!(false));
}

/// A chain of three payments in the mempool, the first of which was there.
fn family(fake: &Arc<Fake>) -> [TxId; 3] {
    let mut state = fake.state();
    let parent = state.mempool[0].txid();
    let child = payment(OutPoint { txid: parent, index: 0 }, 3, 4, REWARD - 2 * FEE);
    let grandchild = payment(OutPoint { txid: child.txid(), index: 0 }, 4, 5, REWARD - 3 * FEE);
    let ids = [parent, child.txid(), grandchild.txid()];
    state.mempool.extend([Arc::new(child), Arc::new(grandchild)]);
    ids
}

#[tokio::test]
async fn relatives_in_the_mempool() {
    let fake = Fake::new();
    let [parent, child, grandchild] = family(&fake);
    let size = fake.state().mempool[0].to_bytes().len() as u64;
    let entry = ok(&fake, "getmempoolentry", json!([child])).await;
    assert_eq!(
        (&entry["ancestorcount"], &entry["descendantcount"], &entry["depends"], &entry["spentby"]),
        (&json!(2), &json!(2), &json!([parent]), &json!([grandchild]))
    );
    assert_eq!((&entry["vsize"], &entry["ancestorsize"]), (&json!(size), &json!(2 * size)));
    let fees = ["base", "ancestor", "descendant", "chunk"].map(|of| entry["fees"][of].to_string());
    assert_eq!(fees, ["0.00001000", "0.00002000", "0.00002000", "0.00002000"]);
    let rate: u64 = 2 * FEE * 1_000 / (2 * size);
    assert_eq!(entry["chunkfeerate"].to_string(), format!("0.{rate:08}"));
    assert_eq!(entry["chunksize"], json!(2 * size));
    let all = ok(&fake, "getrawmempool", json!([true])).await;
    assert_eq!(all[child.to_string()], entry);

    assert_eq!(ok(&fake, "getmempoolancestors", json!([grandchild])).await, json!([parent, child]));
    assert_eq!(ok(&fake, "getmempoolancestors", json!([parent, false])).await, json!([]));
    assert_eq!(ok(&fake, "getmempooldescendants", json!([parent])).await, json!([child, grandchild]));
    let verbose = ok(&fake, "getmempooldescendants", json!([parent, true])).await;
    assert_eq!(verbose.as_object().map(serde_json::Map::len), Some(2));
    assert_eq!(verbose[child.to_string()], entry);
    let verbose = ok(&fake, "getmempoolancestors", json!([grandchild, true])).await;
    assert_eq!(verbose[child.to_string()], entry);

    let info = ok(&fake, "getmempoolinfo", json!([])).await;
    assert_eq!((&info["limitclustercount"], &info["limitclustersize"]), (&json!(64), &json!(101_000)));
    assert_eq!(info["incrementalrelayfee"].to_string(), "0.00000500");
    let saved = ok(&fake, "savemempool", json!([])).await;
    assert_eq!(saved, json!({"filename": "/data/mempool.dat"}));
    fake.state().mempool.clear();
    assert_eq!(refused(&fake, "savemempool", json!([])).await, code::MISC);
}

#[tokio::test]
async fn a_payment_that_is_gone_is_told_of() {
    let fake = Fake::new();
    let [by, ..] = family(&fake);
    let mined = fake.state().active[12].transactions[0].clone();
    let gone = payment(mined.inputs[0], 1, 9, REWARD - 2 * FEE).txid();
    let methods = ["getmempoolentry", "getmempoolancestors", "getmempooldescendants", "getrawtransaction"];
    for (why, words) in [
        (Departure::Replaced { by }, format!("replaced by {by}")),
        (Departure::Evicted, "full".into()),
        (Departure::Expired, "too long".into()),
        (Departure::Conflict { with: by }, format!("a block holds {by}")),
        (Departure::Invalidated, "reorganisation".into()),
    ] {
        fake.state().departed.insert(gone, why);
        for method in methods {
            let error = call(&fake, method, json!([gone])).await.expect_err("it is gone");
            assert_eq!(error.code, code::INVALID_ADDRESS_OR_KEY, "{method}: {error}");
            assert!(error.message.contains(&words), "{method}: {error}");
            let unknown = json!([TxId::from_bytes(UNKNOWN)]);
            let error = call(&fake, method, unknown).await.expect_err("nobody knows it");
            assert_eq!(error.code, code::INVALID_ADDRESS_OR_KEY, "{method}: {error}");
            assert!(!error.message.contains(&words), "{method}: {error}");
        }
    }
    // What was replaced may be mined all the same.
    fake.state().departed.insert(mined.txid(), Departure::Replaced { by });
    ok(&fake, "getrawtransaction", json!([mined.txid()])).await;
}

//! The golden byte strings of `docs/protocol.md`, made again by the code. The document is the only place where
//! they are written down, so that it can never say something else than what the code does.

use std::{fmt::Write as _, fs, path::Path};

use chain::{
    address::Address,
    amount::Amount,
    block::{Block, Header},
    encode,
    genesis::{Chain, TEMPLATE_VERSION},
    hash::{BlockHash, TxId, sha256, tagged},
    height::Height,
    merkle::root_and_mutation,
    params::Params,
    policy::{Policy, PublicKey, Satisfaction, Witness},
    pow::CompactTarget,
    signature::signature_message,
    time::Time,
    transaction::{Coinbase, Destination, OutPoint, Output, Transaction},
};
use ed25519_dalek::{Signer, SigningKey};

/// Name and value of everything that the document's table of golden strings holds.
struct Golden(Vec<(&'static str, String)>);

impl Golden {
    fn bytes(&mut self, name: &'static str, bytes: impl AsRef<[u8]>) {
        self.0.push((name, const_hex::encode(bytes)));
    }

    fn text(&mut self, name: &'static str, text: impl ToString) {
        self.0.push((name, text.to_string()));
    }
}

fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

fn pk(number: u8) -> Policy {
    Policy::Pk(PublicKey(key(number).verifying_key().to_bytes()))
}

/// `or(thresh(2, pk(1), pk(2), pk(3)), and(pk(4), older(144)))`: two of three, or one alone after a day.
fn vault() -> Policy {
    Policy::Or(Box::new([
        Policy::Thresh { k: 2, of: vec![pk(1), pk(2), pk(3)] },
        Policy::And(Box::new([pk(4), Policy::Older(144)])),
    ]))
}

fn policies(golden: &mut Golden) {
    let lock = Policy::Sha256(sha256(&[5; 32]));
    let all: [(&str, &str, &str, Policy); 9] = [
        ("pk, borsh", "pk, address bytes", "pk, address", pk(1)),
        (
            "thresh, borsh",
            "thresh, address bytes",
            "thresh, address",
            Policy::Thresh { k: 1, of: vec![Policy::Older(1), Policy::Older(2)] },
        ),
        (
            "and, borsh",
            "and, address bytes",
            "and, address",
            Policy::And(Box::new([Policy::Older(1), Policy::Older(2)])),
        ),
        (
            "or, borsh",
            "or, address bytes",
            "or, address",
            Policy::Or(Box::new([Policy::Older(1), Policy::Older(2)])),
        ),
        (
            "after height, borsh",
            "after height, address bytes",
            "after height, address",
            Policy::AfterHeight(Height::new(500_000)),
        ),
        (
            "after time, borsh",
            "after time, address bytes",
            "after time, address",
            Policy::AfterTime(Time::from_secs(1_800_000_000)),
        ),
        ("older, borsh", "older, address bytes", "older, address", Policy::Older(144)),
        ("sha256, borsh", "sha256, address bytes", "sha256, address", lock),
        ("vault, borsh", "vault, address bytes", "vault, address", vault()),
    ];
    for (borsh, bytes, text, policy) in all {
        let address = Address::of_policy(&policy);
        golden.bytes(borsh, encode::to_bytes(&policy));
        golden.bytes(bytes, address.as_bytes());
        golden.text(text, address.encode("crn"));
    }
}

fn transaction(golden: &mut Golden) -> Transaction {
    let genesis = BlockHash::from_bytes([0x11; 32]);
    let pay =
        |policy: &Policy, pebbles| Output::pay(Address::of_policy(policy), Amount::from_pebbles(pebbles));
    let spent = [pay(&pk(1), 5_000_000_000), pay(&vault(), 150)];
    let mut transaction = Transaction {
        inputs: vec![
            OutPoint { txid: TxId::from_bytes([0x22; 32]), index: 0 },
            OutPoint { txid: TxId::from_bytes([0x33; 32]), index: 258 },
        ],
        outputs: vec![
            pay(&pk(2), 4_999_999_000),
            Output { amount: Amount::ZERO, to: Destination::Data(b"cairn".to_vec()) },
        ],
        witnesses: Vec::new(),
    };
    let message = signature_message(&genesis, &transaction.id_preimage(), &spent);
    let sign = |number| Satisfaction::Signature(key(number).sign(&message).to_bytes());
    let chosen = Satisfaction::Chosen(vec![(0, sign(1)), (2, sign(3))]);
    transaction.witnesses = vec![
        Witness { policy: pk(1), satisfaction: sign(1) },
        Witness { policy: vault(), satisfaction: Satisfaction::Branch(0, Box::new(chosen)) },
    ];
    golden.bytes("transaction, TxId preimage", transaction.id_preimage());
    golden.text("transaction, TxId (shown)", transaction.txid());
    golden.bytes("transaction, spent outputs", encode::to_bytes(&spent.to_vec()));
    golden.bytes("transaction, message that is signed", message);
    golden.bytes("transaction, signature of key 1", key(1).sign(&message).to_bytes());
    golden.bytes("transaction, bytes", transaction.to_bytes());
    golden.text("transaction, WitnessTxId (shown)", transaction.witness_txid());
    assert_eq!(Transaction::from_bytes(&transaction.to_bytes()).expect("as written"), transaction);
    transaction
}

fn block(golden: &mut Golden, transaction: Transaction) {
    let mut free = [0; 96];
    free[..5].copy_from_slice(b"stone");
    let reward = Output::pay(Address::of_policy(&pk(1)), Amount::from_pebbles(5_000_001_150));
    let coinbase = Coinbase { height: Height::new(7), free, outputs: vec![reward] };
    let leaves = [coinbase.txid().to_bytes(), transaction.witness_txid().to_bytes()];
    let header = Header {
        version: TEMPLATE_VERSION,
        previous: BlockHash::from_bytes([0x44; 32]),
        merkle_root: root_and_mutation(&leaves).0,
        time: Time::from_secs(1_800_000_000),
        bits: CompactTarget::from_u32(0x207f_ffff),
        nonce: 0xdead_beef,
    };
    golden.bytes("coinbase, bytes", coinbase.to_bytes());
    golden.text("coinbase, TxId (shown)", coinbase.txid());
    golden.text("block, Merkle root (shown)", header.merkle_root);
    golden.bytes("header, bytes", header.to_bytes());
    golden.text("header, hash (shown)", header.hash());
    let block = Block { header, coinbase, transactions: vec![transaction.into()] };
    golden.bytes("block, SHA-256 of its bytes", sha256(&block.to_bytes()));
    golden.bytes("block, SHA-256 of its submission", sha256(&block.to_submission()));
}

fn parameters(golden: &mut Golden) {
    golden.bytes("dev, borsh of the parameters", encode::to_bytes(&Params::dev()));
    golden.bytes("main, commitment", Params::main().commitment());
    golden.bytes("test, commitment", Params::test().commitment());
    golden.bytes("dev, commitment", Params::dev().commitment());
    golden.bytes("tagged hash of nothing under cairn/spend", tagged("cairn/spend", b""));
}

fn built_in(golden: &mut Golden) {
    for (nonce, header, id, chain) in [
        ("main, nonce", "main, genesis header", "main, chain id (shown)", Chain::main()),
        ("test, nonce", "test, genesis header", "test, chain id (shown)", Chain::test()),
        ("dev, nonce", "dev, genesis header", "dev, chain id (shown)", Chain::dev()),
    ] {
        golden.text(nonce, chain.genesis_nonce());
        golden.bytes(header, chain.genesis().header.to_bytes());
        golden.text(id, chain.id());
    }
}

/// The rows `| name | value |` of the table behind a mark in the document.
fn documented(mark: &str) -> Vec<(String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/protocol.md");
    let text = fs::read_to_string(&path).expect("docs/protocol.md is in the repository");
    let marked =
        text.split(&format!("<!-- {mark} -->\n")).nth(1).expect("the document has the mark").to_owned();
    let cells = |line: &str| {
        let mut cells = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ");
        let (name, value) = (cells.next()?, cells.next()?);
        Some((name.to_owned(), value.trim_matches('`').to_owned()))
    };
    let table = marked.lines().take_while(|line| line.starts_with('|'));
    table.filter_map(cells).filter(|(name, _)| name != "what").collect()
}

fn compare(mark: &str, golden: Golden) {
    let made: Vec<(String, String)> =
        golden.0.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let mut table = String::new();
    for (name, value) in &made {
        writeln!(table, "| {name} | `{value}` |").expect("writing into a string does not fail");
    }
    assert!(documented(mark) == made, "docs/protocol.md must hold this table behind {mark}:\n\n{table}");
}

#[test]
fn golden_strings_are_those_of_the_document() {
    let mut golden = Golden(Vec::new());
    policies(&mut golden);
    let spends = transaction(&mut golden);
    block(&mut golden, spends);
    parameters(&mut golden);
    compare("golden", golden);
}

#[test]
fn the_built_in_chains_are_those_of_the_document() {
    let mut golden = Golden(Vec::new());
    built_in(&mut golden);
    compare("chains", golden);
}

#[test]
fn g3_the_built_in_nonces_are_the_first_that_solve() {
    // Those of `main` take 2^32 hashes on average: there the hash itself must do.
    for (chain, params) in [(Chain::test(), Params::test()), (Chain::dev(), Params::dev())] {
        let mined = Chain::mine(params).expect("there is a nonce");
        assert_eq!((mined.genesis_nonce(), mined.id()), (chain.genesis_nonce(), chain.id()));
    }
    let main = Chain::main();
    let target = main.params().initial_bits.to_target().expect("a target");
    assert!(target.is_met_by(&main.id()));
    let ids = [Chain::main().id(), Chain::test().id(), Chain::dev().id()];
    assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
}

/// A cell of the table of parameters, for a value as JSON has it.
fn cell(name: &str, value: &serde_json::Value) -> String {
    let digits = |number: u64| {
        let plain = number.to_string();
        let mut grouped = String::new();
        for (place, digit) in plain.chars().enumerate() {
            if place > 0 && (plain.len() - place).is_multiple_of(3) {
                grouped.push(',');
            }
            grouped.push(digit);
        }
        grouped
    };
    match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Array(sets) => {
            sets.iter().map(|set| format!("({}, {})", set["from"], set["rules"])).collect()
        }
        // A point in time is no quantity.
        number if name == "genesis_time" => number.to_string(),
        number => digits(number.as_u64().expect("numbers of parameters fit into 64 bits")),
    }
}

#[test]
fn g1_the_parameters_of_the_document_are_those_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/protocol.md");
    let text = fs::read_to_string(&path).expect("docs/protocol.md is in the repository");
    let [main, test, dev] = [Params::main(), Params::test(), Params::dev()]
        .map(|params| serde_json::to_value(params).expect("parameters are JSON"));
    let fields = main.as_object().expect("named fields");
    assert_eq!(fields.len(), 14);
    for name in fields.keys() {
        let prefix = format!("| {name} | ");
        let row =
            text.lines().find(|line| line.starts_with(&prefix)).unwrap_or_else(|| panic!("no row {name}"));
        let cells = [&main, &test, &dev].map(|values| cell(name, &values[name])).join(" | ");
        assert!(row.ends_with(&format!(" | {cells} |")), "{row} should end with {cells}");
    }
}

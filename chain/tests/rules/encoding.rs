//! Rules E1 to E4, T1, T2, A1, A2 and X1: bytes, hashes, addresses.

use chain::{
    address::{Address, AddressError},
    block::Block,
    encode::{self, MAX_INPUTS},
    hash::{BlockHash, TxId, WitnessTxId, sha256, sha256d, tagged},
    height::Height,
    policy::{Policy, PublicKey, Satisfaction},
    transaction::{Coinbase, Transaction},
};

use crate::build::{Key, World, coins, data, time, to};

fn sample() -> (World, Block) {
    let mut world = World::easy();
    world.mine_empty(2);
    let payment = world.pay(&[world.reward_at(1)], vec![to(&Key::new(1), coins(49)), data(b"hello")]);
    let block = world.draft(vec![payment]);
    (world, block)
}

#[test]
fn e1_one_object_has_one_encoding_and_nothing_follows_it() {
    let (_, block) = sample();
    let bytes = block.to_bytes();
    assert_eq!(Block::from_bytes(&bytes).expect("as written"), block);
    for cut in 0..bytes.len() {
        assert!(Block::from_bytes(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    let longer = [&bytes[..], &[0]].concat();
    let refused = Block::from_bytes(&longer).expect_err("a byte too many").to_string();
    assert!(refused.contains("rule E1"), "{refused}");
    let transaction = block.transactions[0].to_bytes();
    assert!(Transaction::from_bytes(&[&transaction[..], &[0]].concat()).is_err());
    let coinbase = block.coinbase.to_bytes();
    assert!(Coinbase::from_bytes(&[&coinbase[..], &[0]].concat()).is_err());
}

#[test]
fn e2_lists_are_bounded_before_they_are_read() {
    let with_inputs = |count: u32| {
        let mut bytes = 1u32.to_le_bytes().to_vec();
        bytes.extend(count.to_le_bytes());
        Transaction::from_bytes(&bytes).expect_err("no input follows").to_string()
    };
    assert!(with_inputs(MAX_INPUTS + 1).contains("rule E2"));
    assert!(with_inputs(u32::MAX).contains("rule E2"));
    assert!(!with_inputs(MAX_INPUTS).contains("rule E2"), "the bytes are missing, not the right");
}

#[test]
fn e3_ids_are_double_hashes_shown_reversed() {
    let (_, block) = sample();
    assert_eq!(block.hash().to_bytes(), sha256d(&block.header.to_bytes()));
    assert_eq!(sha256d(b"x"), sha256(&sha256(b"x")));
    let mut bytes = [0; 32];
    bytes[0] = 1;
    let shown = format!("{}01", "00".repeat(31));
    assert_eq!(BlockHash::from_bytes(bytes).to_string(), shown);
    assert_eq!(shown.parse(), Ok(TxId::from_bytes(bytes)));
    assert_eq!(shown.parse(), Ok(WitnessTxId::from_bytes(bytes)));
}

#[test]
fn e4_tags_separate_what_is_hashed() {
    let tag = sha256(b"cairn/spend");
    let by_hand = sha256(&[&tag[..], &tag[..], b"message"].concat());
    assert_eq!(tagged("cairn/spend", b"message"), by_hand);
    assert_ne!(tagged("cairn/policy", b"message"), by_hand);
}

#[test]
fn t1_the_first_word_tells_a_coinbase_from_a_transaction() {
    let (_, block) = sample();
    let coinbase = block.coinbase.to_bytes();
    let transaction = block.transactions[0].to_bytes();
    assert_eq!(coinbase[..4], 0u32.to_le_bytes());
    assert_eq!(transaction[..4], 1u32.to_le_bytes());
    assert!(Transaction::from_bytes(&coinbase).is_err());
    assert!(Coinbase::from_bytes(&transaction).is_err());
    for word in [0u32, 2, 256, u32::MAX] {
        let other = [&word.to_le_bytes()[..], &transaction[4..]].concat();
        let refused = Transaction::from_bytes(&other).expect_err("no such kind").to_string();
        assert!(refused.contains("rule T1"), "{refused}");
    }
    for word in [1u32, 2, u32::MAX] {
        let other = [&word.to_le_bytes()[..], &coinbase[4..]].concat();
        assert!(Coinbase::from_bytes(&other).expect_err("no such kind").to_string().contains("rule T1"));
    }
}

#[test]
fn t1_outputs_are_tagged_0_or_1() {
    let output = to(&Key::new(1), 5);
    let bytes = encode::to_bytes(&output);
    assert_eq!(bytes.len(), 41);
    assert_eq!(bytes[8], 0);
    let mut tagged_two = bytes.clone();
    tagged_two[8] = 2;
    let refused = encode::from_bytes::<chain::transaction::Output>(&tagged_two).expect_err("no such tag");
    assert!(refused.to_string().contains("rule T1"), "{refused}");
    let carried = encode::to_bytes(&data(b"abc"));
    assert_eq!(carried, [&[0; 8][..], &[1, 3, 0, 0, 0], b"abc"].concat());
}

#[test]
fn t2_the_id_leaves_out_the_witnesses_and_nothing_else() {
    let (_, block) = sample();
    let transaction = &block.transactions[0];
    assert_eq!(transaction.txid().to_bytes(), sha256d(&transaction.id_preimage()));
    assert_eq!(transaction.witness_txid().to_bytes(), sha256d(&transaction.to_bytes()));
    assert!(transaction.to_bytes().starts_with(&transaction.id_preimage()));
    let mut other = Transaction::clone(transaction);
    other.witnesses[0].satisfaction = Satisfaction::Signature([1; 64]);
    assert_eq!(other.txid(), transaction.txid());
    assert_ne!(other.witness_txid(), transaction.witness_txid());
    let mut other = Transaction::clone(transaction);
    other.inputs[0].index += 1;
    assert_ne!(other.txid(), transaction.txid());
    let mut other = Transaction::clone(transaction);
    other.outputs.reverse();
    assert_ne!(other.txid(), transaction.txid());
    assert_eq!(block.coinbase.txid().to_bytes(), sha256d(&block.coinbase.to_bytes()));
}

#[test]
fn a1_an_address_is_the_tagged_hash_of_a_policy() {
    let pk = Policy::Pk(PublicKey([9; 32]));
    let bytes = [&[0][..], &[9; 32]].concat();
    assert_eq!(encode::to_bytes(&pk), bytes);
    assert_eq!(Address::of_policy(&pk).as_bytes(), &tagged("cairn/policy", &bytes));
    let pair = || Box::new([Policy::Older(1), Policy::Older(2)]);
    let tags: [(Policy, &[u8]); 7] = [
        (Policy::Thresh { k: 1, of: vec![Policy::Older(7)] }, &[1, 1, 1, 0, 0, 0, 6, 7, 0, 0, 0]),
        (Policy::And(pair()), &[2, 6, 1, 0, 0, 0, 6, 2, 0, 0, 0]),
        (Policy::Or(pair()), &[3, 6, 1, 0, 0, 0, 6, 2, 0, 0, 0]),
        (Policy::AfterHeight(Height::new(258)), &[4, 2, 1, 0, 0]),
        (Policy::AfterTime(time(258)), &[5, 2, 1, 0, 0]),
        (Policy::Older(258), &[6, 2, 1, 0, 0]),
        (Policy::Sha256([8; 32]), &[&[7][..], &[8; 32]].concat()),
    ];
    for (policy, bytes) in tags {
        assert_eq!(encode::to_bytes(&policy), bytes, "{policy}");
    }
    for tag in 8..=255 {
        let refused =
            encode::from_bytes::<Policy>(&[&[tag][..], &[0; 40]].concat()).expect_err("no such tag");
        assert!(refused.to_string().contains("rule A1"), "{refused}");
    }
}

#[test]
fn a2_addresses_are_bech32m_with_prefix_and_version() {
    let address = Key::new(1).address();
    let text = address.encode("crn");
    assert!(text.starts_with("crn1q"));
    assert_eq!(Address::decode("crn", &text), Ok(address));
    assert_eq!(Address::decode("crn", &text.to_uppercase()), Ok(address), "for QR codes, as BIP-173 says");
    let mut mixed = text.clone();
    mixed.replace_range(0..1, "C");
    assert!(matches!(Address::decode("crn", &mixed), Err(AddressError::Malformed { .. })));
    assert_eq!(
        Address::decode("tcrn", &text),
        Err(AddressError::OtherChain { expected: "tcrn".into(), found: "crn".into() })
    );
    for text in ["bob", "", "crn1", &text[..40], &format!("{text}q")] {
        let said = Address::decode("crn", text).expect_err(text).to_string();
        assert!(said.contains("addresses of this chain begin with crn1"), "{said}");
    }
    let hrp = bech32::Hrp::parse("crn").expect("a prefix");
    let encode = |data: &[u8]| bech32::encode::<bech32::Bech32m>(hrp, data).expect("short");
    let versioned = |version: u8| encode(&[&[version][..], address.as_bytes()].concat());
    assert_eq!(versioned(0), text);
    assert_eq!(Address::decode("crn", &versioned(1)), Err(AddressError::UnknownVersion(1)));
    for length in [0, 1, 20, 32, 34] {
        let wrong = encode(&vec![0; length]);
        assert!(matches!(Address::decode("crn", &wrong), Err(AddressError::Malformed { .. })), "{length}");
    }
    let old = bech32::encode::<bech32::Bech32>(hrp, &[&[0][..], address.as_bytes()].concat()).expect("short");
    assert!(
        matches!(Address::decode("crn", &old), Err(AddressError::Malformed { .. })),
        "bech32 is not bech32m"
    );
    assert!(matches!(Address::decode("crn", &"c".repeat(91)), Err(AddressError::Malformed { .. })));
}

#[test]
fn a2_padding_is_zero() {
    use bech32::primitives::iter::{ByteIterExt, Fe32IterExt};
    let address = Key::new(1).address();
    let hrp = bech32::Hrp::parse("crn").expect("a prefix");
    let data = [&[0][..], address.as_bytes()].concat();
    // 33 bytes are 264 bits: 53 characters have one to spare, the lowest of the last.
    let padded = |padding: u8| {
        let mut fives: Vec<bech32::Fe32> = data.iter().copied().bytes_to_fes().collect();
        assert_eq!(fives.len(), 53);
        let last = fives[52].to_u8() | padding;
        fives[52] = bech32::Fe32::try_from(last).expect("five bits");
        fives.into_iter().with_checksum::<bech32::Bech32m>(&hrp).chars().collect::<String>()
    };
    assert_eq!(padded(0), address.encode("crn"));
    assert!(matches!(Address::decode("crn", &padded(1)), Err(AddressError::Malformed { .. })));
}

#[test]
fn x1_a_submission_is_header_count_and_transactions() {
    let (mut world, block) = sample();
    let bytes = block.to_submission();
    assert_eq!(bytes[..80], block.header.to_bytes());
    assert_eq!(bytes[80], 2);
    let coinbase = block.coinbase.to_bytes();
    assert_eq!(bytes[81..81 + coinbase.len()], coinbase);
    assert_eq!(bytes[81 + coinbase.len()..], block.transactions[0].to_bytes());
    let read = Block::from_submission(&bytes).expect("as written");
    assert_eq!(read, block);
    for cut in 0..bytes.len() {
        assert!(Block::from_submission(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    assert!(Block::from_submission(&[&bytes[..], &[0]].concat()).is_err());
    let counted = |count: &[u8]| Block::from_submission(&[&bytes[..80], count, &bytes[81..]].concat());
    for bad in [&[0][..], &[1], &[3], &[0xfd, 2, 0], &[0xfe, 2, 0, 0, 0], &[0xff; 9]] {
        assert!(counted(bad).is_err(), "{bad:?}");
    }
    let refused = counted(&[0]).expect_err("not even a coinbase").to_string();
    assert!(refused.contains("rule X1"), "{refused}");
    world.accept(&read);
}

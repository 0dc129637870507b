//! Decoding is the inverse of encoding, and total: it takes every byte string, and panics on none.

use borsh::{BorshDeserialize, BorshSerialize};
use chain::{
    address::Address,
    amount::Amount,
    block::{Block, Header},
    encode,
    encoded::EncodedBlock,
    hash::{BlockHash, MerkleRoot, TxId},
    height::Height,
    policy::{Policy, PublicKey, Satisfaction, Witness},
    pow::CompactTarget,
    time::Time,
    transaction::{Coinbase, Destination, OutPoint, Output, Transaction},
};
use proptest::{collection::vec, prelude::*, sample::Index};

fn hash() -> impl Strategy<Value = [u8; 32]> {
    any::<[u8; 32]>()
}

/// Policies of any shape within the limits.
pub fn policy() -> impl Strategy<Value = Policy> {
    let leaf = prop_oneof![
        hash().prop_map(|key| Policy::Pk(PublicKey(key))),
        any::<u32>().prop_map(|height| Policy::AfterHeight(Height::new(height))),
        any::<u32>().prop_map(|secs| Policy::AfterTime(Time::from_secs(secs))),
        (1..=u32::MAX).prop_map(Policy::Older),
        hash().prop_map(Policy::Sha256),
    ];
    leaf.prop_recursive(7, 60, 6, |below| {
        prop_oneof![
            (below.clone(), below.clone()).prop_map(|(left, right)| Policy::And(Box::new([left, right]))),
            (below.clone(), below.clone()).prop_map(|(left, right)| Policy::Or(Box::new([left, right]))),
            (vec(below, 1..6), any::<Index>()).prop_map(|(of, k)| {
                let k = u8::try_from(k.index(of.len()) + 1).expect("at most five");
                Policy::Thresh { k, of }
            }),
        ]
    })
    .prop_filter("within the limits", |policy| policy.check().is_ok())
}

/// A satisfaction of the policy's shape; `choices` decides where there is a choice, and fills bytes.
fn mirror(policy: &Policy, choices: &mut impl Iterator<Item = u8>) -> Satisfaction {
    let mut choice = || choices.next().unwrap_or(0);
    match policy {
        Policy::Pk(_) => Satisfaction::Signature([choice(); 64]),
        Policy::Sha256(_) => Satisfaction::Preimage([choice(); 32]),
        Policy::AfterHeight(_) | Policy::AfterTime(_) | Policy::Older(_) => Satisfaction::Nothing,
        Policy::And(both) => {
            Satisfaction::Both(Box::new([mirror(&both[0], choices), mirror(&both[1], choices)]))
        }
        Policy::Or(both) => {
            let branch = choice() % 2;
            Satisfaction::Branch(branch, Box::new(mirror(&both[usize::from(branch)], choices)))
        }
        Policy::Thresh { k, of } => {
            let start = usize::from(choice()) % (of.len() - usize::from(*k) + 1);
            let chosen = (0..u8::MAX).zip(of).skip(start).take(usize::from(*k));
            Satisfaction::Chosen(chosen.map(|(index, policy)| (index, mirror(policy, choices))).collect())
        }
    }
}

fn signatures(satisfaction: &Satisfaction) -> usize {
    match satisfaction {
        Satisfaction::Signature(_) => 1,
        Satisfaction::Preimage(_) | Satisfaction::Nothing => 0,
        Satisfaction::Both(both) => both.iter().map(signatures).sum(),
        Satisfaction::Branch(_, below) => signatures(below),
        Satisfaction::Chosen(chosen) => chosen.iter().map(|(_, below)| signatures(below)).sum(),
    }
}

fn witness() -> impl Strategy<Value = Witness> {
    (policy(), vec(any::<u8>(), 64))
        .prop_map(|(policy, choices)| {
            let satisfaction = mirror(&policy, &mut choices.into_iter());
            Witness { policy, satisfaction }
        })
        .prop_filter("at most 16 keys", |witness| signatures(&witness.satisfaction) <= 16)
}

fn outpoint() -> impl Strategy<Value = OutPoint> {
    (hash(), any::<u32>()).prop_map(|(txid, index)| OutPoint { txid: TxId::from_bytes(txid), index })
}

fn output() -> impl Strategy<Value = Output> {
    let to = prop_oneof![
        hash().prop_map(|bytes| Destination::Address(Address::from_bytes(bytes))),
        vec(any::<u8>(), 0..=80).prop_map(Destination::Data),
    ];
    (any::<u64>(), to).prop_map(|(pebbles, to)| Output { amount: Amount::from_pebbles(pebbles), to })
}

fn transaction() -> impl Strategy<Value = Transaction> {
    (vec(outpoint(), 0..4), vec(output(), 0..4), vec(witness(), 0..3))
        .prop_map(|(inputs, outputs, witnesses)| Transaction { inputs, outputs, witnesses })
}

fn coinbase() -> impl Strategy<Value = Coinbase> {
    (any::<u32>(), any::<[u8; 32]>(), vec(output(), 0..4)).prop_map(|(height, run, outputs)| {
        let mut free = [0; 96];
        free[32..64].copy_from_slice(&run);
        Coinbase { height: Height::new(height), free, outputs }
    })
}

fn header() -> impl Strategy<Value = Header> {
    (any::<i32>(), hash(), hash(), any::<[u32; 3]>()).prop_map(|(version, previous, root, words)| Header {
        version,
        previous: BlockHash::from_bytes(previous),
        merkle_root: MerkleRoot::from_bytes(root),
        time: Time::from_secs(words[0]),
        bits: CompactTarget::from_u32(words[1]),
        nonce: words[2],
    })
}

fn block() -> impl Strategy<Value = Block> {
    (header(), coinbase(), vec(transaction(), 0..4)).prop_map(|(header, coinbase, transactions)| Block {
        header,
        coinbase,
        transactions: transactions.into_iter().map(std::sync::Arc::new).collect(),
    })
}

/// What is written is read back; cut short or longer it is refused; and whatever else is read is the one
/// encoding of what it means.
fn strict<T>(value: &T, cut: Index, at: Index, byte: u8) -> Result<(), TestCaseError>
where
    T: BorshSerialize + BorshDeserialize + PartialEq + std::fmt::Debug,
{
    let bytes = encode::to_bytes(value);
    prop_assert_eq!(&encode::from_bytes::<T>(&bytes).expect("as written"), value);
    prop_assert!(encode::from_bytes::<T>(&bytes[..cut.index(bytes.len())]).is_err());
    prop_assert!(encode::from_bytes::<T>(&[&bytes[..], &[byte]].concat()).is_err());
    let mut altered = bytes;
    let place = at.index(altered.len());
    altered[place] = byte;
    canonical::<T>(&altered)
}

fn canonical<T: BorshSerialize + BorshDeserialize>(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(value) = encode::from_bytes::<T>(bytes) {
        prop_assert_eq!(encode::to_bytes(&value), bytes);
    }
    Ok(())
}

/// Whoever only walks a block's bytes takes and refuses the same as whoever decodes them.
fn walked_alike(bytes: &[u8]) -> Result<(), TestCaseError> {
    let walked = EncodedBlock::from_bytes(bytes.to_vec());
    prop_assert_eq!(walked.is_ok(), Block::from_bytes(bytes).is_ok());
    Ok(())
}

#[test]
fn t10_data_that_is_too_long_is_refused_by_whoever_walks_as_well() {
    for (length, taken) in [(80, true), (81, false)] {
        let data = Output { amount: Amount::ZERO, to: Destination::Data(vec![0; length]) };
        let transaction = Transaction { inputs: Vec::new(), outputs: vec![data], witnesses: Vec::new() };
        let genesis = chain::genesis::Chain::dev().genesis().clone();
        let bytes = Block { transactions: vec![transaction.into()], ..genesis }.to_bytes();
        assert_eq!(Block::from_bytes(&bytes).is_ok(), taken);
        assert_eq!(EncodedBlock::from_bytes(bytes).is_ok(), taken);
    }
}

proptest! {
    #[test]
    fn policies_are_read_back(value in policy(), cut: Index, at: Index, byte: u8) {
        strict(&value, cut, at, byte)?;
    }

    #[test]
    fn witnesses_are_read_back(value in witness(), cut: Index, at: Index, byte: u8) {
        strict(&value, cut, at, byte)?;
        // Whether its preimages are right is another rule; its shape is.
        let shape = value.demands();
        let mirrored = !matches!(shape, Err(error) if error != chain::policy::PolicyError::WrongPreimage);
        prop_assert!(mirrored, "{:?}", shape);
    }

    #[test]
    fn outputs_and_outpoints_are_read_back(
        value in output(), place in outpoint(), cut: Index, at: Index, byte: u8,
    ) {
        strict(&value, cut, at, byte)?;
        strict(&place, cut, at, byte)?;
        prop_assert_eq!(place.to_string().parse(), Ok(place));
    }

    #[test]
    fn transactions_are_read_back(value in transaction(), cut: Index, at: Index, byte: u8) {
        strict(&value, cut, at, byte)?;
        prop_assert!(value.to_bytes().starts_with(&value.id_preimage()));
    }

    #[test]
    fn coinbases_are_read_back(value in coinbase(), cut: Index, at: Index, byte: u8) {
        strict(&value, cut, at, byte)?;
    }

    #[test]
    fn headers_are_read_back(value in header(), cut: Index, at: Index, byte: u8) {
        strict(&value, cut, at, byte)?;
        prop_assert_eq!(value.to_bytes().to_vec(), encode::to_bytes(&value));
    }

    #[test]
    fn blocks_are_read_back(value in block(), cut: Index, at: Index, byte: u8) {
        strict(&value, cut, at, byte)?;
        let submission = value.to_submission();
        prop_assert_eq!(&Block::from_submission(&submission).expect("as written"), &value);
        prop_assert!(Block::from_submission(&submission[..cut.index(submission.len())]).is_err());
        prop_assert!(Block::from_submission(&[&submission[..], &[byte]].concat()).is_err());
    }

    #[test]
    fn a_block_is_walked_as_strictly_as_it_is_decoded(
        value in block(), cut: Index, at: Index, byte in prop_oneof![any::<u8>(), 0_u8..9],
    ) {
        let bytes = value.to_bytes();
        let walked = EncodedBlock::from_bytes(bytes.clone()).expect("as written");
        prop_assert_eq!(walked.header(), &value.header);
        prop_assert_eq!(walked.bytes(), &bytes);
        prop_assert_eq!(walked.decode().ok(), Some(value));
        prop_assert!(EncodedBlock::from_bytes(bytes[..cut.index(bytes.len())].to_vec()).is_err());
        prop_assert!(EncodedBlock::from_bytes([&bytes[..], &[byte]].concat()).is_err());
        let mut altered = bytes;
        let place = at.index(altered.len());
        altered[place] = byte;
        walked_alike(&altered)?;
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in vec(any::<u8>(), 0..400)) {
        canonical::<Policy>(&bytes)?;
        canonical::<Witness>(&bytes)?;
        canonical::<Output>(&bytes)?;
        canonical::<Transaction>(&bytes)?;
        canonical::<Coinbase>(&bytes)?;
        canonical::<Block>(&bytes)?;
        walked_alike(&bytes)?;
        if let Ok(block) = Block::from_submission(&bytes) {
            prop_assert_eq!(block.to_submission(), bytes);
        }
    }

    /// Small bytes are tags and lengths more often than not.
    #[test]
    fn small_bytes_are_read_without_a_panic(bytes in vec(0_u8..9, 0..200)) {
        canonical::<Policy>(&bytes)?;
        canonical::<Witness>(&bytes)?;
        canonical::<Transaction>(&bytes)?;
    }

    #[test]
    fn any_text_is_read_without_a_panic(text in ".{0,100}") {
        if let Ok(address) = Address::decode("crn", &text) {
            prop_assert_eq!(address.encode("crn"), text.to_lowercase());
        }
        if let Ok(place) = text.parse::<OutPoint>() {
            prop_assert_eq!(place.to_string().parse(), Ok(place));
        }
        if let Ok(amount) = text.parse::<Amount>() {
            prop_assert_eq!(amount.to_string().parse(), Ok(amount));
        }
    }

    #[test]
    fn addresses_are_read_back(bytes in hash()) {
        let address = Address::from_bytes(bytes);
        for prefix in ["crn", "tcrn", "a", "abcdefghijklmnop"] {
            prop_assert_eq!(Address::decode(prefix, &address.encode(prefix)), Ok(address));
        }
    }
}

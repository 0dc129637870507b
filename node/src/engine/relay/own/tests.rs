//! The file of what users sent: nothing is lost over a restart, no limit is passed, and no bytes bring the node down.

use chain::hash::BlockHash;
use proptest::prelude::*;

use super::{file::FRAME, *};
use crate::engine::frame::{FileError, Frame};

const CHAIN: BlockHash = BlockHash::from_bytes([1; 32]);

/// A transaction with its own coins. That nobody has signed it is the mempool's business.
fn transaction(number: u32, inputs: u32) -> Arc<Transaction> {
    let coin = |at: u32| OutPoint { txid: TxId::from_bytes([7; 32]), index: number * 100_000 + at };
    let inputs = (0..inputs).map(coin).collect();
    Arc::new(Transaction { inputs, outputs: Vec::new(), witnesses: Vec::new() })
}

/// So many that were just sent.
fn list(count: u32) -> Own {
    let mut own = Own::default();
    for number in 0..count {
        let sent = transaction(number, 1);
        own.add(sent.txid(), &sent, 0);
    }
    own
}

/// The content of a file with these, by hand.
fn content(sent: &[Arc<Transaction>]) -> Vec<u8> {
    let count = u32::try_from(sent.len()).expect("a small number");
    let mut bytes = count.to_le_bytes().to_vec();
    for transaction in sent {
        bytes.extend(0_u32.to_le_bytes());
        bytes.extend(transaction.to_bytes());
    }
    bytes
}

fn sealed(content: &[u8]) -> Vec<u8> {
    FRAME.seal(&CHAIN, &[content])
}

fn refusal(bytes: &[u8]) -> Option<FileError> {
    Own::from_bytes(bytes, &CHAIN, 0).err()
}

fn ids(own: &Own) -> Vec<TxId> {
    own.order.iter().copied().collect()
}

#[test]
fn m03_what_users_sent_survives_a_restart_in_its_order() {
    let mut own = list(3);
    let second = ids(&own)[1];
    assert!(!own.refused(&second) && !own.refused(&second));
    let bytes = own.to_bytes(&CHAIN);
    let mut again = Own::from_bytes(&bytes, &CHAIN, 1_000).expect("our own file");
    assert_eq!(ids(&again), ids(&own));
    assert_eq!(again.bytes, own.bytes);
    assert_eq!(again.spends, own.spends);
    assert_eq!(again.sent[&second].refusals, 2);
    assert_eq!(again.to_bytes(&CHAIN), bytes);
    // At once; then as for the first time, and ever more rarely.
    for due_ms in [1_000, 66_000, 196_000] {
        assert!(again.take_due(due_ms - 1).is_empty());
        let due: Vec<TxId> = again.take_due(due_ms).into_iter().map(|(txid, _)| txid).collect();
        assert_eq!(due, ids(&own));
    }
    let none = Own::from_bytes(&list(0).to_bytes(&CHAIN), &CHAIN, 0).expect("our own file");
    assert!(none.is_empty());
}

#[test]
fn m03_what_is_refused_for_two_weeks_is_given_up_unless_it_waits_in_between() {
    let mut own = list(2);
    let (patient, hopeless) = (ids(&own)[0], ids(&own)[1]);
    for refusals in 1..336 {
        assert!(!own.refused(&patient) && !own.refused(&hopeless), "refusal {refusals}");
    }
    own.waits(&patient);
    assert!(!own.refused(&patient) && own.refused(&hopeless));
    assert_eq!(ids(&own), [patient]);
    assert!(!own.refused(&hopeless), "it is gone");
}

#[test]
fn m09_every_truncation_and_every_flipped_byte_of_what_users_sent_is_refused() {
    let bytes = list(3).to_bytes(&CHAIN);
    for length in 0..bytes.len() {
        assert_eq!(refusal(&bytes[..length]), Some(FileError::Damaged), "cut to {length}");
    }
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        assert_eq!(refusal(&flipped), Some(FileError::Damaged), "byte {at}");
    }
    // With a checksum that holds, too.
    let content = FRAME.open(&bytes, &CHAIN).expect("our own file");
    assert_eq!(refusal(&sealed(content)), None);
    for length in 0..content.len() {
        assert_eq!(refusal(&sealed(&content[..length])), Some(FileError::Damaged), "content cut to {length}");
    }
    assert_eq!(refusal(&sealed(&[content, &[0]].concat())), Some(FileError::Damaged));
}

#[test]
fn m09_a_file_of_another_kind_version_or_chain_says_so() {
    let seal = |frame: Frame, chain: &BlockHash| frame.seal(chain, &[content(&[]).as_slice()]);
    let later = Frame { version: 2, ..FRAME };
    assert_eq!(refusal(&seal(later, &CHAIN)), Some(FileError::Version { found: 2, known: 1 }));
    let mempools = Frame { magic: b"cairn mempool\n", ..FRAME };
    assert_eq!(refusal(&seal(mempools, &CHAIN)), Some(FileError::Damaged));
    assert_eq!(refusal(&seal(FRAME, &BlockHash::ZERO)), Some(FileError::OtherChain(BlockHash::ZERO)));
    let too_long = vec![0_u8; (8 << 20) + 1];
    assert_eq!(refusal(&too_long), Some(FileError::TooLarge(8 << 20)));
}

#[test]
fn m09_a_file_with_more_than_the_limits_allow_gives_the_youngest() {
    let many: Vec<_> = (0..1_200).map(|number| transaction(number, 1)).collect();
    let own = Own::from_bytes(&sealed(&content(&many)), &CHAIN, 0).expect("a good file");
    let youngest: Vec<TxId> = many[200..].iter().map(|transaction| transaction.txid()).collect();
    assert_eq!(ids(&own), youngest);
    // Each of these takes more than a million bytes of memory.
    let large: Vec<_> = (0..5).map(|number| transaction(number, 30_000)).collect();
    let own = Own::from_bytes(&sealed(&content(&large)), &CHAIN, 0).expect("a good file");
    assert_eq!(ids(&own), [large[2].txid(), large[3].txid(), large[4].txid()]);
    assert_eq!(own.spends.len(), 90_000);
    // What the limits allow is never too much for the file.
    assert!(own.to_bytes(&CHAIN).len() < 4 << 20);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whoever can write a checksum can write anything behind it: it is refused or read, never a panic.
    #[test]
    fn m09_no_bytes_of_what_users_sent_bring_the_node_down(
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
        noise in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let mut bytes = content(&[transaction(1, 1), transaction(2, 3), transaction(1, 1)]);
        let (at, cut) = (at.index(bytes.len()), cut.index(bytes.len()));
        bytes[at] = byte;
        for content in [&bytes[..], &bytes[..cut], &noise] {
            if let Ok(own) = Own::from_bytes(&sealed(content), &CHAIN, 0) {
                prop_assert_eq!(own.sent.len(), own.order.len());
                // What is written of it is read again.
                prop_assert_eq!(refusal(&own.to_bytes(&CHAIN)), None);
            }
        }
        let _ = refusal(&noise);
    }
}

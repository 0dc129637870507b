//! The encoding of every message: read back as written, refused in any other form.

use proptest::{
    collection::{btree_set, vec},
    prelude::*,
};

use chain::hash::{TxId, sha256};

use super::{
    super::wire::{
        CompactBlock, CompactReply, HeadersRequest, Kind, MAX_ASKED_TRANSACTIONS, MAX_BLOCKS,
        MAX_COMPACT_TRANSACTIONS, MAX_HEADERS, MAX_LOCATOR_HASHES, MissingRequest, Prefilled, RawBlock,
        ShortId, WireError,
    },
    *,
};

fn hashes(most: usize) -> impl Strategy<Value = Vec<BlockHash>> {
    vec(any::<[u8; 32]>().prop_map(BlockHash::from_bytes), 0..=most)
}

fn statuses() -> impl Strategy<Value = Status> {
    (any::<[[u8; 32]; 3]>(), any::<u32>(), "[ -~]{0,64}").prop_map(|(hashes, height, agent)| Status {
        chain: BlockHash::from_bytes(hashes[0]),
        tip: BlockHash::from_bytes(hashes[1]),
        height: Height::new(height),
        work: Work::from_be_bytes(hashes[2]),
        agent,
    })
}

fn blocks() -> impl Strategy<Value = Arc<Block>> {
    (any::<u32>(), vec(any::<u8>(), 0..4))
        .prop_map(|(nonce, seeds)| Arc::new(block(nonce, seeds.into_iter().map(transaction).collect())))
}

fn requests() -> impl Strategy<Value = Request> {
    prop_oneof![
        statuses().prop_map(Request::Status),
        (hashes(MAX_LOCATOR_HASHES), any::<[u8; 32]>()).prop_map(|(locator, stop)| {
            Request::Headers(HeadersRequest { locator, stop: BlockHash::from_bytes(stop) })
        }),
        hashes(MAX_BLOCKS).prop_map(Request::Blocks),
        compacts().prop_map(|compact| Request::Compact(Arc::new(compact))),
        (any::<[u8; 32]>(), btree_set(any::<u32>(), 0..20)).prop_map(|(hash, indexes)| {
            let (hash, indexes) = (BlockHash::from_bytes(hash), indexes.into_iter().collect());
            Request::Missing(MissingRequest { hash, indexes })
        }),
        vec(any::<[u8; 32]>().prop_map(TxId::from_bytes), 0..=MAX_ASKED_TRANSACTIONS)
            .prop_map(Request::Transactions),
    ]
}

/// Compact blocks of up to eight transactions, any of them whole.
fn compacts() -> impl Strategy<Value = CompactBlock> {
    (any::<u32>(), any::<u64>(), vec(any::<(bool, u8, [u8; 6])>(), 0..8)).prop_map(|(seed, nonce, parts)| {
        let Block { header, coinbase, .. } = block(seed, Vec::new());
        let (mut short_ids, mut prefilled) = (Vec::new(), Vec::new());
        for (index, (is_whole, seed, id)) in (0..).zip(parts) {
            if is_whole {
                prefilled.push(Prefilled { index, transaction: Arc::new(transaction(seed)) });
            } else {
                short_ids.push(ShortId(id));
            }
        }
        CompactBlock { header, nonce, coinbase, short_ids, prefilled }
    })
}

fn compact_replies() -> impl Strategy<Value = CompactReply> {
    use CompactReply::{Accepted, Known, NotYet, Orphan, Refused};
    prop::sample::select(vec![Accepted, Known, Orphan, NotYet, Refused])
}

fn transactions() -> impl Strategy<Value = Vec<Arc<Transaction>>> {
    vec(any::<u8>().prop_map(|seed| Arc::new(transaction(seed))), 0..8)
}

fn responses() -> impl Strategy<Value = Response> {
    prop_oneof![
        statuses().prop_map(Response::Status),
        vec(any::<u32>().prop_map(header), 0..50).prop_map(Response::Headers),
        vec(blocks().prop_map(|block| RawBlock::from(&*block)), 0..=MAX_BLOCKS).prop_map(Response::Blocks),
        compact_replies().prop_map(Response::Compact),
        transactions().prop_map(Response::Missing),
        transactions().prop_map(Response::Transactions),
    ]
}

proptest! {
    #[test]
    fn a_request_has_one_encoding(request in requests(), cut in any::<prop::sample::Index>(), more: u8) {
        let (kind, mut bytes) = (request.kind(), request.to_bytes());
        prop_assert!(bytes.len() <= kind.max_request_bytes());
        prop_assert_eq!(Request::from_bytes(kind, &bytes), Ok(request));
        prop_assert!(Request::from_bytes(kind, &bytes[..cut.index(bytes.len())]).is_err());
        bytes.push(more);
        prop_assert_eq!(Request::from_bytes(kind, &bytes), Err(WireError::Trailing(1)));
    }

    #[test]
    fn a_response_has_one_encoding(response in responses(), cut in any::<prop::sample::Index>(), more: u8) {
        let (kind, mut bytes) = (response.kind(), response.to_bytes());
        prop_assert!(bytes.len() <= kind.max_response_bytes());
        prop_assert_eq!(Response::from_bytes(kind, &bytes), Ok(response));
        prop_assert!(Response::from_bytes(kind, &bytes[..cut.index(bytes.len())]).is_err());
        bytes.push(more);
        prop_assert_eq!(Response::from_bytes(kind, &bytes), Err(WireError::Trailing(1)));
    }

    #[test]
    fn c24_what_is_read_is_written_the_same(bytes in vec(any::<u8>(), 0..300)) {
        for kind in Kind::ALL {
            if let Ok(request) = Request::from_bytes(kind, &bytes) {
                prop_assert_eq!(request.to_bytes(), bytes.clone());
            }
            if let Ok(response) = Response::from_bytes(kind, &bytes) {
                prop_assert_eq!(response.to_bytes(), bytes.clone());
            }
        }
    }
}

#[test]
fn p13_lists_above_their_limits_are_refused_by_their_length_alone() {
    let claim = |length: usize| u32::try_from(length).expect("small").to_le_bytes();
    for claimed in [MAX_LOCATOR_HASHES + 1, 0xffff_ffff] {
        let (what, limit) = ("hashes", MAX_LOCATOR_HASHES);
        let refused = Request::from_bytes(Kind::Headers, &claim(claimed));
        assert_eq!(refused, Err(WireError::TooMany { what, claimed, limit }));
    }
    let (claimed, limit) = (MAX_BLOCKS + 1, MAX_BLOCKS);
    let refused = Request::from_bytes(Kind::Blocks, &claim(claimed));
    assert_eq!(refused, Err(WireError::TooMany { what: "hashes", claimed, limit }));
    let refused = Response::from_bytes(Kind::Blocks, &claim(claimed));
    assert_eq!(refused, Err(WireError::TooMany { what: "blocks", claimed, limit }));
    let (claimed, limit) = (MAX_HEADERS + 1, MAX_HEADERS);
    let refused = Response::from_bytes(Kind::Headers, &claim(claimed));
    assert_eq!(refused, Err(WireError::TooMany { what: "headers", claimed, limit }));
}

#[test]
fn p03_messages_about_transactions_are_read_in_one_pass_whatever_they_name() {
    let claim = |length: usize| u32::try_from(length).expect("small").to_le_bytes();
    // Nothing asked for, or as much as may be, is a request; one more is none.
    assert_eq!(Request::from_bytes(Kind::Transactions, &claim(0)), Ok(Request::Transactions(Vec::new())));
    let most = vec![TxId::from_bytes([7; 32]); MAX_ASKED_TRANSACTIONS];
    let bytes = Request::Transactions(most.clone()).to_bytes();
    assert_eq!(bytes.len(), Kind::Transactions.max_request_bytes());
    assert_eq!(Request::from_bytes(Kind::Transactions, &bytes), Ok(Request::Transactions(most)));
    for claimed in [MAX_ASKED_TRANSACTIONS + 1, 1_001, 0xffff_ffff] {
        let refused = Request::from_bytes(Kind::Transactions, &claim(claimed));
        let limit = MAX_ASKED_TRANSACTIONS;
        assert_eq!(refused, Err(WireError::TooMany { what: "ids", claimed, limit }));
    }
    let (claimed, limit) = (MAX_COMPACT_TRANSACTIONS + 1, MAX_COMPACT_TRANSACTIONS);
    let refused = Request::from_bytes(Kind::Missing, &[&[7; 32][..], &claim(claimed)].concat());
    assert_eq!(refused, Err(WireError::TooMany { what: "places", claimed, limit }));
    // Places that repeat or go back would have one transaction sent many times over.
    for indexes in [vec![1, 1], vec![2, 1], vec![0, 3, 3]] {
        let bytes = Request::Missing(MissingRequest { hash: CHAIN, indexes }).to_bytes();
        assert_eq!(Request::from_bytes(Kind::Missing, &bytes), Err(WireError::Indexes));
    }
}

#[test]
fn p13_a_compact_block_whose_places_do_not_add_up_is_refused() {
    let Block { header, coinbase, .. } = block(1, Vec::new());
    let whole = |index| Prefilled { index, transaction: Arc::new(transaction(1)) };
    let compact = |indexes: &[u32], short: usize| {
        let prefilled = indexes.iter().map(|index| whole(*index)).collect();
        let short_ids = vec![ShortId([1; 6]); short];
        let compact = CompactBlock { header, nonce: 0, coinbase: coinbase.clone(), short_ids, prefilled };
        Request::from_bytes(Kind::Compact, &Request::Compact(Arc::new(compact)).to_bytes())
    };
    assert!(compact(&[0, 2], 1).is_ok());
    for (indexes, short) in [(vec![1], 0), (vec![0, 0], 1), (vec![2, 1], 1), (vec![u32::MAX], 5)] {
        assert_eq!(compact(&indexes, short), Err(WireError::Indexes), "{indexes:?} {short}");
    }
    assert!(matches!(compact(&[], MAX_COMPACT_TRANSACTIONS + 1), Err(WireError::TooMany { .. })));
    let refused = compact(&[0], MAX_COMPACT_TRANSACTIONS);
    assert!(matches!(refused, Err(WireError::TooMany { what: "transactions of a compact block", .. })));
}

#[test]
fn p23_an_agent_that_could_spoil_a_log_is_refused() {
    let good = Request::Status(status(1)).to_bytes();
    let agent_at = good.len() - status(1).agent.len();
    for bad in [b'\n', 0x1b, 0, 0x7f, 0xff] {
        let mut bytes = good.clone();
        bytes[agent_at] = bad;
        assert_eq!(Request::from_bytes(Kind::Status, &bytes), Err(WireError::Agent));
    }
    let long = Status { agent: "x".repeat(wire::MAX_AGENT_BYTES + 1), ..status(1) };
    let refused = Request::from_bytes(Kind::Status, &Request::Status(long).to_bytes());
    assert!(matches!(refused, Err(WireError::TooMany { claimed: 65, limit: 64, .. })), "{refused:?}");
}

#[test]
fn the_bytes_of_messages_do_not_change() {
    let request = Request::Headers(HeadersRequest { locator: vec![CHAIN], stop: BlockHash::ZERO });
    assert_eq!(request.to_bytes(), [&[1, 0, 0, 0][..], &[0xca; 32], &[0; 32]].concat());
    let expected =
        [&[0xca; 32][..], &[7; 32], &[0x39, 0x30, 0, 0], &[1; 32], &[12, 0, 0, 0], b"/cairn:test/"];
    assert_eq!(Response::Status(status(12_345)).to_bytes(), expected.concat());
    let body = block(3, Vec::new()).to_bytes();
    let one = Response::Blocks(vec![RawBlock::from(&block(3, Vec::new()))]).to_bytes();
    let length = u32::try_from(body.len()).expect("small").to_le_bytes();
    assert_eq!(one, [&[1, 0, 0, 0][..], &length, &body].concat());
    for (byte, reply) in (0u8..).zip([
        CompactReply::Accepted,
        CompactReply::Known,
        CompactReply::Orphan,
        CompactReply::NotYet,
        CompactReply::Refused,
    ]) {
        assert_eq!(Response::Compact(reply).to_bytes(), [byte]);
    }
    assert!(Response::from_bytes(Kind::Compact, &[5]).is_err());
    let missing = Request::Missing(MissingRequest { hash: CHAIN, indexes: vec![0, 258] });
    assert_eq!(missing.to_bytes(), [&[0xca; 32][..], &[2, 0, 0, 0], &[0; 4], &[2, 1, 0, 0]].concat());
}

#[test]
fn c22_as_many_of_the_largest_blocks_as_fit_and_always_one() {
    let blocks: Vec<RawBlock> = (0..5).map(|nonce| RawBlock::from(&*largest_block(nonce))).collect();
    let bytes = Response::Blocks(blocks.clone()).to_bytes();
    assert_eq!(bytes.len(), 4 + 4 * (4 + wire::MAX_BLOCK_BYTES));
    assert!(bytes.len() <= Kind::Blocks.max_response_bytes());
    assert_eq!(Response::from_bytes(Kind::Blocks, &bytes), Ok(Response::Blocks(blocks[..4].to_vec())));
    const { assert!(wire::MAX_BLOCK_BYTES <= wire::MAX_BLOCKS_RESPONSE_BYTES) };
    // Blocks beyond the number that a response may hold are left out as well.
    let small: Vec<_> = (0..20).map(|nonce| RawBlock::from(&block(nonce, Vec::new()))).collect();
    let read = Response::from_bytes(Kind::Blocks, &Response::Blocks(small.clone()).to_bytes());
    assert_eq!(read, Ok(Response::Blocks(small[..MAX_BLOCKS].to_vec())));
}

#[test]
fn p13_a_body_is_not_decoded_before_anybody_asks() {
    // A header, and then bytes that are no body.
    let mut bytes = header(1).to_bytes().to_vec();
    bytes.extend([0xff; 100]);
    let raw = RawBlock::from_bytes(bytes.clone()).expect("the header is all that is looked at");
    assert_eq!((raw.hash(), raw.bytes().len()), (header(1).hash(), 180));
    assert!(raw.walk().is_err());
    let message = Response::Blocks(vec![raw]);
    assert_eq!(Response::from_bytes(Kind::Blocks, &message.to_bytes()), Ok(message));
    assert!(RawBlock::from_bytes(&bytes[..79]).is_err());
    assert!(RawBlock::from_bytes(vec![0; wire::MAX_BLOCK_BYTES + 1]).is_err());
    // A block may not claim more than any block has, nor more than there is.
    for (length, refused) in [(u32::MAX, "at most 4000000"), (200, "cut short")] {
        let claim = [&[1, 0, 0, 0][..], &length.to_le_bytes(), &bytes].concat();
        let error = Response::from_bytes(Kind::Blocks, &claim).expect_err("a false length");
        assert!(error.to_string().contains(refused), "{error}");
    }
}

#[test]
fn p24_the_chain_is_in_every_name() {
    use super::super::behaviour::Names;
    let names = Names::of(&BlockHash::from_bytes(sha256(b"")));
    assert_eq!(names.full("status"), "/cairn/e3b0c44298fc1c14/status/1");
}

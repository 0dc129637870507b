//! A tiny miner of the tests' own, which knows a node only by `getblocktemplate` and `submitblock`, as public CPU
//! miners do. It follows BIP-22 and BIP-23 by hand, so that it does not share the node's mistakes.

use chain::{
    block::Header,
    hash::{MerkleRoot, sha256d},
};
use rpc::types::BlockTemplate;

/// A block under construction: a header, and the raw transactions, the coinbase first.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The header; [`Draft::seal`] sets its Merkle root and nonce.
    pub header: Header,
    /// The transactions' bytes.
    pub transactions: Vec<Vec<u8>>,
}

impl Draft {
    /// The block that a template describes.
    ///
    /// # Panics
    /// Where the template holds no hexadecimal.
    #[must_use]
    pub fn new(template: &BlockTemplate) -> Self {
        let bytes = |hex: &String| const_hex::decode(hex).expect("a template holds hexadecimal");
        let coinbase = std::iter::once(&template.coinbasetxn.data);
        let others = template.transactions.iter().map(|entry| &entry.data);
        let header = Header {
            version: template.version,
            previous: template.previousblockhash,
            merkle_root: MerkleRoot::ZERO,
            time: template.curtime,
            bits: template.bits,
            nonce: 0,
        };
        Self { header, transactions: coinbase.chain(others).map(bytes).collect() }
    }

    /// Bitcoin's Merkle root of the transactions: pairs are hashed, an odd last one with itself.
    #[must_use]
    pub fn merkle_root(&self) -> MerkleRoot {
        let mut level: Vec<[u8; 32]> = self.transactions.iter().map(|bytes| sha256d(bytes)).collect();
        while level.len() > 1 {
            let pair = |pair: &[[u8; 32]]| sha256d(&[pair[0], pair[pair.len() - 1]].concat());
            level = level.chunks(2).map(pair).collect();
        }
        MerkleRoot::from_bytes(level[0])
    }

    /// Commits the header to the transactions and finds a nonce.
    ///
    /// # Panics
    /// Where there is none; the targets of the tests are easy.
    #[must_use]
    pub fn seal(mut self) -> Self {
        self.header.merkle_root = self.merkle_root();
        self.solve(true);
        self
    }

    /// Finds a nonce with which the hash meets the target, or with which it does not.
    ///
    /// # Panics
    /// Where there is none; the targets of the tests are easy.
    pub fn solve(&mut self, meets: bool) {
        let target = self.header.bits.to_target().expect("the bits are a target");
        let nonce = (0..=u32::MAX).find(|nonce| {
            self.header.nonce = *nonce;
            target.is_met_by(&self.header.hash()) == meets
        });
        self.header.nonce = nonce.expect("the targets of the tests are easy");
    }

    /// What `submitblock` takes: header, number of transactions, transactions.
    ///
    /// # Panics
    /// Where there are more than 252 transactions.
    #[must_use]
    pub fn to_hex(&self) -> String {
        let count = u8::try_from(self.transactions.len()).ok().filter(|count| *count < 253);
        let mut bytes = self.header.to_bytes().to_vec();
        // CompactSize: one byte below 253.
        bytes.push(count.expect("the blocks of the tests are small"));
        bytes.extend(self.transactions.concat());
        const_hex::encode(bytes)
    }
}

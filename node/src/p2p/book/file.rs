//! The book, the anchors and the bans as bytes, with a checksum at their end. Reading and writing the file is for
//! whoever has a disk.

use std::net::{IpAddr, Ipv6Addr};

use borsh::{BorshDeserialize, BorshSerialize};
use chain::hash::{BlockHash, sha256};
use thiserror::Error;

use super::{
    Book, Entry, Group, NetAddress,
    bans::{Ban, Bans, Subject, Subnet},
    chance::{Chance, keyed},
};

/// What the file begins with; the digit is the format's version.
const MAGIC: &[u8; 13] = b"cairn-peers-1";
/// Bytes of the checksum at the end.
const CHECKSUM_BYTES: usize = 32;
/// The most bytes of a file: twice what the fullest tables take.
pub const MAX_FILE_BYTES: u64 = 16 << 20;

/// All that is remembered of peers over a restart.
#[derive(Clone, Debug)]
pub struct Remembered {
    /// The addresses.
    pub book: Book,
    /// Two peers that were connected when the node stopped.
    pub anchors: Vec<NetAddress>,
    /// The bans.
    pub bans: Bans,
}

/// Why bytes are not such a file.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FileFault {
    /// They begin otherwise, or with another version.
    #[error("it is no file of peers, or of another version")]
    Format,
    /// They are not what was written.
    #[error("its checksum is wrong")]
    Checksum,
    /// They are another chain's.
    #[error("it belongs to another chain")]
    OtherChain,
    /// The checksum is right and the content is not.
    #[error("it is not understood: {0}")]
    Content(String),
}

#[derive(BorshSerialize, BorshDeserialize)]
struct StoredEntry {
    address: NetAddress,
    source: Group,
    heard_secs: u64,
    success_secs: u64,
    failures: u32,
    is_tried: bool,
}

#[derive(BorshSerialize, BorshDeserialize)]
enum StoredSubject {
    Net([u8; 16], u8),
    Identity(String),
}

#[derive(BorshSerialize, BorshDeserialize)]
struct Stored {
    chain: BlockHash,
    key: [u8; 32],
    entries: Vec<StoredEntry>,
    anchors: Vec<NetAddress>,
    bans: Vec<(StoredSubject, Ban)>,
}

impl Remembered {
    /// Nothing yet.
    #[must_use]
    pub fn new(key: [u8; 32]) -> Self {
        Self { book: Book::new(key), anchors: Vec::new(), bans: Bans::default() }
    }

    /// Reads what [`to_bytes`] wrote. `seed` is fresh chance: the draws of the last run must not come again.
    ///
    /// # Errors
    /// [`FileFault`].
    pub fn from_bytes(bytes: &[u8], chain: &BlockHash, seed: [u8; 32]) -> Result<Self, FileFault> {
        let content = bytes.strip_prefix(MAGIC).ok_or(FileFault::Format)?;
        let (content, checksum) = content.split_last_chunk::<CHECKSUM_BYTES>().ok_or(FileFault::Format)?;
        if sha256(content) != *checksum {
            return Err(FileFault::Checksum);
        }
        let stored: Stored =
            borsh::from_slice(content).map_err(|error| FileFault::Content(error.to_string()))?;
        if stored.chain != *chain {
            return Err(FileFault::OtherChain);
        }
        let mut bans = Bans::default();
        for (subject, ban) in stored.bans {
            let subject = match subject {
                StoredSubject::Identity(identity) => Subject::Identity(identity),
                StoredSubject::Net(ip, bits) => {
                    let net = Subnet::new(IpAddr::V6(Ipv6Addr::from(ip)), bits);
                    Subject::Net(
                        net.ok_or_else(|| FileFault::Content("a network of too many bits".to_owned()))?,
                    )
                }
            };
            if let Err(full) = bans.add(subject, ban) {
                return Err(FileFault::Content(full.to_string()));
            }
        }
        let mut book = Book::new(stored.key);
        book.chance = Chance::new(seed);
        for entry in stored.entries {
            book.restore(entry);
        }
        Ok(Self { book, anchors: stored.anchors, bans })
    }
}

/// The bytes of a file.
#[must_use]
pub fn to_bytes(book: &Book, anchors: &[NetAddress], bans: &Bans, chain: &BlockHash) -> Vec<u8> {
    let entries = book.entries.iter().map(|(address, entry)| StoredEntry {
        address: *address,
        source: entry.source,
        heard_secs: entry.heard_secs,
        success_secs: entry.success_secs,
        failures: entry.failures,
        is_tried: entry.is_tried,
    });
    let subject = |subject: &Subject| match subject {
        Subject::Identity(identity) => StoredSubject::Identity(identity.clone()),
        Subject::Net(subnet) => {
            let (ip, bits) = subnet.to_v6();
            StoredSubject::Net(ip.octets(), bits)
        }
    };
    let stored = Stored {
        chain: *chain,
        key: book.key,
        entries: entries.collect(),
        anchors: anchors.to_vec(),
        bans: bans.iter().map(|(of, ban)| (subject(of), ban.clone())).collect(),
    };
    let content = chain::encode::to_bytes(&stored);
    let checksum = sha256(&content);
    [&MAGIC[..], &content, &checksum].concat()
}

impl Book {
    /// Puts an address where it stood. Of two that meet in the new table the later may be lost, as ever.
    fn restore(&mut self, stored: StoredEntry) {
        let StoredEntry { address, source, heard_secs, success_secs, failures, is_tried } = stored;
        self.last_success_secs = self.last_success_secs.max(success_secs);
        let slot = self.tried_slot(&address);
        if is_tried && self.tried.get(slot).is_none() {
            self.tried.put(slot, address);
            self.entries.insert(address, Entry { is_tried, ..Entry::new(source, heard_secs) });
        } else {
            self.add_from(address, source, heard_secs);
        }
        if let Some(entry) = self.entries.get_mut(&address) {
            (entry.success_secs, entry.failures) = (success_secs, failures);
        }
    }
}

/// A new key from fresh chance, so that the key in the file says nothing of the draws.
#[must_use]
pub fn key_of(seed: &[u8; 32]) -> [u8; 32] {
    let mut key = [0; 32];
    for (index, part) in (0_u64..).zip(key.chunks_exact_mut(8)) {
        part.copy_from_slice(&keyed(seed, &[u64::MAX, index]).to_le_bytes());
    }
    key
}

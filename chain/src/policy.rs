//! Spend policies: what must be shown to spend a coin, and the witness that shows it.
//!
//! One idea instead of a script machine: a policy is a small tree of readable conditions, and its
//! satisfaction mirrors it branch for branch. Branches that were not chosen are neither present nor
//! evaluated, so that what satisfies today satisfies tomorrow. All limits are held while decoding, before
//! descending (rules P1 to P5).

use std::{
    fmt,
    io::{self, Read, Write},
};

use borsh::{BorshDeserialize, BorshSerialize};
use thiserror::Error;

use crate::{
    encode::{invalid, step_over},
    hash::sha256,
    height::Height,
    time::Time,
};

/// Nodes of a policy, leaves included (rule P1).
pub const MAX_NODES: usize = 64;
/// Depth of a policy; the root alone has depth 1 (rule P2).
pub const MAX_DEPTH: usize = 8;
/// Keys that one input may choose (rule P4).
pub const MAX_CHOSEN_KEYS: usize = 16;

/// First byte of `pk(KEY)` (rule A1).
const PK_TAG: u8 = 0;

/// An ed25519 public key, as bytes: whether they are a point is asked when a signature is verified.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct PublicKey(pub [u8; 32]);

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&const_hex::encode(self.0))
    }
}

/// A spend policy. Its borsh is one tag byte, then the fields in order (rule A1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Policy {
    /// Tag 0, `pk(KEY)`: a signature of this key.
    Pk(PublicKey),
    /// Tag 1, `thresh(k, P, ...)`: exactly `k` of the policies.
    Thresh {
        /// How many must be satisfied, from 1 to the number of policies (rule P3).
        k: u8,
        /// The policies to choose from.
        of: Vec<Policy>,
    },
    /// Tag 2, `and(P, P)`: both.
    And(Box<[Policy; 2]>),
    /// Tag 3, `or(P, P)`: one.
    Or(Box<[Policy; 2]>),
    /// Tag 4, `after(HEIGHT)`: a block at this height or above.
    AfterHeight(Height),
    /// Tag 5, `after(TIME)`: the median time past is this time or later.
    AfterTime(Time),
    /// Tag 6, `older(BLOCKS)`: the coin lies at least so many blocks deep; at least 1.
    Older(u32),
    /// Tag 7, `sha256(HASH)`: 32 bytes with this SHA-256.
    Sha256([u8; 32]),
}

/// What satisfies a policy, of the same shape as the policy. Its encoding has no tags: the policy says what
/// comes (rule P5).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Satisfaction {
    /// Of `pk`: a signature, 64 bytes.
    Signature([u8; 64]),
    /// Of `sha256`: the preimage, exactly 32 bytes.
    Preimage([u8; 32]),
    /// Of `after` and `older`: no bytes.
    Nothing,
    /// Of `and`: both, in order.
    Both(Box<[Satisfaction; 2]>),
    /// Of `or`: the branch (0 or 1), and what satisfies it.
    Branch(u8, Box<Satisfaction>),
    /// Of `thresh`: exactly `k` strictly ascending indices, each with what satisfies it.
    Chosen(Vec<(u8, Satisfaction)>),
}

/// A policy, revealed, and what satisfies it: what an input shows to spend a coin.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Witness {
    /// The policy whose hash is the coin's address.
    pub policy: Policy,
    /// What satisfies it.
    pub satisfaction: Satisfaction,
}

/// Why a policy or a witness is refused before any coin is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PolicyError {
    /// Rule P1.
    #[error("a policy has more than 64 nodes (rule P1)")]
    TooManyNodes,
    /// Rule P2.
    #[error("a policy is deeper than 8 levels (rule P2)")]
    TooDeep,
    /// Rule P3.
    #[error("a threshold is not between 1 and the number of its policies, or older() is zero (rule P3)")]
    BadThreshold,
    /// Rule P4.
    #[error("an input chooses more than 16 keys (rule P4)")]
    TooManyKeys,
    /// Rule P5.
    #[error("the satisfaction does not mirror the policy (rule P5)")]
    NotMirrored,
    /// Rule P6.
    #[error("the preimage does not have the SHA-256 that the policy names (rule P6)")]
    WrongPreimage,
}

/// What a witness asks of the block that spends: all of it must hold (rules S7 to S9), and every signature
/// must be of its key (rule S10).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Demands {
    /// Keys and signatures, in the order of the policy.
    pub signatures: Vec<(PublicKey, [u8; 64])>,
    /// The highest `after(HEIGHT)` among the chosen branches.
    pub after_height: Option<Height>,
    /// The latest `after(TIME)` among the chosen branches.
    pub after_time: Option<Time>,
    /// The largest `older(BLOCKS)` among the chosen branches.
    pub older_blocks: Option<u32>,
}

impl Policy {
    /// Holds the limits P1 to P3 against a policy that was built, not decoded.
    ///
    /// # Errors
    /// [`PolicyError`] with the limit that is broken.
    pub fn check(&self) -> Result<(), PolicyError> {
        let mut nodes = 0;
        self.measure(1, &mut nodes)
    }

    fn measure(&self, depth: usize, nodes: &mut usize) -> Result<(), PolicyError> {
        enter(depth, nodes)?;
        match self {
            Self::Thresh { k, of } => {
                check_threshold(*k, of.len())?;
                of.iter().try_for_each(|policy| policy.measure(depth + 1, nodes))
            }
            Self::And(both) | Self::Or(both) => {
                both.iter().try_for_each(|policy| policy.measure(depth + 1, nodes))
            }
            Self::Older(0) => Err(PolicyError::BadThreshold),
            _ => Ok(()),
        }
    }

    fn read<R: Read>(reader: &mut R, depth: usize, nodes: &mut usize) -> io::Result<Self> {
        enter(depth, nodes).map_err(broken)?;
        let below = depth + 1;
        Ok(match u8::deserialize_reader(reader)? {
            PK_TAG => Self::Pk(PublicKey::deserialize_reader(reader)?),
            1 => {
                let k = u8::deserialize_reader(reader)?;
                let length = u32::deserialize_reader(reader)?;
                let length = usize::try_from(length).map_err(|_| broken(PolicyError::TooManyNodes))?;
                if length > MAX_NODES {
                    return Err(broken(PolicyError::TooManyNodes));
                }
                check_threshold(k, length).map_err(broken)?;
                // At most 64 (checked above): no more memory than needed, however many policies there are.
                let mut of = Vec::with_capacity(length);
                for _ in 0..length {
                    of.push(Self::read(reader, below, nodes)?);
                }
                Self::Thresh { k, of }
            }
            2 => Self::And(Box::new([Self::read(reader, below, nodes)?, Self::read(reader, below, nodes)?])),
            3 => Self::Or(Box::new([Self::read(reader, below, nodes)?, Self::read(reader, below, nodes)?])),
            4 => Self::AfterHeight(Height::deserialize_reader(reader)?),
            5 => Self::AfterTime(Time::deserialize_reader(reader)?),
            6 => match u32::deserialize_reader(reader)? {
                0 => return Err(broken(PolicyError::BadThreshold)),
                blocks => Self::Older(blocks),
            },
            7 => Self::Sha256(<[u8; 32]>::deserialize_reader(reader)?),
            _ => return Err(invalid("a policy begins with an unknown tag (rule A1)")),
        })
    }
}

fn enter(depth: usize, nodes: &mut usize) -> Result<(), PolicyError> {
    if depth > MAX_DEPTH {
        return Err(PolicyError::TooDeep);
    }
    *nodes += 1;
    if *nodes > MAX_NODES { Err(PolicyError::TooManyNodes) } else { Ok(()) }
}

fn check_threshold(k: u8, of: usize) -> Result<(), PolicyError> {
    if k == 0 || usize::from(k) > of { Err(PolicyError::BadThreshold) } else { Ok(()) }
}

fn broken(error: PolicyError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl BorshSerialize for Policy {
    fn serialize<W: Write>(&self, writer: &mut W) -> io::Result<()> {
        match self {
            Self::Pk(key) => (PK_TAG, key).serialize(writer),
            Self::Thresh { k, of } => (1u8, k, of).serialize(writer),
            Self::And(both) => (2u8, &both[0], &both[1]).serialize(writer),
            Self::Or(both) => (3u8, &both[0], &both[1]).serialize(writer),
            Self::AfterHeight(height) => (4u8, height).serialize(writer),
            Self::AfterTime(time) => (5u8, time).serialize(writer),
            Self::Older(blocks) => (6u8, blocks).serialize(writer),
            Self::Sha256(hash) => (7u8, hash).serialize(writer),
        }
    }
}

impl BorshDeserialize for Policy {
    fn deserialize_reader<R: Read>(reader: &mut R) -> io::Result<Self> {
        Self::read(reader, 1, &mut 0)
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pk(key) => write!(f, "pk({key:?})"),
            Self::Thresh { k, of } => {
                write!(f, "thresh({k}")?;
                of.iter().try_for_each(|policy| write!(f, ", {policy}"))?;
                f.write_str(")")
            }
            Self::And(both) => write!(f, "and({}, {})", both[0], both[1]),
            Self::Or(both) => write!(f, "or({}, {})", both[0], both[1]),
            Self::AfterHeight(height) => write!(f, "after(height {height})"),
            Self::AfterTime(time) => write!(f, "after(time {time})"),
            Self::Older(blocks) => write!(f, "older({blocks})"),
            Self::Sha256(hash) => write!(f, "sha256({})", const_hex::encode(hash)),
        }
    }
}

impl Satisfaction {
    /// Reads what the policy says must come.
    fn read<R: Read>(policy: &Policy, reader: &mut R, keys: &mut usize) -> io::Result<Self> {
        Ok(match policy {
            Policy::Pk(_) => {
                *keys += 1;
                if *keys > MAX_CHOSEN_KEYS {
                    return Err(broken(PolicyError::TooManyKeys));
                }
                Self::Signature(<[u8; 64]>::deserialize_reader(reader)?)
            }
            Policy::Sha256(_) => Self::Preimage(<[u8; 32]>::deserialize_reader(reader)?),
            Policy::AfterHeight(_) | Policy::AfterTime(_) | Policy::Older(_) => Self::Nothing,
            Policy::And(both) => Self::Both(Box::new([
                Self::read(&both[0], reader, keys)?,
                Self::read(&both[1], reader, keys)?,
            ])),
            Policy::Or(both) => {
                let branch = u8::deserialize_reader(reader)?;
                let policy = both.get(usize::from(branch)).ok_or_else(|| broken(PolicyError::NotMirrored))?;
                Self::Branch(branch, Box::new(Self::read(policy, reader, keys)?))
            }
            Policy::Thresh { k, of } => {
                let mut chosen: Vec<(u8, Self)> = Vec::with_capacity(usize::from(*k));
                for _ in 0..*k {
                    let index = u8::deserialize_reader(reader)?;
                    let ascending = chosen.last().is_none_or(|(last, _)| *last < index);
                    let policy = of.get(usize::from(index)).filter(|_| ascending);
                    let policy = policy.ok_or_else(|| broken(PolicyError::NotMirrored))?;
                    chosen.push((index, Self::read(policy, reader, keys)?));
                }
                Self::Chosen(chosen)
            }
        })
    }
}

impl BorshSerialize for Satisfaction {
    fn serialize<W: Write>(&self, writer: &mut W) -> io::Result<()> {
        match self {
            Self::Signature(signature) => writer.write_all(signature),
            Self::Preimage(preimage) => writer.write_all(preimage),
            Self::Nothing => Ok(()),
            Self::Both(both) => both.iter().try_for_each(|part| part.serialize(writer)),
            Self::Branch(branch, part) => {
                branch.serialize(writer)?;
                part.serialize(writer)
            }
            Self::Chosen(chosen) => chosen.iter().try_for_each(|part| part.serialize(writer)),
        }
    }
}

impl BorshSerialize for Witness {
    fn serialize<W: Write>(&self, writer: &mut W) -> io::Result<()> {
        self.policy.serialize(writer)?;
        self.satisfaction.serialize(writer)
    }
}

impl BorshDeserialize for Witness {
    fn deserialize_reader<R: Read>(reader: &mut R) -> io::Result<Self> {
        let policy = Policy::deserialize_reader(reader)?;
        let satisfaction = Satisfaction::read(&policy, reader, &mut 0)?;
        Ok(Self { policy, satisfaction })
    }
}

impl Witness {
    /// Everyday payment: a signature for `pk(key)`.
    #[must_use]
    pub fn signed(key: PublicKey, signature: [u8; 64]) -> Self {
        Self { policy: Policy::Pk(key), satisfaction: Satisfaction::Signature(signature) }
    }

    /// Steps over an encoded witness, as strictly as decoding it would.
    pub(crate) fn step_over(bytes: &mut &[u8]) -> io::Result<()> {
        if bytes.first() == Some(&PK_TAG) {
            // Every 97 bytes that begin like this are an everyday payment's.
            return step_over(bytes, 1 + size_of::<PublicKey>() + 64);
        }
        Self::deserialize_reader(bytes).map(drop)
    }

    /// Holds the witness against the rules that need no coin (P1 to P6), and returns what it asks of the
    /// block that spends.
    ///
    /// # Errors
    /// [`PolicyError`] with the rule that is broken.
    pub fn demands(&self) -> Result<Demands, PolicyError> {
        self.policy.check()?;
        let mut demands = Demands::default();
        demands.gather(&self.policy, &self.satisfaction)?;
        if demands.signatures.len() > MAX_CHOSEN_KEYS {
            return Err(PolicyError::TooManyKeys);
        }
        Ok(demands)
    }
}

impl Witness {
    /// What it occupies on the heap, in bytes: its nodes, which are larger than their encoding.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.policy.heap_bytes() + self.satisfaction.heap_bytes()
    }
}

impl Policy {
    fn heap_bytes(&self) -> usize {
        let nodes = |nodes: &[Self]| nodes.iter().map(|node| size_of::<Self>() + node.heap_bytes()).sum();
        match self {
            Self::Thresh { of, .. } => nodes(of),
            Self::And(both) | Self::Or(both) => nodes(both.as_slice()),
            _ => 0,
        }
    }
}

impl Satisfaction {
    fn heap_bytes(&self) -> usize {
        match self {
            Self::Both(both) => both.iter().map(|part| size_of::<Self>() + part.heap_bytes()).sum(),
            Self::Branch(_, part) => size_of::<Self>() + part.heap_bytes(),
            Self::Chosen(chosen) => {
                chosen.iter().map(|(_, part)| size_of::<(u8, Self)>() + part.heap_bytes()).sum()
            }
            _ => 0,
        }
    }
}

impl Demands {
    fn gather(&mut self, policy: &Policy, satisfaction: &Satisfaction) -> Result<(), PolicyError> {
        match (policy, satisfaction) {
            (Policy::Pk(key), Satisfaction::Signature(signature)) => {
                // Mostly there is one; never are there more than a policy has nodes (rule P1).
                self.signatures.reserve_exact(1);
                self.signatures.push((*key, *signature));
            }
            (Policy::Sha256(hash), Satisfaction::Preimage(preimage)) => {
                if sha256(preimage) != *hash {
                    return Err(PolicyError::WrongPreimage);
                }
            }
            (Policy::AfterHeight(height), Satisfaction::Nothing) => {
                self.after_height = self.after_height.max(Some(*height));
            }
            (Policy::AfterTime(time), Satisfaction::Nothing) => {
                self.after_time = self.after_time.max(Some(*time));
            }
            (Policy::Older(blocks), Satisfaction::Nothing) => {
                self.older_blocks = self.older_blocks.max(Some(*blocks));
            }
            (Policy::And(policies), Satisfaction::Both(parts)) => {
                for (policy, part) in policies.iter().zip(parts.iter()) {
                    self.gather(policy, part)?;
                }
            }
            (Policy::Or(policies), Satisfaction::Branch(branch, part)) => {
                let policy = policies.get(usize::from(*branch)).ok_or(PolicyError::NotMirrored)?;
                self.gather(policy, part)?;
            }
            (Policy::Thresh { k, of }, Satisfaction::Chosen(chosen)) => {
                let ascending = chosen.windows(2).all(|pair| pair[0].0 < pair[1].0);
                if chosen.len() != usize::from(*k) || !ascending {
                    return Err(PolicyError::NotMirrored);
                }
                for (index, part) in chosen {
                    let policy = of.get(usize::from(*index)).ok_or(PolicyError::NotMirrored)?;
                    self.gather(policy, part)?;
                }
            }
            _ => return Err(PolicyError::NotMirrored),
        }
        Ok(())
    }
}

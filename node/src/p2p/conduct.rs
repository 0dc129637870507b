//! Misconduct: everything that a peer can do wrong, and what follows, in one place.
//!
//! Plain data and pure functions, as [`super::wire`]: the service names what breaks its limits, the engine what
//! breaks the chain's rules, and both ask [`Misconduct::consequence`]. Only what no honest node does is misconduct.
//! What an honest node may do by a race, a slow disk, a clock of its own, an older tip or another operator's order
//! is none (threat P12; `engine/conduct.rs` says which errors are nobody's fault).
//!
//! Faults that an honest node might commit once, by a mistake of ours about it, cost points; points are forgiven
//! with time, and too many of them at once are a ban. The rest is a ban or the end of the connection at once.

use chain::{error::SubmitError, hash::BlockHash};
use thiserror::Error;

/// Points at which a peer is banned.
pub const BAN_POINTS: u32 = 100;
/// Points that are forgiven in a minute.
pub const FORGIVEN_POINTS_PER_MIN: u32 = 5;
/// Points of a transaction that breaks a rule no tip can mend: the fourth within minutes is a ban.
const INVALID_TRANSACTION_POINTS: u32 = 26;
/// Points of a request beyond those that may be open: our count of the open ones may lag behind the peer's.
const TOO_MANY_REQUESTS_POINTS: u32 = 1;

/// What a peer did that no honest node does.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Misconduct {
    /// Its status names another chain.
    #[error("is on another chain, {0}")]
    OtherChain(BlockHash),
    /// A header that breaks a rule.
    #[error("sent a header that is refused: {0}")]
    Header(String),
    /// Another block came than was asked for.
    #[error("sent another block than {0}")]
    OtherBlock(BlockHash),
    /// A block that breaks a rule, sent or pushed.
    #[error("sent an invalid block {hash}: {reason}")]
    InvalidBlock {
        /// The block.
        hash: BlockHash,
        /// The rule.
        reason: String,
    },
    /// It let blocks stall that everything waited for, again and again (threat P06).
    #[error("does not send the blocks that it was asked for")]
    Stalling,
    /// It gossiped a transaction that breaks a rule on every tip, which it should have seen before.
    #[error("gossiped an invalid transaction: {0}")]
    InvalidTransaction(String),
    /// It gossiped bytes that are no transaction: nobody forwards these.
    #[error("gossiped what is no transaction: {0}")]
    NoTransaction(String),
    /// A message of its breaks [`super::wire`]'s limits or does not decode.
    #[error("malformed message: {0}")]
    Malformed(String),
    /// It asks for more at a time than [`super::wire::Kind::requests_per_peer`] allows.
    #[error("has too many requests open")]
    TooManyRequests,
    /// It asks and does not read the answers, or does not read what is gossiped (threat P25).
    #[error("reads too slowly")]
    SlowReader,
    /// It does not answer pings: it hangs, or its line is cut.
    #[error("does not answer pings: {0}")]
    Silent(String),
    /// It did not greet in time.
    #[error("did not greet: {0}")]
    NoGreeting(String),
    /// It does not know our chain's protocols (threat P24).
    #[error("does not speak this chain's protocols")]
    OtherProtocols,
}

/// What follows from misconduct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consequence {
    /// So many points; the peer is banned when it has [`BAN_POINTS`].
    Points(u32),
    /// The peer is disconnected and may come back.
    Disconnect,
    /// The peer is disconnected and may not come back for a while.
    Ban,
}

impl Misconduct {
    /// A block that was refused.
    #[must_use]
    pub fn block(hash: BlockHash, error: &impl ToString) -> Self {
        Self::InvalidBlock { hash, reason: error.to_string() }
    }

    /// A header that was refused.
    #[must_use]
    pub fn header(error: &SubmitError) -> Self {
        Self::Header(error.to_string())
    }

    /// Whether there is no hurry to meet the peer again. One that hangs, or whose line was cut, may be back at once.
    #[must_use]
    pub const fn is_grave(&self) -> bool {
        !matches!(self, Self::Silent(_))
    }

    /// What follows.
    #[must_use]
    pub const fn consequence(&self) -> Consequence {
        match self {
            Self::OtherChain(_)
            | Self::Header(_)
            | Self::OtherBlock(_)
            | Self::InvalidBlock { .. }
            | Self::NoTransaction(_)
            | Self::Malformed(_) => Consequence::Ban,
            Self::InvalidTransaction(_) => Consequence::Points(INVALID_TRANSACTION_POINTS),
            Self::TooManyRequests => Consequence::Points(TOO_MANY_REQUESTS_POINTS),
            // A slow line or a busy machine is no malice.
            Self::Stalling
            | Self::SlowReader
            | Self::Silent(_)
            | Self::NoGreeting(_)
            | Self::OtherProtocols => Consequence::Disconnect,
        }
    }
}

/// The points of a peer, forgiven as time goes by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Score {
    points: u32,
    /// Up to when points have been forgiven, in milliseconds of a clock that never goes back.
    forgiven_ms: u64,
}

/// Milliseconds in which one point is forgiven.
const FORGIVING_MS: u64 = 60_000 / FORGIVEN_POINTS_PER_MIN as u64;

impl Score {
    /// The points now.
    #[must_use]
    pub fn points(&self, now_ms: u64) -> u32 {
        let forgiven = now_ms.saturating_sub(self.forgiven_ms) / FORGIVING_MS;
        self.points.saturating_sub(u32::try_from(forgiven).unwrap_or(u32::MAX))
    }

    /// Adds points; whether they are enough for a ban.
    pub fn add(&mut self, points: u32, now_ms: u64) -> bool {
        let before = self.points(now_ms);
        // What has passed of the next point's time is not lost to the peer, unless it had none to be forgiven.
        let passed = now_ms.saturating_sub(self.forgiven_ms) % FORGIVING_MS;
        self.forgiven_ms = if before == 0 { now_ms } else { now_ms.saturating_sub(passed) };
        self.points = before.saturating_add(points);
        self.points >= BAN_POINTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p12_points_add_up_to_a_ban_and_are_forgiven() {
        let mut score = Score::default();
        let times = BAN_POINTS.div_ceil(INVALID_TRANSACTION_POINTS);
        for time in 1..=times {
            assert_eq!(score.add(INVALID_TRANSACTION_POINTS, 1_000), time == times);
        }
        let mut patient = Score::default();
        for time in 0..1_000 {
            // One fault in six minutes is forgiven before the next.
            assert!(!patient.add(INVALID_TRANSACTION_POINTS, time * 360_000));
        }
        assert_eq!(patient.points(u64::MAX), 0);
        // Faults in quick succession do not stop the clock of forgiveness.
        let mut quick = Score::default();
        for time in 0..FORGIVING_MS {
            quick.add(u32::from(time == 0) * 50, time);
        }
        assert_eq!(quick.points(FORGIVING_MS), 49);
    }
}

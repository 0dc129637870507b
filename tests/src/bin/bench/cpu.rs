//! CPU time, which counts all threads and is not disturbed by waiting, and the unit that it is given in.

use std::{
    error::Error,
    time::{Duration, Instant},
};

use chain::{hash::sha256, policy::PublicKey, signature::Claim};
use ed25519_dalek::{Signature, SignatureError, Signer, VerifyingKey};
use rustix::time::{ClockId, clock_gettime};

use crate::payments::signing_key;

/// Verifications of one round, each of its own key: with the same one again and again the processor would learn it.
const VERIFICATIONS: u64 = 1_024;
fn time_of(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    let secs = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(secs, u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// The CPU time that all threads of this process have used, those of the database included.
pub fn process_time() -> Duration {
    time_of(ClockId::ProcessCPUTime)
}

/// What a piece of work took.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// CPU time of all threads.
    pub cpu: Duration,
    /// Time on the wall.
    pub wall: Duration,
}

/// What `work` takes, and its result.
pub fn of<R>(work: impl FnOnce() -> R) -> (Taken, R) {
    let (before, started) = (process_time(), Instant::now());
    let result = work();
    let taken = Taken { wall: started.elapsed(), cpu: process_time().saturating_sub(before) };
    (taken, result)
}

/// What one strict verification with ed25519-dalek costs, the key parsed before: the unit of the other figures.
#[derive(Clone, Copy, Debug)]
pub struct Unit(Duration);

/// What the unit is measured on.
pub struct Yardstick(Vec<Signed>);

struct Signed {
    key: VerifyingKey,
    signature: Signature,
    message: [u8; 32],
}

/// The signature of a key of its own.
fn signed(number: u64) -> Signed {
    let key = signing_key(number);
    let message = sha256(&number.to_le_bytes());
    Signed { key: key.verifying_key(), signature: key.sign(&message), message }
}

impl Yardstick {
    /// Makes what is to be verified.
    pub fn make() -> Self {
        Self((0..VERIFICATIONS).map(signed).collect())
    }

    /// What one round costs the thread that this runs on.
    fn round(&self) -> Result<Duration, SignatureError> {
        let before = time_of(ClockId::ThreadCPUTime);
        self.0.iter().try_for_each(|signed| signed.key.verify_strict(&signed.message, &signed.signature))?;
        Ok(time_of(ClockId::ThreadCPUTime).saturating_sub(before))
    }

    /// Does all parts of some work, and measures what they take and, before, between and behind them, the unit: a
    /// processor is not equally fast all the time.
    pub fn between<P>(
        &self,
        parts: impl IntoIterator<Item = P>,
        mut work: impl FnMut(P) -> Result<(), Box<dyn Error>>,
    ) -> Result<(Unit, Taken), Box<dyn Error>> {
        let before = process_time();
        let mut rounds = vec![self.round()?];
        let mut wall = Duration::ZERO;
        for part in parts {
            let started = Instant::now();
            work(part)?;
            wall += started.elapsed();
            rounds.push(self.round()?);
        }
        let sum: Duration = rounds.iter().sum();
        let cpu = process_time().saturating_sub(before).saturating_sub(sum);
        let verifications = u32::try_from(rounds.len() * self.0.len())?;
        Ok((Unit(sum / verifications), Taken { cpu, wall }))
    }
}

impl Unit {
    /// Microseconds of one verification.
    pub fn micros(self) -> f64 {
        self.0.as_secs_f64() * 1e6
    }

    /// How many verifications each of `count` pieces of work cost.
    pub fn per_piece(self, taken: Taken, count: usize) -> Result<f64, Box<dyn Error>> {
        Ok(taken.cpu.as_secs_f64() / f64::from(u32::try_from(count)?) / self.0.as_secs_f64())
    }
}

/// Claims of so many keys: what they cost in batches is the floor of whatever is to be connected, decompression of
/// keys included.
pub fn claims(count: u64) -> Vec<Claim> {
    let claim = |number| {
        let Signed { key, signature, message } = signed(number);
        Claim { key: PublicKey(key.to_bytes()), signature: signature.to_bytes(), message }
    };
    (0..count).map(claim).collect()
}

//! CPU time, which counts all threads and is not disturbed by waiting, and the unit that it is given in.

use std::{
    error::Error,
    time::{Duration, Instant},
};

use chain::{
    hash::sha256,
    policy::PublicKey,
    signature::{Claim, verify_all},
};
use ed25519_dalek::{Signature, SignatureError, Signer, VerifyingKey};
use rustix::time::{ClockId, clock_gettime};

use crate::payments::signing_key;

/// Verifications of one round, each of its own key: with the same one again and again the processor would learn it.
const VERIFICATIONS: u64 = 4_096;
/// Signatures that are verified in batches.
const BATCHED: u64 = 40_960;
/// Rounds, of which the best counts.
const ROUNDS: u32 = 5;

/// The CPU time that all threads of this process have used, those of the database included.
pub fn process_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let secs = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(secs, u32::try_from(time.tv_nsec).unwrap_or_default())
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

/// What one strict verification with ed25519-dalek costs, of a key, a signature and a message as they come, in
/// bytes: the unit of the other figures.
#[derive(Clone, Copy, Debug)]
pub struct Unit(Duration);

/// The signature of a key of its own.
fn claim(number: u64) -> Claim {
    let key = signing_key(number);
    let message = sha256(&number.to_le_bytes());
    let signature = key.sign(&message).to_bytes();
    Claim { key: PublicKey(key.verifying_key().to_bytes()), signature, message }
}

fn verify_strict(claim: &Claim) -> Result<(), SignatureError> {
    let key = VerifyingKey::from_bytes(&claim.key.0)?;
    key.verify_strict(&claim.message, &Signature::from_bytes(&claim.signature))
}

impl Unit {
    /// Measures it.
    pub fn measure() -> Result<Self, Box<dyn Error>> {
        let claims: Vec<Claim> = (0..VERIFICATIONS).map(claim).collect();
        let mut best = Duration::MAX;
        for _ in 0..ROUNDS {
            let (taken, outcome) = of(|| claims.iter().try_for_each(verify_strict));
            outcome?;
            best = best.min(taken.cpu / u32::try_from(claims.len())?);
        }
        Ok(Self(best))
    }

    /// What a signature costs in large batches, each of its own key, decompression of keys included: the floor of
    /// whatever is to be connected.
    pub fn of_batch(self) -> Result<f64, Box<dyn Error>> {
        let claims: Vec<Claim> = (0..BATCHED).map(claim).collect();
        let (taken, outcome) = of(|| verify_all(&claims));
        outcome.map_err(|claim| format!("signature {claim} does not hold"))?;
        self.per_piece(taken, claims.len())
    }

    /// Microseconds of one verification.
    pub fn micros(self) -> f64 {
        self.0.as_secs_f64() * 1e6
    }

    /// How many verifications each of `count` pieces of work cost.
    pub fn per_piece(self, taken: Taken, count: usize) -> Result<f64, Box<dyn Error>> {
        Ok(taken.cpu.as_secs_f64() / f64::from(u32::try_from(count)?) / self.0.as_secs_f64())
    }
}

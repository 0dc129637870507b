//! What is answered to a peer that asks for addresses.
//!
//! Everybody of one reach gets the same answer for a day. A fresh sample for each asker would let a spy that asks
//! often copy the whole book, and with it whom we are connected to. A book that has doubled since is sampled anew:
//! else a new network would answer for a day with the nothing that it began with.

use std::collections::BTreeMap;

use super::{Book, NetAddress, Reach};

/// The part of the book that is given away, in percent.
pub const SAMPLE_PERCENT: usize = 23;
/// Addresses of one answer.
pub const MAX_SAMPLE: usize = 1_000;
/// Addresses that even a small book gives: in a class room there is nobody to hide.
pub const LEAST_SAMPLE: usize = 32;
/// Seconds for which an answer stays the same.
pub const KEPT_SECS: u64 = 86_400;

#[derive(Clone, Debug)]
struct Answer {
    addresses: Vec<NetAddress>,
    made_secs: u64,
    book_len: usize,
}

/// The answers of the day.
#[derive(Clone, Debug, Default)]
pub struct Answers(BTreeMap<Reach, Answer>);

impl Answers {
    /// The answer for an asker of this reach.
    pub fn get(&mut self, book: &mut Book, asker: Reach, now_secs: u64) -> &[NetAddress] {
        let kept = self.0.get(&asker).is_some_and(|answer| {
            now_secs.saturating_sub(answer.made_secs) < KEPT_SECS && book.len() < 2 * answer.book_len.max(1)
        });
        if !kept {
            let addresses = book.sample(asker, SAMPLE_PERCENT, LEAST_SAMPLE, MAX_SAMPLE, now_secs);
            let answer = Answer { addresses, made_secs: now_secs, book_len: book.len() };
            self.0.insert(asker, answer);
        }
        self.0.get(&asker).map_or(&[], |answer| &answer.addresses)
    }
}

//! The window: which bodies are awaited, from whom, and which have come and wait for those below them.
//!
//! Plain bookkeeping without the ledger. How large a body is, is not known before it comes: one that is awaited
//! counts as the recent average, one that waits as what it is. What waits never exceeds [`WINDOW_BYTES`]: beyond
//! that the highest bodies are let go, to be asked for again.

use std::collections::BTreeMap;

use chain::{height::Height, ledger::BlockId};

use crate::p2p::{
    Peer, RequestId,
    wire::{MAX_BLOCKS, RawBlock},
};

/// Blocks that may be on their way or waiting for one below them, at the most.
pub const WINDOW_BLOCKS: usize = 1_024;
/// Bytes of bodies that wait, at the most, and by estimate those on their way as well.
pub const WINDOW_BYTES: usize = 64 << 20;
/// Bytes that are asked for at once, by estimate: small enough that a peer that stalls holds little up, large
/// enough that asking costs nothing.
pub(super) const REQUEST_BYTES: usize = 4 << 20;
/// What a body is taken for before the first one came, in bytes.
const INITIAL_AVERAGE_BYTES: usize = 256 << 10;
/// What a body is taken for at the least, in bytes.
const LEAST_AVERAGE_BYTES: usize = 256;
/// Peers of which the same block is awaited, at the most.
pub(super) const MAX_SOURCES: usize = 3;
/// How long the lowest body may hold everything up before its peer is passed over, at first (Bitcoin Core's
/// `BLOCK_STALLING_TIMEOUT_DEFAULT`).
const INITIAL_STALL_MS: u64 = 2_000;
/// The most that grows to.
const MAX_STALL_MS: u64 = 64_000;
/// By how much it falls with every block that is connected, in percent.
const STALL_DECAY_PERCENT: u64 = 85;

/// A peer that was asked for a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    pub(super) request: RequestId,
    pub(super) peer: Peer,
    pub(super) since_ms: u64,
    /// It held everything up for too long. What it sends all the same is taken.
    pub(super) stalled: bool,
}

/// Who was asked for which blocks, and what has come.
#[derive(Debug)]
pub(in crate::engine) struct Window {
    awaited: BTreeMap<BlockId, Vec<Source>>,
    requests: BTreeMap<RequestId, (Peer, Vec<BlockId>)>,
    waiting: BTreeMap<BlockId, (Peer, RawBlock)>,
    waiting_bytes: usize,
    average_bytes: usize,
    stall_ms: u64,
    /// Whether some of what waits can be connected.
    pub(in crate::engine) is_ready: bool,
    /// Since when nothing can be connected. None until the first event after that tells the time, so that the time
    /// that connecting took is nobody's fault.
    pub(in crate::engine) idle_since_ms: Option<u64>,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            awaited: BTreeMap::new(),
            requests: BTreeMap::new(),
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            average_bytes: INITIAL_AVERAGE_BYTES,
            stall_ms: INITIAL_STALL_MS,
            is_ready: false,
            idle_since_ms: None,
        }
    }
}

impl Window {
    /// A body is here and stored, whoever sent it.
    pub(in crate::engine) fn arrived(&mut self, id: &BlockId) {
        self.awaited.remove(id);
        self.take_waiting(id);
    }

    fn take_waiting(&mut self, id: &BlockId) -> Option<(Peer, RawBlock)> {
        let (peer, block) = self.waiting.remove(id)?;
        self.waiting_bytes -= block.bytes().len();
        Some((peer, block))
    }

    /// Notes a request.
    pub(super) fn ask(&mut self, request: RequestId, peer: Peer, ids: Vec<BlockId>, since_ms: u64) {
        for id in &ids {
            let sources = self.awaited.entry(*id).or_default();
            if sources.len() >= MAX_SOURCES {
                // Nobody else is left to ask: the first of those that stalled makes room.
                let stalled = sources.iter().position(|source| source.stalled).unwrap_or(0);
                sources.remove(stalled);
            }
            sources.push(Source { request, peer, since_ms, stalled: false });
        }
        self.requests.insert(request, (peer, ids));
    }

    /// What was asked for by a request of a peer, if it is open.
    pub(super) fn asked(&self, request: RequestId) -> Option<Vec<BlockId>> {
        self.requests.get(&request).map(|(_, ids)| ids.clone())
    }

    /// Takes in a body, where it was awaited: a second copy is passed over. Returns who was asked for it earlier than
    /// its sender and has not sent it.
    pub(super) fn receive(&mut self, id: BlockId, peer: Peer, block: RawBlock) -> Option<Vec<Peer>> {
        let sources = self.awaited.remove(&id)?;
        let since_ms = sources.iter().find(|source| source.peer == peer).map_or(0, |source| source.since_ms);
        let earlier = sources.iter().filter(|source| source.since_ms < since_ms);
        let beaten = earlier.map(|source| source.peer).collect();
        let bytes = block.bytes().len();
        self.average_bytes = ((7 * self.average_bytes + bytes) / 8).max(LEAST_AVERAGE_BYTES);
        self.waiting_bytes += bytes;
        self.waiting.insert(id, (peer, block));
        while self.waiting_bytes > WINDOW_BYTES
            && let Some(highest) = self.waiting.keys().next_back().copied()
        {
            self.take_waiting(&highest);
        }
        Some(beaten)
    }

    /// A peer was too slow for one block: what else it was asked for may be asked of others.
    pub(super) fn doubt(&mut self, peer: Peer) {
        let sources = self.awaited.values_mut().flatten();
        sources.filter(|source| source.peer == peer).for_each(|source| source.stalled = true);
    }

    /// A request is over; what has not arrived is to be asked again.
    pub(in crate::engine) fn close(&mut self, request: RequestId) {
        let Some((_, ids)) = self.requests.remove(&request) else { return };
        for id in ids {
            let Some(sources) = self.awaited.get_mut(&id) else { continue };
            sources.retain(|source| source.request != request);
            if sources.is_empty() {
                self.awaited.remove(&id);
            }
        }
    }

    /// A peer is gone: its requests are over. What it sent waits on.
    pub(in crate::engine) fn forget_peer(&mut self, peer: Peer) {
        let of_peer = |(id, (whom, _)): (&RequestId, &(Peer, _))| (*whom == peer).then_some(*id);
        let requests: Vec<RequestId> = self.requests.iter().filter_map(of_peer).collect();
        requests.into_iter().for_each(|request| self.close(request));
    }

    /// A peer is at fault: its requests are over, and nothing that it sent is waited for.
    pub(in crate::engine) fn distrust(&mut self, peer: Peer) {
        self.forget_peer(peer);
        self.keep(|_, source| source != peer);
    }

    /// Keeps of what waits only what `is_wanted`, given its sender.
    pub(super) fn keep(&mut self, is_wanted: impl Fn(&BlockId, Peer) -> bool) {
        self.waiting.retain(|id, (source, _)| is_wanted(id, *source));
        self.waiting_bytes = self.waiting.values().map(|(_, block)| block.bytes().len()).sum();
    }

    /// Whether nothing is awaited and nothing waits.
    pub(in crate::engine) fn is_idle(&self) -> bool {
        self.awaited.is_empty() && self.waiting.is_empty()
    }

    /// How many blocks are awaited or wait.
    pub(in crate::engine) fn len(&self) -> usize {
        self.awaited.len() + self.waiting.len()
    }

    /// The bytes of what waits.
    pub(in crate::engine) const fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Open requests to a peer.
    pub(super) fn open_requests(&self, peer: Peer) -> usize {
        self.requests.values().filter(|(whom, _)| *whom == peer).count()
    }

    /// What is awaited, the lowest first.
    pub(super) fn awaited(&self) -> impl Iterator<Item = (&BlockId, &Vec<Source>)> {
        self.awaited.iter()
    }

    /// What waits, the lowest first.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (&BlockId, &RawBlock)> {
        self.waiting.iter().map(|(id, (_, block))| (id, block))
    }

    /// Takes bodies out of the window that are about to be connected, with who sent them.
    pub(super) fn take(&mut self, ids: &[BlockId]) -> Vec<(Peer, RawBlock)> {
        ids.iter().filter_map(|id| self.take_waiting(id)).collect()
    }

    /// Blocks that may be asked for beside those that are.
    fn room(&self) -> usize {
        let blocks = WINDOW_BLOCKS.saturating_sub(self.len());
        let bytes = WINDOW_BYTES.saturating_sub(self.waiting_bytes) / self.average_bytes;
        blocks.min(bytes.saturating_sub(self.awaited.len()))
    }

    /// What to ask a peer for next, along the way that it knows: at most `bytes` by estimate, and at least a block.
    pub(super) fn choose(&self, peer: Peer, way: &[BlockId], bytes: usize) -> Vec<BlockId> {
        let most = (bytes / self.average_bytes).clamp(1, MAX_BLOCKS);
        let lowest_waiting = self.waiting.keys().next();
        let mut room = self.room();
        let mut chosen = Vec::new();
        for id in way {
            if chosen.len() == most {
                break;
            }
            if self.waiting.contains_key(id) {
                continue;
            }
            match self.awaited.get(id) {
                // It counts already.
                Some(sources) => {
                    let given_up = sources.iter().all(|source| source.stalled && source.peer != peer);
                    chosen.extend(given_up.then_some(*id));
                }
                None if room > 0 => {
                    room -= 1;
                    chosen.push(*id);
                }
                // However full the window is: what all of it waits for must come.
                None if chosen.is_empty() && lowest_waiting.is_some_and(|lowest| id < lowest) => {
                    chosen.push(*id);
                    break;
                }
                None => break,
            }
        }
        chosen
    }

    /// What else a request carries that has not come and of which `peer` may be a further source.
    pub(super) fn rest_of(&self, request: RequestId, peer: Peer) -> Vec<BlockId> {
        let ids = self.requests.get(&request).map_or(&[][..], |(_, ids)| ids);
        let open = |id: &&BlockId| {
            self.awaited.get(*id).is_some_and(|sources| {
                sources.len() < MAX_SOURCES && sources.iter().all(|source| source.peer != peer)
            })
        };
        ids.iter().filter(open).copied().collect()
    }

    /// How long the lowest body may hold everything up now, in milliseconds.
    pub(super) const fn stall_ms(&self) -> u64 {
        self.stall_ms
    }

    /// By estimate, the KiB of one request.
    pub(super) fn request_kib(&self) -> u64 {
        let blocks = (REQUEST_BYTES / self.average_bytes).clamp(1, MAX_BLOCKS);
        u64::try_from(blocks * self.average_bytes / 1_024).unwrap_or(u64::MAX)
    }

    /// A request held everything up for too long: its blocks may be asked of others, and the next one gets more time.
    pub(super) fn stall(&mut self, request: RequestId) {
        let ids = self.requests.get(&request).map_or(&[][..], |(_, ids)| ids);
        for id in ids {
            let sources = self.awaited.get_mut(id).into_iter().flatten();
            sources.filter(|source| source.request == request).for_each(|source| source.stalled = true);
        }
        self.stall_ms = (2 * self.stall_ms).min(MAX_STALL_MS);
    }

    /// Blocks were connected: things move.
    pub(super) fn moved(&mut self, blocks: usize) {
        for _ in 0..blocks {
            if self.stall_ms == INITIAL_STALL_MS {
                break;
            }
            self.stall_ms = (self.stall_ms * STALL_DECAY_PERCENT / 100).max(INITIAL_STALL_MS);
        }
    }
}

/// The place above which nothing is asked for, given the highest complete block.
pub(super) fn top_of(complete: Height) -> Height {
    let blocks = u32::try_from(WINDOW_BLOCKS).unwrap_or(u32::MAX);
    Height::new(complete.get().saturating_add(blocks))
}

#[cfg(test)]
mod tests {
    use chain::hash::BlockHash;

    use super::*;

    fn id(height: u32) -> BlockId {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&height.to_le_bytes());
        BlockId { height: Height::new(height), hash: BlockHash::from_bytes(bytes) }
    }

    fn body(bytes: usize) -> RawBlock {
        RawBlock::from_bytes(vec![0; bytes]).expect("long enough for a header")
    }

    /// Asks for all that fits into the window, of peers without end.
    fn fill(window: &mut Window, way: &[BlockId]) -> usize {
        for number in 0.. {
            let chosen = window.choose(Peer(number), way, REQUEST_BYTES);
            if chosen.is_empty() {
                break;
            }
            window.ask(RequestId(number), Peer(number), chosen, 0);
        }
        window.len()
    }

    #[test]
    fn p06_bytes_that_wait_are_bounded_whatever_was_estimated() {
        let way: Vec<BlockId> = (1..3_000).map(id).collect();
        let mut window = Window::default();
        // Of unknown size: as many as would fill the bytes by the first estimate.
        assert_eq!(fill(&mut window, &way), WINDOW_BYTES / INITIAL_AVERAGE_BYTES);
        // They turn out sixteen times as large, and all but the lowest come.
        for id in &way[1..WINDOW_BYTES / INITIAL_AVERAGE_BYTES] {
            window.receive(*id, Peer(0), body(4_000_000));
            assert!(window.waiting_bytes() <= WINDOW_BYTES);
        }
        assert_eq!(window.waiting().count(), WINDOW_BYTES / 4_000_000);
        // The lowest were kept. Nothing new is asked for but what all of them wait for.
        assert_eq!(window.waiting().next().map(|(id, _)| *id), Some(id(2)));
        window.close(RequestId(0));
        assert_eq!(window.choose(Peer(9_000), &way, REQUEST_BYTES), [id(1)]);
        window.ask(RequestId(9_000), Peer(9_000), vec![id(1)], 0);
        assert_eq!(window.choose(Peer(9_001), &way, REQUEST_BYTES), []);
    }

    #[test]
    fn p06_blocks_are_bounded_where_bytes_are_few() {
        let way: Vec<BlockId> = (1..3_000).map(id).collect();
        let mut window = Window::default();
        for number in 0..100 {
            window.ask(RequestId(number), Peer(0), vec![id(5_000)], 0);
            window.receive(id(5_000), Peer(0), body(200));
            window.take(&[id(5_000)]);
        }
        assert_eq!(fill(&mut window, &way), WINDOW_BLOCKS);
    }

    #[test]
    fn p07_p29_an_answer_closes_only_its_own_request() {
        let mut window = Window::default();
        let ids = vec![id(1), id(2)];
        window.ask(RequestId(1), Peer(1), ids.clone(), 0);
        window.ask(RequestId(2), Peer(2), ids.clone(), 300);
        window.close(RequestId(1));
        assert_eq!(window.awaited().map(|(_, sources)| sources.len()).collect::<Vec<_>>(), [1, 1]);
        window.forget_peer(Peer(1));
        assert!(window.awaited().any(|(awaited, _)| *awaited == id(1)));
        assert_eq!(window.receive(id(1), Peer(2), body(100)), Some(Vec::new()));
        assert_eq!(window.receive(id(1), Peer(2), body(100)), None, "the second copy");
        window.distrust(Peer(2));
        assert!(window.is_idle());
        assert_eq!(window.waiting_bytes(), 0);
    }

    #[test]
    fn p06_patience_doubles_with_every_stall_and_comes_back() {
        let mut window = Window::default();
        for expected in [4_000, 8_000, 16_000, 32_000, 64_000, 64_000] {
            window.stall(RequestId(1));
            assert_eq!(window.stall_ms(), expected);
        }
        window.moved(1);
        assert_eq!(window.stall_ms(), 54_400);
        window.moved(1_000_000);
        assert_eq!(window.stall_ms(), INITIAL_STALL_MS);
    }
}

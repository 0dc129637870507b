//! A simulated node: the engine of a real one, a disk that forgets, clocks of its own, and a naive ledger beside it.

use chain::{
    address::Address,
    genesis::Chain,
    hash::BlockHash,
    height::Height,
    ledger::{Ledger, Tip},
    pow::Work,
    store::StoreError,
    time::Time,
};

use super::{disk::Disk, pace::Pace, plants::Plant, replay::Replay, trace::Trace};
use crate::engine::{Action, Engine, Event, Now};

/// An engine over a simulated disk.
pub(super) type SimEngine = Engine<Disk>;

/// What a change of a node's tip was, for those who count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moved {
    /// Blocks that left the chain.
    pub(super) reverted: usize,
    /// Blocks that joined it.
    pub(super) applied: usize,
}

/// A node.
#[derive(Debug)]
pub(super) struct Node {
    /// None while it is down.
    pub(super) engine: Option<SimEngine>,
    pub(super) disk: Disk,
    pub(super) replay: Replay,
    pub(super) trace: Trace,
    pub(super) plant: Option<Plant>,
    /// How far its wall clock is off, in seconds.
    pub(super) clock_off_secs: i64,
    /// Who gets what it mines.
    pub(super) pay_to: Address,
    chain: Chain,
    booted_ms: u64,
    /// The work of the best tip that it had since the last start, and before the last crash.
    best_work: Work,
    agent: String,
    precious: Option<BlockHash>,
    pace: Pace,
    /// When it is to be woken, how often it was at the last time, and when that was.
    pub(super) wake_at_ms: Option<u64>,
    pub(super) wakes: u64,
    pub(super) woken_at_ms: u64,
}

impl Node {
    /// A node with nothing but the genesis block, down.
    pub(super) fn new(index: usize, chain: &Chain, plant: Option<Plant>, pay_to: Address) -> Self {
        let seen = plant.map_or_else(|| chain.clone(), |plant| plant.chain(chain.clone()));
        Self {
            engine: None,
            disk: Disk::with_flaw(plant.map(Plant::disk_flaw).unwrap_or_default()),
            replay: Replay::new(chain.id(), chain.params()),
            trace: Trace::default(),
            plant,
            clock_off_secs: 0,
            pay_to,
            chain: seen,
            booted_ms: 0,
            best_work: Work::ZERO,
            agent: format!("/sim:{index}/"),
            precious: None,
            pace: Pace::new(chain.params()),
            wake_at_ms: None,
            wakes: 0,
            woken_at_ms: 0,
        }
    }

    /// Starts it over what its disk holds.
    ///
    /// # Errors
    /// What is wrong with the disk, or that the node has come back with less than it had.
    pub(super) fn start(&mut self, now_ms: u64) -> Result<Moved, String> {
        let ledger = Ledger::open(self.chain.clone(), self.disk.clone())
            .map_err(|error| format!("does not start again: {error}"))?;
        let mut engine = Engine::new(ledger, self.agent.clone());
        if let Some(plant) = self.plant {
            engine.set_plants(plant.engine());
        }
        let work = engine.ledger().tip().work;
        if work < self.best_work {
            return Err("has less work after a crash than before it".into());
        }
        self.booted_ms = now_ms;
        self.wake_at_ms = None;
        self.engine = Some(engine);
        let moved = self.follow_tip()?;
        self.compare_all()?;
        Ok(moved)
    }

    /// Kills the process.
    pub(super) fn crash(&mut self) {
        self.engine = None;
        self.disk.crash();
    }

    /// What its clocks show. The wall clock is the world's and its own fault; the other one begins when the
    /// process does.
    pub(super) fn now(&self, now_ms: u64) -> Now {
        let epoch = i64::from(self.chain.genesis().header.time.secs()) + super::EPOCH_SECS;
        let secs = epoch + i64::try_from(now_ms / 1_000).unwrap_or(i64::MAX / 2) + self.clock_off_secs;
        Now {
            wall: Time::from_secs(u32::try_from(secs.max(0)).unwrap_or(u32::MAX)),
            monotonic_ms: now_ms.saturating_sub(self.booted_ms),
        }
    }

    /// When the engine wants to be woken, on the world's clock.
    pub(super) fn next_wake_ms(&self) -> Option<u64> {
        Some(self.booted_ms + self.engine.as_ref()?.next_wake_ms()?)
    }

    /// The tip, while it is up.
    pub(super) fn tip(&self) -> Option<Tip> {
        self.engine.as_ref().map(|engine| engine.ledger().tip())
    }

    /// Gives the engine an event, and does what its thread does around it.
    ///
    /// # Errors
    /// [`StoreError`]: the process stops.
    pub(super) fn feed(&mut self, event: Event, now_ms: u64) -> Result<Vec<Action>, StoreError> {
        let now = self.now(now_ms);
        let Some(engine) = &mut self.engine else { return Ok(Vec::new()) };
        let is_tick = matches!(event, Event::Tick);
        let mut actions = engine.on(event, now)?;
        // Once a second: its announcements are events again, and two tips as good as each other would have no end.
        if is_tick && self.plant == Some(Plant::LastSeenTie) {
            actions.extend(self.prefer_last(now_ms)?);
        }
        Ok(actions)
    }

    /// As the engine's thread does after every event, once what it wants done is done.
    ///
    /// # Errors
    /// [`StoreError`]: the process stops.
    pub(super) fn settle(&mut self, is_tick: bool) -> Result<(), StoreError> {
        let Some(engine) = &mut self.engine else { return Ok(()) };
        if is_tick || !engine.is_catching_up() { engine.flush() } else { Ok(()) }
    }

    /// The planted bug of a tie-break: whatever came last and is as good as the tip is preferred.
    fn prefer_last(&mut self, now_ms: u64) -> Result<Vec<Action>, StoreError> {
        let now = self.now(now_ms);
        let Some(engine) = &mut self.engine else { return Ok(Vec::new()) };
        let (tree, tip) = (engine.ledger().tree(), engine.ledger().tip());
        let rival = tree.leaves().map(|id| tree.node(id)).filter(|node| {
            node.work() == tip.work && node.is_complete() && !node.is_invalid() && node.hash() != tip.id.hash
        });
        let Some(hash) =
            rival.map(chain::tree::Node::hash).last().filter(|hash| self.precious != Some(*hash))
        else {
            return Ok(Vec::new());
        };
        self.precious = Some(hash);
        match engine.make_precious(&hash, now) {
            Err(chain::ledger::AdviceError::Storage(error)) => Err(error),
            _ => Ok(engine.drain()),
        }
    }

    /// Has the naive ledger follow the engine's tip, and holds the two against each other where they changed.
    ///
    /// # Errors
    /// Which invariant is broken, in words.
    pub(super) fn follow_tip(&mut self) -> Result<Moved, String> {
        let mut moved = Moved { reverted: 0, applied: 0 };
        let Some(engine) = &self.engine else { return Ok(moved) };
        let (ledger, tip) = (engine.ledger(), engine.ledger().tip());
        if tip.id.hash == self.replay.tip() {
            return Ok(moved);
        }
        if tip.work <= self.best_work {
            return Err(format!("moved to {}, which has no more work than its tip had", tip.id.hash));
        }
        self.best_work = tip.work;
        let active = |height: usize| {
            let node = ledger.active(Height::new(u32::try_from(height).ok()?))?;
            Some(ledger.tree().node(node).hash())
        };
        let anchor = ledger.active(Height::new(1)).map(|first| ledger.tree().node(first).header().time);
        self.pace.anchor(anchor);
        let parent = ledger.tree().find(&tip.header.previous);
        let below = parent.map_or(tip.header.time, |parent| ledger.tree().node(parent).header().time);
        while self.replay.height() > 0 && active(self.replay.height()) != Some(self.replay.tip()) {
            self.replay.undo();
            moved.reverted += 1;
        }
        while let Some(hash) = active(self.replay.height() + 1) {
            let block = ledger.block(&hash).map_err(|error| error.to_string())?;
            let block = block.ok_or_else(|| format!("has no body of its block {hash}"))?;
            self.replay.apply(&block).map_err(|error| format!("follows an invalid block: {error}"))?;
            moved.applied += 1;
        }
        if self.replay.tip() != tip.id.hash {
            return Err("its active chain does not end at its tip".into());
        }
        self.pace.check(&tip, below)?;
        self.compare_touched()?;
        Ok(moved)
    }

    fn compare_touched(&mut self) -> Result<(), String> {
        let touched: Vec<_> = self.replay.take_touched().into_iter().collect();
        let Some(engine) = &self.engine else { return Ok(()) };
        let coins = engine.ledger().coins(&touched).map_err(|error| error.to_string())?;
        for (outpoint, coin) in touched.iter().zip(coins) {
            let known = self.replay.coin(outpoint);
            let same = match (&coin, known) {
                (None, None) => true,
                (Some(coin), Some(known)) => {
                    coin.output.amount.pebbles() == known.pebbles
                        && coin.output.address() == Some(&known.address)
                        && coin.height.get() == known.height
                        && coin.coinbase == known.coinbase
                }
                _ => false,
            };
            if !same {
                return Err(format!("the coin {outpoint} is {coin:?}, a replay says {known:?}"));
            }
        }
        let (found, expected) = (self.disk.coin_count(), self.replay.coins().len());
        if found != expected {
            return Err(format!("has {found} coins, a replay has {expected}"));
        }
        Ok(())
    }

    /// Holds every coin against the replay, and the sum of all against the supply.
    ///
    /// # Errors
    /// Which coin differs, or how far the supply is off.
    pub(super) fn compare_all(&mut self) -> Result<(), String> {
        let all: Vec<_> = self.replay.coins().map(|(outpoint, _)| *outpoint).collect();
        let Some(engine) = &self.engine else { return Ok(()) };
        let coins = engine.ledger().coins(&all).map_err(|error| error.to_string())?;
        let mut sum = 0u128;
        for (outpoint, coin) in all.iter().zip(coins) {
            let coin = coin.ok_or_else(|| format!("lacks the coin {outpoint}"))?;
            sum += u128::from(coin.output.amount.pebbles());
        }
        if sum != self.replay.supply() {
            return Err(format!("its coins are worth {sum}, the supply is {}", self.replay.supply()));
        }
        self.compare_touched()
    }

    /// Holds what waits against the tip.
    ///
    /// # Errors
    /// Which transaction could not be mined.
    pub(super) fn check_mempool(&self) -> Result<(), String> {
        let Some(engine) = &self.engine else { return Ok(()) };
        let waiting = engine.mempool().entries().map(|entry| entry.transaction().transaction().as_ref());
        self.replay.check_waiting(waiting)
    }

    /// Holds everything that is bounded against its bound.
    ///
    /// # Errors
    /// What is too large.
    pub(super) fn check_sizes(&self) -> Result<(), String> {
        let Some(engine) = &self.engine else { return Ok(()) };
        match engine.sizes().into_iter().find(|size| size.now > size.limit) {
            Some(size) => Err(format!("{} are {}, the limit is {}", size.what, size.now, size.limit)),
            None => Ok(()),
        }
    }
}

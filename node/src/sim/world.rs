//! The world: one queue of events on one clock, and everybody who acts in it.

use std::collections::{BTreeMap, BTreeSet};

use chain::{genesis::Chain, hash::BlockHash, pow::Work, store::StoreError};

use super::{
    Failure, Stats,
    chance::Chance,
    hostile::{Attacker, View},
    net::{Asking, Delivery, Net},
    node::Node,
    plants::Plant,
    scenario::Scenario,
    trace::EventHash,
    wallets::Purse,
};
use crate::{
    engine::{Action, Event},
    p2p::{RequestFailure, ToNet},
};

/// How often an engine is told that time passes, in milliseconds.
const TICK_MS: u64 = 1_000;
/// How often an engine may be woken in the same millisecond.
const MAX_WAKES: u64 = 1_000;

/// Something that happens at a time.
#[derive(Debug)]
pub(super) enum Happening {
    Tick(usize),
    Wake(usize),
    Deliver(Delivery),
    Timeout(Asking),
    Close(u64),
    Dial(usize, usize),
    Find { actor: usize, epoch: u64 },
    Pay,
    Restart(usize),
    Turn(usize),
    Course(super::course::Step),
}

/// All there is.
#[derive(Debug)]
pub(super) struct World {
    pub(super) scenario: Scenario,
    pub(super) now_ms: u64,
    pub(super) nodes: Vec<Node>,
    pub(super) attackers: Vec<Attacker>,
    pub(super) net: Net,
    pub(super) purse: Purse,
    pub(super) chance: Chance,
    pub(super) stats: Stats,
    pub(super) is_mining: bool,
    /// Whether the last events of each node are written down.
    pub(super) is_traced: bool,
    /// The most work that any honest node has had.
    pub(super) most_work: Work,
    pub(super) epochs: BTreeMap<usize, u64>,
    queue: BTreeMap<(u64, u64), Happening>,
    sequence: u64,
    hash: EventHash,
    /// What the node with a missing re-request has asked for.
    pub(super) plant_asked: BTreeSet<BlockHash>,
}

/// What an event comes to: nothing, or the end of the run.
pub(super) type Outcome = Result<(), Failure>;

impl World {
    pub(super) fn new(
        scenario: Scenario,
        seed: u64,
        plant: Option<Plant>,
        is_traced: bool,
    ) -> Result<Self, Failure> {
        let chain =
            Chain::mine(scenario.params.clone()).map_err(|error| Failure::of_world(error.to_string()))?;
        let mut chance = Chance::from_seed(seed);
        let count = scenario.powers.len();
        let purse = Purse::new(&chain, count + scenario.attackers.len());
        let nodes = (0..count)
            .map(|index| Node::new(index, &chain, plant.filter(|_| index == 0), purse.address(index)));
        let nodes: Vec<Node> = nodes.collect();
        let mut attackers = Vec::new();
        for (number, (strategy, _)) in (0u64..).zip(&scenario.attackers) {
            let address = purse.address(count + attackers.len());
            let attacker = Attacker::new(*strategy, 1_000 + number, &chain, address, chance.fork());
            attackers.push(attacker.ok_or_else(|| Failure::of_world("an attacker has no ledger".into()))?);
        }
        Ok(Self {
            scenario,
            now_ms: 0,
            nodes,
            attackers,
            net: Net::default(),
            purse,
            chance,
            stats: Stats::default(),
            is_mining: true,
            is_traced,
            most_work: Work::ZERO,
            epochs: BTreeMap::new(),
            queue: BTreeMap::new(),
            sequence: 0,
            hash: EventHash::default(),
            plant_asked: BTreeSet::new(),
        })
    }

    pub(super) fn later(&mut self, delay_ms: u64, what: Happening) {
        self.at(self.now_ms + delay_ms, what);
    }

    pub(super) fn at(&mut self, ms: u64, what: Happening) {
        self.sequence += 1;
        self.queue.insert((ms.max(self.now_ms), self.sequence), what);
    }

    /// Takes the next event that is due by then.
    pub(super) fn next(&mut self, until_ms: u64) -> Option<Happening> {
        let (at, what) = self.queue.pop_first()?;
        if at.0 > until_ms {
            self.queue.insert(at, what);
            return None;
        }
        self.now_ms = at.0;
        let (kind, actor) = match &what {
            Happening::Tick(actor) => (1, *actor),
            Happening::Deliver(delivery) => (2, delivery.to),
            Happening::Timeout(asking) => (3, asking.asker),
            Happening::Close(_) => (4, 0),
            Happening::Dial(from, _) => (5, *from),
            Happening::Find { actor, .. } => (6, *actor),
            Happening::Pay => (7, 0),
            Happening::Restart(actor) => (8, *actor),
            Happening::Turn(actor) => (9, *actor),
            Happening::Course(_) => (10, 0),
            Happening::Wake(actor) => (11, *actor),
        };
        let mempool = self.nodes.get(actor).and_then(|node| node.engine.as_ref());
        let changes = mempool.map_or(0, |engine| engine.mempool().changes());
        self.hash.add(&[at.0, at.1, kind, u64::try_from(actor).unwrap_or(0), changes]);
        if let Some(node) = self.nodes.get(actor) {
            self.hash.add_bytes(node.replay.tip().as_bytes());
        }
        self.stats.events += 1;
        Some(what)
    }

    /// What all events together hash to.
    pub(super) fn event_hash(&self) -> u64 {
        self.hash.clone().finish()
    }

    /// Has something happen.
    pub(super) fn happen(&mut self, what: Happening) -> Outcome {
        match what {
            Happening::Tick(index) => {
                self.later(TICK_MS, Happening::Tick(index));
                self.feed(index, Event::Tick)
            }
            Happening::Wake(index) => self.wake(index),
            Happening::Deliver(delivery) => self.deliver(delivery),
            Happening::Timeout(asking) => self.fail(asking, RequestFailure::Timeout),
            Happening::Close(session) => self.close(session),
            Happening::Dial(from, to) => self.dial(from, to),
            Happening::Find { actor, epoch } => self.find(actor, epoch),
            Happening::Pay => self.pay(),
            Happening::Restart(index) => self.restart(index),
            Happening::Turn(actor) => self.turn(actor),
            Happening::Course(step) => self.step(step),
        }
    }

    pub(super) fn fail_node(&self, index: usize, what: String) -> Failure {
        Failure { node: Some(index), what, ms: self.now_ms }
    }

    pub(super) fn note(&mut self, index: usize, what: impl FnOnce() -> String) {
        if self.is_traced
            && let Some(node) = self.nodes.get_mut(index)
        {
            node.trace.note(self.now_ms, what());
        }
    }

    /// Whether an actor is there at all.
    pub(super) fn is_up(&self, actor: usize) -> bool {
        self.nodes.get(actor).is_none_or(|node| node.engine.is_some())
    }

    /// Under which name others know an actor.
    pub(super) fn identity(&self, actor: usize) -> u64 {
        match actor.checked_sub(self.nodes.len()).and_then(|number| self.attackers.get(number)) {
            Some(attacker) => attacker.identity,
            None => u64::try_from(actor).unwrap_or(u64::MAX),
        }
    }

    /// Gives a node's engine an event and does what follows.
    pub(super) fn feed(&mut self, index: usize, event: Event) -> Outcome {
        let is_tick = matches!(event, Event::Tick);
        match self.nodes[index].feed(event, self.now_ms) {
            Ok(actions) => self.follow_up(index, actions, is_tick),
            Err(error) => self.storage_failed(index, &error),
        }
    }

    /// Wakes an engine, if it has not asked for another time since.
    fn wake(&mut self, index: usize) -> Outcome {
        let node = &mut self.nodes[index];
        if node.wake_at_ms != Some(self.now_ms) {
            return Ok(());
        }
        node.wake_at_ms = None;
        node.wakes = if node.woken_at_ms == self.now_ms { node.wakes + 1 } else { 1 };
        node.woken_at_ms = self.now_ms;
        if node.wakes > MAX_WAKES {
            return Err(self.fail_node(index, "wants to be woken again and again at the same time".into()));
        }
        self.feed(index, Event::Wake)
    }

    /// As the engine's thread: what is ready is done once what was said first is on its way, and the engine is woken
    /// when it wants to be.
    fn go_on(&mut self, index: usize) -> Outcome {
        let ready = |node: &Node| node.engine.as_ref().is_some_and(|engine| engine.has_ready());
        if ready(&self.nodes[index]) {
            return self.feed(index, Event::Ready);
        }
        if let Some(wake_ms) = self.nodes[index].next_wake_ms().map(|ms| ms.max(self.now_ms))
            && self.nodes[index].wake_at_ms != Some(wake_ms)
        {
            self.nodes[index].wake_at_ms = Some(wake_ms);
            self.at(wake_ms, Happening::Wake(index));
        }
        Ok(())
    }

    /// Does what an engine wants done, then looks at what became of its node.
    pub(super) fn follow_up(&mut self, index: usize, actions: Vec<Action>, is_tick: bool) -> Outcome {
        for action in actions {
            if let Action::Net(message) = action {
                self.act(index, message)?;
            }
        }
        let moved = self.nodes[index].follow_tip().map_err(|what| self.fail_node(index, what))?;
        if moved.reverted + moved.applied > 0 {
            self.tip_moved(index, moved)?;
        }
        if let Err(error) = self.nodes[index].settle(is_tick) {
            return self.storage_failed(index, &error);
        }
        if is_tick {
            self.nodes[index].check_sizes().map_err(|what| self.fail_node(index, what))?;
        }
        self.go_on(index)
    }

    fn tip_moved(&mut self, index: usize, moved: super::node::Moved) -> Outcome {
        self.stats.note_move(moved);
        self.nodes[index].check_mempool().map_err(|what| self.fail_node(index, what))?;
        self.schedule_find(index);
        let Some(tip) = self.nodes[index].tip() else { return Ok(()) };
        self.note(index, || format!("tip {} {}", tip.id.height, tip.id.hash));
        if tip.work > self.most_work {
            self.most_work = tip.work;
            for number in 0..self.attackers.len() {
                self.with_attacker(self.nodes.len() + number, Attacker::on_honest_block)?;
            }
        }
        Ok(())
    }

    /// A disk failed: the process is dead, and where that was no fault of the weather, so is the run.
    pub(super) fn storage_failed(&mut self, index: usize, error: &StoreError) -> Outcome {
        if !self.nodes[index].disk.has_failed() {
            return Err(self.fail_node(index, error.to_string()));
        }
        self.crash(index)
    }

    /// Kills a node's process; it is started again after a while.
    pub(super) fn crash(&mut self, index: usize) -> Outcome {
        if !self.is_up(index) {
            return Ok(());
        }
        self.stats.crashes += 1;
        self.note(index, || "crash".into());
        self.nodes[index].crash();
        self.net.forget(index);
        for session in self.net.sessions_of(index) {
            self.close(session)?;
        }
        let wait_ms = self.chance.between(500, 20_000);
        self.later(wait_ms, Happening::Restart(index));
        Ok(())
    }

    pub(super) fn restart(&mut self, index: usize) -> Outcome {
        if self.is_up(index) {
            return Ok(());
        }
        let moved = match self.nodes[index].start(self.now_ms) {
            Ok(moved) => moved,
            // It died once more, while it was being started.
            Err(_) if self.nodes[index].disk.has_failed() => {
                self.nodes[index].crash();
                return self.restart(index);
            }
            Err(what) => return Err(self.fail_node(index, what)),
        };
        self.note(index, || "start".into());
        if moved.reverted + moved.applied > 0 {
            self.tip_moved(index, moved)?;
        }
        self.schedule_find(index);
        Ok(())
    }

    fn turn(&mut self, actor: usize) -> Outcome {
        let wait_ms = self.chance.between(500, 1_500);
        self.later(wait_ms, Happening::Turn(actor));
        self.with_attacker(actor, Attacker::turn)
    }

    /// Lets an attacker do something, with what it can know.
    pub(super) fn with_attacker(
        &mut self,
        actor: usize,
        doing: impl FnOnce(&mut Attacker, &View<'_>) -> Vec<ToNet>,
    ) -> Outcome {
        let number = actor - self.nodes.len();
        let up = self.nodes.iter().filter(|node| node.engine.is_some());
        let best = up.max_by_key(|node| node.replay.height());
        let Some((node, engine)) = best.and_then(|node| Some((node, node.engine.as_ref()?))) else {
            return Ok(());
        };
        let mut now = node.now(self.now_ms);
        // Attackers have good clocks.
        let off = u32::try_from(node.clock_off_secs.unsigned_abs()).unwrap_or(0);
        now.wall = if node.clock_off_secs < 0 {
            now.wall.saturating_add_secs(off)
        } else {
            chain::time::Time::from_secs(now.wall.secs().saturating_sub(off))
        };
        let view = View { best: engine.ledger(), now: now.wall, purse: &self.purse };
        let said = doing(&mut self.attackers[number], &view);
        for message in said {
            self.act(actor, message)?;
        }
        Ok(())
    }
}

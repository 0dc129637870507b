//! The course of a run: times of faults, each followed by a calm in which all must agree again.

use std::collections::BTreeMap;

use chain::pow::Work;

use super::{
    Failure,
    net::Weather,
    scenario::Fault,
    world::{Happening, Outcome, World},
};

/// How long after the last fault the best tip must be everywhere, in milliseconds.
pub const CONVERGENCE_MS: u64 = 10_000;
/// The furthest that a wall clock jumps, in seconds.
const MAX_JUMP_SECS: u64 = 3 * 3_600;
/// How far wall clocks are off all the time, in seconds.
const MAX_OFF_SECS: u64 = 2;

/// A step of the course.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Storm,
    Fault,
    Split(usize),
    Heal,
    Calm,
    Converged(Work),
    EndOfMining,
}

impl World {
    /// Sets everything going.
    pub(super) fn begin(&mut self) -> Outcome {
        let (nodes, all) = (self.nodes.len(), self.nodes.len() + self.attackers.len());
        for index in 0..nodes {
            self.restart(index)?;
            let phase_ms = self.chance.below(1_000);
            self.later(phase_ms, Happening::Tick(index));
        }
        for index in 0..nodes {
            // A ring, and chords: whoever is cut off at one neighbour has another.
            if nodes > 1 {
                self.later(10, Happening::Dial(index, (index + 1) % nodes));
            }
            for _ in 0..self.scenario.chords {
                let other = self.chance.index(nodes);
                if other != index {
                    self.later(10, Happening::Dial(index, other));
                }
            }
            for actor in nodes..all {
                self.later(20, Happening::Dial(actor, index));
            }
        }
        for actor in nodes..all {
            self.schedule_find(actor);
            self.later(1_000, Happening::Turn(actor));
        }
        if self.scenario.payment_mean_ms > 0 {
            self.later(1_000, Happening::Pay);
        }
        let (storm_ms, calm_ms, rounds) =
            (self.scenario.storm_ms, self.scenario.calm_ms, self.scenario.rounds);
        for round in 0..rounds {
            let start_ms = round * (storm_ms + calm_ms);
            self.at(start_ms + 1_000, Happening::Course(Step::Storm));
            self.at(start_ms + storm_ms, Happening::Course(Step::Calm));
        }
        for number in 0..self.scenario.splits.len() {
            let (at_ms, for_ms) = (self.scenario.splits[number].at_ms, self.scenario.splits[number].for_ms);
            self.at(at_ms, Happening::Course(Step::Split(number)));
            self.at(at_ms + for_ms, Happening::Course(Step::Heal));
        }
        self.at(rounds * (storm_ms + calm_ms), Happening::Course(Step::EndOfMining));
        Ok(())
    }

    /// How long the run takes, in virtual milliseconds.
    pub(super) fn duration_ms(&self) -> u64 {
        let scenario = &self.scenario;
        scenario.rounds * (scenario.storm_ms + scenario.calm_ms) + 2 * CONVERGENCE_MS
    }

    fn is_storm(&self) -> bool {
        let round_ms = self.scenario.storm_ms + self.scenario.calm_ms;
        self.now_ms % round_ms.max(1) < self.scenario.storm_ms
            && self.now_ms < round_ms * self.scenario.rounds
    }

    pub(super) fn step(&mut self, step: Step) -> Outcome {
        match step {
            Step::Storm => {
                self.net.weather = self.scenario.weather;
                for node in &mut self.nodes {
                    let off = self.chance.between(0, 2 * MAX_OFF_SECS);
                    node.clock_off_secs = i64::try_from(off).unwrap_or(0) - 2;
                }
                self.next_fault();
                Ok(())
            }
            Step::Fault => {
                if !self.is_storm() {
                    return Ok(());
                }
                self.next_fault();
                match self.chance.pick(&self.scenario.faults).copied() {
                    Some(fault) => self.strike(fault),
                    None => Ok(()),
                }
            }
            Step::Split(number) => {
                if let Some(split) = self.scenario.splits.get(number) {
                    self.net.split((0..).zip(&split.sides).map(|(actor, side)| (actor, *side)).collect());
                }
                Ok(())
            }
            Step::Heal => {
                self.net.split(BTreeMap::new());
                Ok(())
            }
            Step::Calm => self.calm(),
            Step::Converged(work) => self.check_converged(work),
            Step::EndOfMining => {
                self.is_mining = false;
                self.expect_convergence();
                Ok(())
            }
        }
    }

    fn next_fault(&mut self) {
        let wait_ms = self.chance.wait_ms(self.scenario.fault_mean_ms).max(1);
        self.later(wait_ms, Happening::Course(Step::Fault));
    }

    fn strike(&mut self, fault: Fault) -> Outcome {
        self.stats.faults += 1;
        let index = self.chance.index(self.nodes.len());
        let sessions: Vec<u64> = self.net.sessions.keys().copied().collect();
        let session = self.chance.pick(&sessions).copied();
        match fault {
            // Who is down already writes nothing before the calm.
            Fault::Crash if !self.is_up(index) => Ok(()),
            // At one of its next writes, or now.
            Fault::Crash if self.chance.happens(3, 4) => {
                let writes = self.chance.below(8);
                self.nodes[index].disk.fail_after(writes);
                Ok(())
            }
            Fault::Crash => self.crash(index),
            Fault::Split => {
                let all = self.nodes.len() + self.attackers.len();
                let sides = (0..all).map(|actor| (actor, self.chance.below(2))).collect();
                self.net.split(sides);
                let wait_ms = self.chance.between(5_000, 60_000);
                self.later(wait_ms, Happening::Course(Step::Heal));
                Ok(())
            }
            Fault::Reset => session.map_or(Ok(()), |session| self.close(session)),
            Fault::Stall => {
                if let Some(stalled) = session.and_then(|session| self.net.sessions.get_mut(&session)) {
                    stalled.is_stalled = true;
                    let wait_ms = self.chance.between(20_000, 40_000);
                    self.later(wait_ms, Happening::Close(session.unwrap_or(0)));
                }
                Ok(())
            }
            Fault::Clock => {
                let jump = i64::try_from(self.chance.below(2 * MAX_JUMP_SECS)).unwrap_or(0);
                self.nodes[index].clock_off_secs = jump - i64::try_from(MAX_JUMP_SECS).unwrap_or(0);
                self.note(index, || "its wall clock jumps".into());
                Ok(())
            }
        }
    }

    /// Ends all faults at once: whoever is down is started, whatever stalls is closed, clocks are right.
    fn calm(&mut self) -> Outcome {
        self.net.weather = Weather::default();
        self.net.split(BTreeMap::new());
        for index in 0..self.nodes.len() {
            self.nodes[index].clock_off_secs = 0;
            if self.nodes[index].disk.is_doomed() {
                self.crash(index)?;
            }
            self.restart(index)?;
        }
        let stalled = |(id, session): (&u64, &super::net::Session)| session.is_stalled.then_some(*id);
        let stalled: Vec<u64> = self.net.sessions.iter().filter_map(stalled).collect();
        for session in stalled {
            self.close(session)?;
        }
        self.net.sweep(self.now_ms);
        self.expect_convergence();
        Ok(())
    }

    /// The best tip that there is now must be everywhere in time, or a better one.
    fn expect_convergence(&mut self) {
        let best = self.nodes.iter().filter_map(|node| node.tip()).map(|tip| tip.work).max();
        if let Some(work) = best {
            self.later(CONVERGENCE_MS, Happening::Course(Step::Converged(work)));
        }
    }

    fn check_converged(&mut self, work: Work) -> Outcome {
        self.stats.convergences += 1;
        for (index, node) in self.nodes.iter().enumerate() {
            let Some(tip) = node.tip() else { continue };
            if tip.work < work {
                let what = format!(
                    "is at {} {}, while a tip with more work has been there for {} seconds",
                    tip.id.height,
                    tip.id.hash,
                    CONVERGENCE_MS / 1_000
                );
                return Err(self.fail_node(index, what));
            }
        }
        Ok(())
    }

    /// What must hold at the end.
    pub(super) fn end(&mut self) -> Outcome {
        for index in 0..self.nodes.len() {
            let node = &mut self.nodes[index];
            let (all, mempool) = (node.compare_all(), node.check_mempool());
            if let Err(what) = all.and(mempool) {
                return Err(Failure { node: Some(index), what, ms: self.now_ms });
            }
            self.stats.height = self.stats.height.max(self.nodes[index].replay.height());
        }
        Ok(())
    }
}

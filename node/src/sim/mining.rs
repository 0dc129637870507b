//! Finding blocks, and paying.

use chain::{block::Block, pow::Target};
use miner::{Template, TemplateRequest};

use super::{
    hostile::Attacker,
    node::Node,
    world::{Happening, Outcome, World},
};

/// How far a node's clock may be off for it to go on mining, in seconds: whoever runs a miner with a wrong clock
/// makes blocks that nobody else takes, which is no fault of the engine's.
const MAX_MINING_OFF_SECS: u64 = 3;

impl World {
    fn power(&self, actor: usize) -> u64 {
        match actor.checked_sub(self.nodes.len()) {
            None => self.scenario.powers.get(actor).copied().unwrap_or(0),
            Some(number) => self.scenario.attackers.get(number).map_or(0, |(_, power)| *power),
        }
    }

    /// Draws when an actor finds its next block. As finding has no memory it may be drawn anew whenever the tip
    /// moves.
    pub(super) fn schedule_find(&mut self, actor: usize) {
        let power = self.power(actor);
        let bits = match actor.checked_sub(self.nodes.len()) {
            None => self.nodes[actor].engine.as_ref().map(|engine| engine.ledger().next_bits()),
            Some(number) => Some(self.attackers[number].ledger().next_bits()),
        };
        let target = bits.and_then(|bits| bits.to_target().ok());
        let Some(target) = target.filter(|_| power > 0) else { return };
        let epoch = self.epochs.entry(actor).or_default();
        *epoch += 1;
        let epoch = *epoch;
        let mean_ms = expected_hashes(target).saturating_mul(1_000_000) / power;
        let wait_ms = self.chance.wait_ms(mean_ms);
        self.later(wait_ms, Happening::Find { actor, epoch });
    }

    pub(super) fn find(&mut self, actor: usize, epoch: u64) -> Outcome {
        if self.epochs.get(&actor) != Some(&epoch) || !self.is_mining {
            return Ok(());
        }
        if actor >= self.nodes.len() {
            self.with_attacker(actor, Attacker::on_found)?;
            self.schedule_find(actor);
            return Ok(());
        }
        self.stats.found += 1;
        let number = self.stats.found;
        let Some(block) = mined(&self.nodes[actor], self.now_ms, number) else {
            self.schedule_find(actor);
            return Ok(());
        };
        let hash = block.hash();
        let now = self.nodes[actor].now(self.now_ms);
        let Some(engine) = &mut self.nodes[actor].engine else { return Ok(()) };
        let outcome = engine.submit_block(block, now);
        let actions = engine.drain();
        self.note(actor, || format!("mines {hash}"));
        match outcome {
            Ok(update) => {
                if let Some(error) = update.refusal(&hash) {
                    return Err(self.fail_node(actor, format!("refuses its own block: {error}")));
                }
            }
            Err(chain::error::SubmitError::Storage(error)) => return self.storage_failed(actor, &error),
            Err(error) => return Err(self.fail_node(actor, format!("refuses its own block: {error}"))),
        }
        self.follow_up(actor, actions, false)?;
        self.schedule_find(actor);
        Ok(())
    }

    pub(super) fn pay(&mut self) -> Outcome {
        let wait_ms = self.chance.wait_ms(self.scenario.payment_mean_ms).max(1);
        self.later(wait_ms, Happening::Pay);
        let index = self.chance.index(self.nodes.len());
        let owner = self.chance.index(self.nodes.len());
        let node = &mut self.nodes[index];
        let now = node.now(self.now_ms);
        let Some(engine) = &mut node.engine else { return Ok(()) };
        let payment = self.purse.payment(owner, engine, &node.replay, &mut self.chance);
        let Some(payment) = payment else { return Ok(()) };
        let outcome = engine.submit_transaction(payment, now);
        let actions = engine.drain();
        match outcome {
            Ok(_) => self.stats.payments += 1,
            Err(error) => {
                self.stats.refused_payments += 1;
                self.note(index, || format!("refuses a payment: {error}"));
            }
        }
        self.follow_up(index, actions, false)
    }
}

/// Hashes that it takes to meet a target, on average.
fn expected_hashes(target: Target) -> u64 {
    let work = target.work().to_be_bytes();
    let mut low = [0; 8];
    low.copy_from_slice(&work[24..]);
    u64::from_be_bytes(low)
}

/// A block of what waits at a node, solved; none where its clock is too far off.
fn mined(node: &Node, now_ms: u64, number: u64) -> Option<Block> {
    if node.clock_off_secs.unsigned_abs() > MAX_MINING_OFF_SECS {
        return None;
    }
    let engine = node.engine.as_ref()?;
    let ledger = engine.ledger();
    let mut free_run = [0; chain::transaction::FREE_RUN_BYTES];
    free_run[8..16].copy_from_slice(&number.to_le_bytes());
    let tip = ledger.tip();
    let request = TemplateRequest {
        params: ledger.chain().params(),
        previous: tip.id.hash,
        height: ledger.next_spend_context().height,
        bits: ledger.next_bits(),
        median_time_past: tip.median_time_past,
        now: node.now(now_ms).wall,
        pay_to: node.pay_to,
        free_run,
    };
    let template = Template::new(&request, engine.mempool().packages()).ok()?;
    let mut header = template.header_with(0, template.time, 0);
    while !template.target.is_met_by(&header.hash()) {
        header.nonce = header.nonce.checked_add(1)?;
    }
    Some(template.solve_with(header.nonce, template.time, 0))
}

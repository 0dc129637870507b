//! The ledger against a naive model, over random trees of blocks with payments, forks and faults.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
};

use chain::{
    block::Block,
    error::SubmitError,
    hash::BlockHash,
    ledger::{AdviceError, Ledger},
    memory::MemoryStore,
    transaction::{OutPoint, Output, Transaction},
};
use proptest::{collection::vec, prelude::*, sample::Index};

use crate::build::{Held, Key, World, coins, miner, pay, seal, to};

/// What a random block does.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Nothing,
    /// Spends coins, the later ones from hand to hand in the same block.
    Pay {
        coins: usize,
        hands: usize,
    },
    /// Spends a coin of the whole tree, which may not be there on this branch.
    PayForeign,
    /// Spends a coin twice in two transactions.
    DoubleSpend,
    /// Claims a pebble too much.
    OverClaim,
    /// Signs with the wrong key.
    Forge,
}

#[derive(Clone, Debug)]
struct Plan {
    parent: Index,
    deed: Deed,
    coin: Index,
}

fn plan() -> impl Strategy<Value = Plan> {
    let deed = prop_oneof![
        4 => Just(Deed::Nothing),
        6 => (1_usize..3, 0_usize..3).prop_map(|(coins, hands)| Deed::Pay { coins, hands }),
        1 => Just(Deed::PayForeign),
        1 => Just(Deed::DoubleSpend),
        1 => Just(Deed::OverClaim),
        1 => Just(Deed::Forge),
    ];
    (any::<Index>(), deed, any::<Index>()).prop_map(|(parent, deed, coin)| Plan { parent, deed, coin })
}

type Coins = BTreeMap<OutPoint, Output>;

/// A block as the model knows it: the coins after it, or nothing if it or a block below is invalid.
struct Known {
    block: Option<Block>,
    hash: BlockHash,
    parent: usize,
    height: u32,
    coins: Option<Coins>,
}

/// Plays a block naively: each transaction removes what it spends and adds what it makes.
fn play(before: &Coins, block: &Block, subsidy: u64, forged: bool) -> Option<Coins> {
    let mut coins = before.clone();
    let mut fees = 0;
    for transaction in &block.transactions {
        let mut value = 0;
        for input in &transaction.inputs {
            value += coins.remove(input)?.amount.pebbles();
        }
        fees += value.checked_sub(transaction.outputs.iter().map(|output| output.amount.pebbles()).sum())?;
        add(&mut coins, transaction.txid(), &transaction.outputs);
    }
    let claim: u64 = block.coinbase.outputs.iter().map(|output| output.amount.pebbles()).sum();
    add(&mut coins, block.coinbase.txid(), &block.coinbase.outputs);
    (claim <= subsidy + fees && !forged).then_some(coins)
}

fn add(coins: &mut Coins, txid: chain::hash::TxId, outputs: &[Output]) {
    for (index, output) in (0..).zip(outputs) {
        coins.insert(OutPoint { txid, index }, output.clone());
    }
}

/// Builds the tree of blocks that the plans describe. `world` only drafts; it sees headers, no bodies.
fn build(world: &mut World, plans: &[Plan]) -> Vec<Known> {
    let genesis =
        Known { block: None, hash: world.chain.id(), parent: 0, height: 0, coins: Some(Coins::new()) };
    let mut known = vec![genesis];
    let mut everything: Vec<Held> = Vec::new();
    for plan in plans {
        // Mostly one of the last blocks, so that branches grow.
        let near = known.len().saturating_sub(4);
        let parent = near + plan.parent.index(known.len() - near);
        let here: Vec<Held> = match &known[parent].coins {
            Some(coins) => coins.iter().map(|(outpoint, output)| (*outpoint, output.clone())).collect(),
            None => Vec::new(),
        };
        let pick = |offset: usize| {
            here.get((plan.coin.index(here.len().max(1)) + offset) % here.len().max(1)).cloned()
        };
        let mut transactions: Vec<Transaction> = Vec::new();
        let mut forged = false;
        match (plan.deed, pick(0)) {
            (Deed::Pay { coins, hands }, Some(_)) => {
                for coin in 0..coins.min(here.len()) {
                    let mut coin = pick(coin).expect("there are as many");
                    for _ in 0..=hands {
                        let amount = coin.1.amount.pebbles().saturating_sub(1).max(1);
                        let payment = pay(&world.chain, &[coin], &miner(), vec![to(&miner(), amount)]);
                        coin = crate::build::held(&payment, 0);
                        transactions.push(payment);
                    }
                }
            }
            (Deed::PayForeign, _) if !everything.is_empty() => {
                let coin = everything[plan.coin.index(everything.len())].clone();
                transactions.push(pay(&world.chain, &[coin], &miner(), vec![to(&miner(), 1)]));
            }
            (Deed::DoubleSpend, Some(coin)) => {
                for amount in [1, 2] {
                    let coin = coin.clone();
                    transactions.push(pay(&world.chain, &[coin], &miner(), vec![to(&miner(), amount)]));
                }
            }
            (Deed::Forge, Some(coin)) => {
                let mut payment = pay(&world.chain, &[coin], &miner(), vec![to(&Key::new(3), 1)]);
                payment.outputs = vec![to(&Key::new(4), 1)];
                transactions.push(payment);
                forged = true;
            }
            _ => {}
        }
        let mut block = world.draft_on(known[parent].hash, transactions);
        if matches!(plan.deed, Deed::OverClaim) {
            block.coinbase.outputs = vec![to(&miner(), coins(50) + 1)];
            seal(&mut block);
        }
        world.ledger.submit_headers(&[block.header], block.header.time).expect("a good header");
        let height = known[parent].height + 1;
        let subsidy = world.subsidy(height);
        let after = known[parent].coins.as_ref().and_then(|before| play(before, &block, subsidy, forged));
        everything.extend(after.iter().flatten().map(|(outpoint, output)| (*outpoint, output.clone())));
        known.push(Known { hash: block.hash(), block: Some(block), parent, height, coins: after });
    }
    known
}

/// The tip that rule L1 demands: of all valid blocks of which the bodies are here down to the genesis block,
/// the highest (all are worth the same), and of several the first that was complete.
fn expected_tip(known: &[Known], arrived: &HashMap<usize, usize>) -> usize {
    let complete = |index: usize| {
        let mut order = 0;
        let mut at = index;
        while at != 0 {
            order = order.max(*arrived.get(&at)?);
            at = known[at].parent;
        }
        Some(order)
    };
    (0..known.len())
        .filter(|index| known[*index].coins.is_some())
        .filter_map(|index| Some((known[index].height, Reverse(complete(index)?), Reverse(index))))
        .max()
        .map_or(0, |(.., Reverse(index))| index)
}

fn coins_of(ledger: &Ledger<MemoryStore>) -> Coins {
    ledger.store().utxo_set().iter().map(|(outpoint, coin)| (*outpoint, coin.output.clone())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn the_ledger_equals_a_naive_replay(
        plans in vec(plan(), 1..40), order in vec(any::<Index>(), 40),
    ) {
        let mut world = World::easy();
        let known = build(&mut world, &plans);
        // Bodies come in any order.
        let mut waiting: Vec<usize> = (1..known.len()).collect();
        let mut arrived = HashMap::new();
        for pick in order.iter().take(plans.len()) {
            // Mostly in order: one of the next few.
            let next = waiting.remove(pick.index(waiting.len().min(6)));
            let block = known[next].block.as_ref().expect("not the genesis block");
            match world.submit(block) {
                Ok(update) => {
                    for (id, _) in &update.refused {
                        let guilty = known.iter().find(|known| known.hash == id.hash).expect("one of ours");
                        prop_assert!(guilty.coins.is_none(), "a valid block was refused");
                    }
                    arrived.insert(next, arrived.len() + 1);
                }
                // A block above one that was found invalid.
                Err(SubmitError::KnownInvalid(_)) => prop_assert!(known[next].coins.is_none()),
                Err(other) => prop_assert!(false, "{other}"),
            }
            let tip = expected_tip(&known, &arrived);
            let active = world.ledger.tip();
            prop_assert_eq!(active.id.height.get(), known[tip].height, "the same work");
            let followed = known.iter().position(|known| known.hash == active.id.hash).expect("one of ours");
            let coins = known[followed].coins.as_ref().expect("no invalid block is ever the tip");
            prop_assert_eq!(&coins_of(&world.ledger), coins, "the coins of a replay");
            prop_assert_eq!(active.id.hash, known[tip].hash, "of equals the first that was complete");
        }
        // A new start over the same store is the same ledger.
        let again = Ledger::open(world.chain.clone(), world.ledger.store().clone()).expect("a good store");
        prop_assert_eq!(again.tip(), world.ledger.tip());
        // No fees are claimed here, so that what is there is what was made less what was given away.
        let made: u64 = (1..=world.height()).map(|height| world.subsidy(height)).sum();
        let there: u64 = coins_of(&world.ledger).values().map(|output| output.amount.pebbles()).sum();
        prop_assert!(there <= made);
    }

    #[test]
    fn any_order_of_arrival_ends_with_the_same_work(
        plans in vec(plan(), 1..25), order in vec(any::<Index>(), 25),
    ) {
        let mut world = World::easy();
        let known = build(&mut world, &plans);
        let best = known.iter().filter(|known| known.coins.is_some()).map(|known| known.height).max();
        // A ledger that saw no header before: what comes too early waits until it is wanted.
        let mut fresh = World::over(world.chain.clone(), MemoryStore::default());
        let mut waiting: Vec<usize> = (1..known.len()).collect();
        let mut orphans: Vec<usize> = Vec::new();
        for pick in order.iter().take(plans.len()) {
            orphans.push(waiting.remove(pick.index(waiting.len())));
            loop {
                let before = orphans.len();
                orphans.retain(|index| {
                    let block = known[*index].block.as_ref().expect("not the genesis block");
                    matches!(fresh.submit(block), Err(SubmitError::UnknownParent(_)))
                });
                if orphans.len() == before {
                    break;
                }
            }
        }
        // What still waits stands on a block that was refused with its header.
        for index in &orphans {
            prop_assert!(known[*index].coins.is_none());
        }
        prop_assert_eq!(Some(fresh.height()), best);
        let tip = known.iter().find(|known| known.hash == fresh.tip()).expect("one of ours");
        prop_assert_eq!(Some(&coins_of(&fresh.ledger)), tip.coins.as_ref());
    }

    #[test]
    fn disconnecting_undoes_connecting(plans in vec(plan(), 1..12)) {
        let mut world = World::easy();
        // A line of blocks, bad ones left out.
        let line: Vec<Plan> = plans
            .into_iter()
            .map(|plan| Plan { deed: match plan.deed { Deed::Pay { .. } => plan.deed, _ => Deed::Nothing }, ..plan })
            .collect();
        let known = build(&mut world, &line);
        for known in &known[1..] {
            world.accept(known.block.as_ref().expect("not the genesis block"));
        }
        let tip = world.tip();
        let before = world.ledger.store().utxo_set().clone();
        // Down to the genesis block, by a longer branch of empty blocks, and up again by a still longer one.
        let height = world.height();
        let mut other = world.chain.id();
        for _ in 0..=height {
            other = world.mine_on(other, Vec::new()).hash();
        }
        prop_assert_eq!(world.tip(), other);
        prop_assert_eq!(world.ledger.store().utxo_set().len(), usize::try_from(height + 1).expect("small"));
        let one = world.mine_on(tip, Vec::new());
        let two = world.mine_on(one.hash(), Vec::new());
        prop_assert_eq!(world.tip(), two.hash());
        let mut after = world.ledger.store().utxo_set().clone();
        for block in [one, two] {
            after.remove(&OutPoint { txid: block.coinbase.txid(), index: 0 });
        }
        prop_assert_eq!(after, before);
    }

    #[test]
    fn blocks_taken_together_end_where_blocks_taken_one_by_one_end(
        plans in vec(plan(), 1..40), sizes in vec(1_usize..12, 40),
    ) {
        let mut drafting = World::easy();
        let known = build(&mut drafting, &plans);
        let mut one_by_one = World::over(drafting.chain.clone(), MemoryStore::default());
        let mut together = World::over(drafting.chain.clone(), MemoryStore::default());
        let blocks: Vec<Block> = known.iter().filter_map(|known| known.block.clone()).collect();
        let mut rest = blocks.as_slice();
        for size in sizes {
            let (now, later) = rest.split_at(size.min(rest.len()));
            rest = later;
            let Some(last) = now.last() else { break };
            for block in now {
                // Whether it is refused now or when it is to be connected is told below.
                drop(one_by_one.submit(block));
            }
            let answer = together.ledger.submit_many(now.to_vec(), last.header.time.saturating_add_secs(7_000));
            let answer = answer.expect("no storage fault");
            prop_assert_eq!(answer.outcomes.len(), now.len());
            for ((hash, outcome), block) in answer.outcomes.iter().zip(now) {
                prop_assert_eq!(*hash, block.hash());
                let model = known.iter().find(|known| known.hash == *hash).expect("one of ours");
                prop_assert!(outcome.is_ok() || model.coins.is_none(), "a valid block was refused");
            }
            for (id, _) in &answer.update.refused {
                let guilty = known.iter().find(|known| known.hash == id.hash).expect("one of ours");
                prop_assert!(guilty.coins.is_none(), "a valid block was refused");
            }
            prop_assert_eq!(together.ledger.tip().work, one_by_one.ledger.tip().work);
            let tip = known.iter().find(|known| known.hash == together.tip()).expect("one of ours");
            prop_assert_eq!(Some(&coins_of(&together.ledger)), tip.coins.as_ref());
        }
        // Nothing that is valid is marked, in either.
        for known in known.iter().filter(|known| known.coins.is_some()) {
            let marked = |world: &World| known.block.as_ref().is_some_and(|block| world.is_marked(block));
            prop_assert!(!marked(&together) && !marked(&one_by_one));
        }
    }

    #[test]
    fn what_is_given_up_and_taken_back_is_as_before(
        plans in vec(plan(), 1..25), pick in any::<Index>(),
    ) {
        let mut drafting = World::easy();
        let known = build(&mut drafting, &plans);
        let mut world = World::over(drafting.chain.clone(), MemoryStore::default());
        for block in known.iter().filter_map(|known| known.block.as_ref()) {
            drop(world.submit(block));
        }
        let (tip, coins) = (world.tip(), coins_of(&world.ledger));
        let given_up = known[pick.index(known.len())].hash;
        match world.ledger.invalidate(&given_up) {
            Err(AdviceError::Genesis) => prop_assert_eq!(given_up, world.chain.id()),
            // Its header stands on a block that was refused at once.
            Err(AdviceError::Unknown(_)) => {
                prop_assert!(known.iter().any(|known| known.hash == given_up && known.coins.is_none()));
            }
            Err(other) => prop_assert!(false, "{}", other),
            Ok(update) => {
                prop_assert_eq!(update.reverted.first().map(|id| id.hash).is_none_or(|hash| hash == tip), true);
                let active = world.ledger.tree().find(&given_up).filter(|id| world.ledger.is_active(*id));
                prop_assert_eq!(active, None, "it left the chain");
                let now = known.iter().find(|known| known.hash == world.tip()).expect("one of ours");
                prop_assert_eq!(Some(&coins_of(&world.ledger)), now.coins.as_ref());
                // It stays given up after a new start.
                let again = Ledger::open(world.chain.clone(), world.ledger.store().clone()).expect("a good store");
                prop_assert_eq!(again.tip().id.hash, world.tip());
                world.ledger.reconsider(&given_up).expect("it is known");
                prop_assert_eq!(coins_of(&world.ledger).is_empty(), coins.is_empty());
                prop_assert_eq!(world.ledger.tip().work, again_work(&known, &world));
                // Equals may have taken its place; of those it is the one that came first.
                world.ledger.make_precious(&tip).expect("it is known");
                prop_assert_eq!(world.tip(), tip);
                prop_assert_eq!(coins_of(&world.ledger), coins);
            }
        }
    }
}

/// The most work of a valid block of the model, all of which are in the world.
fn again_work(known: &[Known], world: &World) -> chain::pow::Work {
    let tree = world.ledger.tree();
    let valid = known.iter().filter(|known| known.coins.is_some());
    let work = valid.filter_map(|known| tree.find(&known.hash)).map(|id| tree.node(id).work());
    work.max().expect("the genesis block is valid")
}

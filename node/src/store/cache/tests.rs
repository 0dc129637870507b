//! The cache over a map that plays the database, against a map that knows everything.

use std::{collections::BTreeMap, hash::BuildHasher};

use chain::hash::{TxId, sha256};
use proptest::prelude::*;

use super::*;

/// Coins by name.
type Coins = BTreeMap<OutPoint, Coin>;

fn outpoint(number: u16) -> OutPoint {
    OutPoint { txid: TxId::from_bytes(sha256(&number.to_le_bytes())), index: u32::from(number % 3) }
}

fn coin(number: u16, height: u32) -> Coin {
    let address = Address::from_bytes([number.to_le_bytes()[0]; 32]);
    let output = Output::pay(address, Amount::from_pebbles(u64::from(number) + 1));
    Coin { output, height: Height::new(height), coinbase: number.is_multiple_of(5) }
}

/// One step. Numbers are reduced to what there is.
#[derive(Clone, Debug)]
enum Step {
    /// Spends some coins and makes others.
    Connect {
        spent: Vec<u16>,
        created: u16,
    },
    /// Takes the last block back; what it made may come again in another block, at another height.
    Disconnect,
    Flush,
    /// The process dies: only what was flushed is left.
    Crash,
    /// Reads beside the blocks, as the mempool does.
    Read(Vec<u16>),
}

fn step() -> impl Strategy<Value = Step> {
    let numbers = || prop::collection::vec(any::<u16>(), 0..40);
    prop_oneof![
        6 => (numbers(), 0u16..60).prop_map(|(spent, created)| Step::Connect { spent, created }),
        3 => Just(Step::Disconnect),
        2 => Just(Step::Flush),
        1 => Just(Step::Crash),
        2 => numbers().prop_map(Step::Read),
    ]
}

struct Block {
    spent: Vec<(OutPoint, Coin)>,
    created: Vec<(OutPoint, Coin)>,
}

/// The cache and its surroundings.
struct World {
    cache: CoinCache,
    database: Coins,
    flushed_blocks: usize,
    truth: Coins,
    blocks: Vec<Block>,
    next_number: u16,
}

impl World {
    fn new(max_coins: usize) -> Self {
        let mut cache = CoinCache::new(0);
        cache.max_coins = max_coins;
        Self {
            cache,
            database: Coins::new(),
            flushed_blocks: 0,
            truth: Coins::new(),
            blocks: Vec::new(),
            next_number: 0,
        }
    }

    /// As the store reads: cache first, then the database, and what it has is kept.
    fn read(&mut self, outpoint: &OutPoint) -> Option<Coin> {
        match self.cache.get(outpoint) {
            Known::Coin(coin) => Some(coin),
            Known::Spent => None,
            Known::Unknown => {
                let coin = self.database.get(outpoint)?;
                self.cache.remember(outpoint, coin);
                Some(coin.clone())
            }
        }
    }

    fn apply(&mut self, gone: &[(OutPoint, Coin)], come: &[(OutPoint, Coin)]) {
        for (outpoint, coin) in gone {
            assert_eq!(self.read(outpoint).as_ref(), Some(coin));
            let wrong = Coin { height: Height::new(coin.height.get() + 1), ..coin.clone() };
            assert_eq!(self.cache.spend(outpoint, &wrong), Err(Misfit::NotThere));
            // What was refused may have been forgotten, as after every misfit the store stops.
            if self.cache.get(outpoint) == Known::Unknown {
                self.read(outpoint);
            }
            assert_eq!(self.cache.spend(outpoint, coin), Ok(()));
            assert!(self.cache.spend(outpoint, coin).is_err(), "it is gone");
            self.truth.remove(outpoint);
        }
        for (outpoint, coin) in come {
            assert_eq!(self.cache.create(outpoint, coin), Ok(()));
            assert_eq!(self.cache.create(outpoint, coin), Err(Misfit::Exists));
            self.truth.insert(*outpoint, coin.clone());
        }
    }

    fn flush(&mut self) {
        let mut written = 0;
        let mut last = None;
        for (outpoint, coin) in self.cache.pending() {
            assert!(last < Some(*outpoint), "the rows are sorted");
            last = Some(*outpoint);
            written += 1;
            match coin {
                Some(coin) => drop(self.database.insert(*outpoint, coin)),
                None => assert!(self.database.remove(outpoint).is_some(), "no row is removed in vain"),
            }
        }
        assert_eq!(written, self.cache.dirty());
        self.cache.settle();
        self.flushed_blocks = self.blocks.len();
        assert_eq!(self.database, self.truth);
        assert_eq!(self.cache.dirty(), 0);
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Connect { spent, created } => {
                let mut gone = Coins::new();
                for number in spent.iter().filter(|_| !self.truth.is_empty()) {
                    let index = usize::from(*number) % self.truth.len();
                    gone.extend(self.truth.iter().nth(index).map(|(name, coin)| (*name, coin.clone())));
                }
                let height = u32::try_from(self.blocks.len()).expect("few");
                // Half of the coins take up numbers that an earlier, disconnected block may have used.
                let numbers = self.next_number..self.next_number + created;
                let come = numbers.map(|number| (outpoint(number), coin(number, height)));
                let come: Vec<_> = come.filter(|(name, _)| !self.truth.contains_key(name)).collect();
                self.next_number += created / 2;
                let gone: Vec<_> = gone.into_iter().collect();
                // A coin that was spent further down must not be made again: ids never repeat on one chain.
                let spent_below = |name: &OutPoint| {
                    self.blocks.iter().any(|block| block.spent.iter().any(|(it, _)| it == name))
                        || gone.iter().any(|(it, _)| it == name)
                };
                let come: Vec<_> = come.into_iter().filter(|(name, _)| !spent_below(name)).collect();
                self.apply(&gone, &come);
                self.blocks.push(Block { spent: gone, created: come });
            }
            Step::Disconnect => {
                if let Some(block) = self.blocks.pop() {
                    self.apply(&block.created, &block.spent);
                    if self.flushed_blocks > self.blocks.len() {
                        // The flushed state is not below this one: it is flushed before a crash is played.
                        self.flush();
                    }
                }
            }
            Step::Flush => self.flush(),
            Step::Crash => {
                self.cache.clear();
                while self.blocks.len() > self.flushed_blocks {
                    let block = self.blocks.pop().expect("above the flushed ones");
                    block.created.iter().for_each(|(name, _)| drop(self.truth.remove(name)));
                    self.truth.extend(block.spent);
                }
                assert_eq!(self.database, self.truth);
            }
            Step::Read(numbers) => {
                for number in numbers {
                    let name = outpoint(number % self.next_number.max(1));
                    assert_eq!(self.read(&name).as_ref(), self.truth.get(&name));
                }
            }
        }
        if self.cache.is_full() {
            self.flush();
        }
        let rows = self.cache.young.len() + self.cache.old.len();
        assert!(rows <= 2 * self.cache.max_coins + 200, "{rows} coins are in the cache");
    }
}

proptest! {
    #[test]
    fn the_cache_equals_a_map(steps in prop::collection::vec(step(), 0..60), max_coins in 8usize..400) {
        let mut world = World::new(max_coins);
        for step in &steps {
            world.take(step);
            for (name, coin) in world.truth.clone() {
                if let Known::Coin(found) = world.cache.get(&name) {
                    prop_assert_eq!(found, coin);
                }
            }
        }
        world.flush();
    }
}

#[test]
fn coins_that_are_born_and_spent_never_reach_the_disk() {
    let mut cache = CoinCache::new(1 << 20);
    for number in 0..1_000 {
        cache.create(&outpoint(number), &coin(number, 1)).expect("new");
    }
    for number in 0..999 {
        cache.spend(&outpoint(number), &coin(number, 1)).expect("there");
    }
    assert_eq!(cache.dirty(), 1);
    assert_eq!(cache.pending().count(), 1);
    cache.settle();
    assert_eq!(cache.get(&outpoint(999)), Known::Coin(coin(999, 1)), "it stays after the flush");
    assert_eq!(cache.pending().count(), 0);
}

#[test]
fn the_cache_keeps_its_budget() {
    for budget in [1 << 20, 5 << 20, 64 << 20] {
        let mut cache = CoinCache::new(budget);
        for number in 0..=u16::MAX {
            for index in 0..16 {
                let name = OutPoint { index, ..outpoint(number) };
                cache.remember(&name, &coin(number, index));
            }
        }
        let bytes = cache.bytes();
        assert!(bytes <= budget, "{bytes} of {budget}");
        assert!(bytes > budget / 4, "{bytes} of {budget}");
    }
}

#[test]
fn coins_are_plain_bytes() {
    assert_eq!(PLACE_BYTES, 89);
    assert!(!mem::needs_drop::<Slot>());
}

#[test]
fn the_hash_spreads_and_is_keyed() {
    let (one, other) = (KeyedState::new(), KeyedState::new());
    // Ids that were ground to be equal but for one bit, or the index.
    let names = (0..256u32).map(|bit| {
        let mut txid = [0; 32];
        txid[usize::try_from(bit / 8).expect("small")] = 1 << (bit % 8);
        OutPoint { txid: TxId::from_bytes(txid), index: 0 }
    });
    let names = names.chain((0..256).map(|index| OutPoint { txid: TxId::ZERO, index }));
    let mut places = [0; 256];
    let mut tags = [0; 128];
    for name in names {
        let hash = one.hash_one(name);
        assert_ne!(hash, other.hash_one(name));
        places[usize::try_from(hash % 256).expect("small")] += 1;
        tags[usize::try_from(hash >> 57).expect("small")] += 1;
    }
    assert!(places.iter().all(|count| *count < 16), "{places:?}");
    assert!(tags.iter().all(|count| *count < 24), "{tags:?}");
}

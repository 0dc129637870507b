//! The running miner: finds blocks, rolls time and extranonce, obeys at once. Work is counted, never time.

use std::{
    num::NonZeroUsize,
    ops::RangeInclusive,
    sync::{
        Arc,
        mpsc::{Receiver, sync_channel},
    },
    thread,
    time::Instant,
};

use chain::{
    address::Address,
    block::{Block, Header},
    hash::BlockHash,
    height::Height,
    params::Params,
    pow::CompactTarget,
    time::Time,
    transaction::FREE_RUN_BYTES,
};

use super::{Job, Miner, MinerConfig};
use crate::{
    benchmark::plain_loop,
    roll::Roll,
    search::CHUNK_NONCES,
    template::{Template, TemplateRequest},
};

/// Every second hash meets it.
const EASY: u32 = 0x207f_ffff;
/// One hash in 256 meets it.
const MODERATE: u32 = 0x2000_ffff;
/// One hash in 65,536 meets it.
const HARD: u32 = 0x1f00_ffff;
/// The target 1: no hash meets it.
const IMPOSSIBLE: u32 = 0x0101_0000;

/// A template for these bits; `mark` makes its blocks recognisable.
fn template(bits: u32, mark: u8) -> Arc<Template> {
    let params = Params::dev();
    let request = TemplateRequest {
        params: &params,
        previous: BlockHash::from_bytes([mark; 32]),
        height: Height::new(1),
        bits: CompactTarget::from_u32(bits),
        median_time_past: Time::from_secs(1_800_000_000),
        now: Time::from_secs(1_800_000_050),
        pay_to: Address::from_bytes([5; 32]),
        free_run: [0; FREE_RUN_BYTES],
    };
    Arc::new(Template::new(&request, Vec::<crate::Candidate>::new()).expect("a valid request"))
}

fn job(bits: u32, mark: u8, nonces: RangeInclusive<u32>) -> Job {
    Job { nonces, ..Job::new(template(bits, mark)) }
}

/// A miner, and the blocks that it finds.
fn spawn(threads: usize, throttle_hashes_per_sec: Option<u64>) -> (Miner, Receiver<Block>) {
    let (sender, receiver) = sync_channel(8);
    let config = MinerConfig { threads: NonZeroUsize::new(threads), throttle_hashes_per_sec };
    let miner = Miner::spawn(&config, move |block| {
        sender.try_send(block).expect("the test takes every block");
    });
    (miner.expect("a few threads"), receiver)
}

/// The headers of a job in the order in which they are to be searched.
fn rolls(job: &Job) -> impl Iterator<Item = Roll> {
    let times = job.template.time..=job.template.max_time;
    let first = Roll { time: job.template.time, extranonce: job.extranonce };
    std::iter::successors(Some(first), move |roll| roll.next(&times))
}

/// What a plain loop finds in one header of a job.
fn plain(job: &Job, roll: Roll) -> Vec<u32> {
    let header = job.template.header_with(0, roll.time, roll.extranonce).to_bytes();
    plain_loop(&header, &job.template.target.to_be_bytes(), job.nonces.clone())
}

#[test]
fn a_block_is_found_and_then_the_miner_rests() {
    let (miner, blocks) = spawn(2, None);
    assert_eq!(miner.threads(), 2);
    let job = Job::new(template(HARD, 1));
    miner.set_job(Some(job.clone()));
    let block = blocks.recv().expect("a block");
    assert!(job.template.target.is_met_by(&block.hash()));
    let Header { nonce, time, .. } = block.header;
    assert_eq!(block, job.template.solve_with(nonce, time, 0));
    assert!(!miner.has_job());
    assert!(miner.hashes() > 0 && miner.hashes_per_sec() > 0);
    miner.stop().expect("an orderly end");
    assert!(blocks.recv().is_err(), "one job gives one block");
}

#[test]
fn time_rolls_then_the_extranonce() {
    // One nonce a header: the block is the first header, in their order, whose only nonce solves it.
    let (miner, blocks) = spawn(3, None);
    for mark in 1..=20 {
        let job = Job { extranonce: 1_000, ..job(MODERATE, mark, 42..=42) };
        miner.set_job(Some(job.clone()));
        let block = blocks.recv().expect("a block");
        let expected = rolls(&job).find(|roll| !plain(&job, *roll).is_empty()).expect("2^64 headers");
        assert_eq!(block, job.template.solve_with(42, expected.time, expected.extranonce));
        assert!(block.header.time >= job.template.min_time && block.header.time <= job.template.max_time);
    }
    miner.stop().expect("an orderly end");
}

#[test]
fn a_job_that_is_used_up_has_cost_each_hash_once() {
    let (miner, blocks) = spawn(3, None);
    // The last extranonce: only the time is left to roll.
    let job = Job { extranonce: u64::MAX, ..job(IMPOSSIBLE, 1, 5..=20_004) };
    let times = u64::from(job.template.max_time.secs() - job.template.time.secs()) + 1;
    assert!(times > 1);
    miner.set_job(Some(job.clone()));
    while miner.has_job() {
        thread::yield_now();
    }
    assert_eq!(miner.hashes(), times * 20_000);
    // A job without a nonce is used up at once, whatever it could roll.
    #[expect(clippy::reversed_empty_ranges, reason = "an empty span is what is tested")]
    miner.set_job(Some(Job { nonces: 9..=8, extranonce: 0, ..job }));
    while miner.has_job() {
        thread::yield_now();
    }
    assert_eq!(miner.hashes(), times * 20_000);
    miner.stop().expect("an orderly end");
    assert!(blocks.recv().is_err());
}

#[test]
fn a_new_job_ends_the_old_one_within_a_chunk_a_thread() {
    let (miner, blocks) = spawn(4, None);
    for mark in 1..=20 {
        miner.set_job(Some(job(IMPOSSIBLE, mark, 0..=u32::MAX)));
        let before = miner.hashes();
        while miner.hashes() == before {
            thread::yield_now();
        }
        // The next job takes one hash a header.
        let next = job(EASY, mark + 100, 0..=0);
        let easy_hashes = 1 + rolls(&next).take_while(|roll| plain(&next, *roll).is_empty()).count() as u64;
        miner.set_job(Some(next.clone()));
        let at_change = miner.hashes();
        let block = blocks.recv().expect("a block");
        assert_eq!(block.header.previous, next.template.previous);
        let afterwards = miner.hashes() - at_change;
        assert!(afterwards <= 4 * CHUNK_NONCES + easy_hashes, "{afterwards}");
    }
    miner.stop().expect("an orderly end");
}

#[test]
fn no_job_means_no_hash() {
    let (miner, blocks) = spawn(2, None);
    miner.set_job(Some(job(IMPOSSIBLE, 1, 0..=u32::MAX)));
    miner.set_job(None);
    assert!(!miner.has_job());
    miner.stop().expect("a stop without a job");
    assert!(blocks.recv().is_err());
}

#[test]
fn stopping_in_the_middle_of_a_job_joins() {
    let (miner, blocks) = spawn(2, None);
    miner.set_job(Some(job(IMPOSSIBLE, 1, 0..=u32::MAX)));
    miner.stop().expect("an orderly end");
    assert!(blocks.recv().is_err());
    // Dropping does the same, whatever the workers wait for.
    for throttle in [None, Some(0), Some(1)] {
        let (miner, blocks) = spawn(2, throttle);
        miner.set_job(Some(job(IMPOSSIBLE, 1, 0..=u32::MAX)));
        drop(miner);
        assert!(blocks.recv().is_err());
    }
}

#[test]
fn a_throttled_miner_stays_below_its_rate() {
    let started = Instant::now();
    let (miner, blocks) = spawn(2, Some(4_000));
    for mark in 1..=4 {
        miner.set_job(Some(job(MODERATE, mark, 0..=u32::MAX)));
        blocks.recv().expect("a block");
    }
    let hashes = u128::from(miner.hashes());
    // Read after the count, so that the bound holds however slow the machine is.
    let allowed = started.elapsed().as_nanos() * 4_000 / 1_000_000_000;
    assert!(hashes <= allowed, "{hashes} hashes, {allowed} allowed");
    assert!(hashes > 0);
    miner.stop().expect("an orderly end");
}

#[test]
fn a_rate_of_zero_pauses_until_it_is_raised() {
    let (miner, blocks) = spawn(2, Some(0));
    miner.set_job(Some(job(EASY, 1, 0..=u32::MAX)));
    assert_eq!((miner.hashes(), miner.has_job()), (0, true));
    miner.set_throttle(Some(1_000_000));
    assert_eq!(blocks.recv().expect("a block").header.previous, BlockHash::from_bytes([1; 32]));
    miner.set_throttle(Some(0));
    miner.set_job(Some(job(EASY, 2, 0..=u32::MAX)));
    miner.set_throttle(None);
    assert_eq!(blocks.recv().expect("a block").header.previous, BlockHash::from_bytes([2; 32]));
    miner.stop().expect("an orderly end");
}

#[test]
fn another_throttle_keeps_the_place_in_the_job() {
    let (miner, blocks) = spawn(1, None);
    for mark in 1..=10 {
        let job = job(HARD, mark, 0..=1_000_000);
        let first = Roll { time: job.template.time, extranonce: 0 };
        let Some(nonce) = plain(&job, first).first().copied() else { continue };
        let before = miner.hashes();
        miner.set_job(Some(job));
        for rate in 0..50 {
            miner.set_throttle((rate % 2 == 0).then_some(1_000_000_000));
        }
        assert_eq!(blocks.recv().expect("a block").header.nonce, nonce);
        // Every nonce up to the solution once, and at most the rest of its batch of eight.
        let tested = miner.hashes() - before;
        assert!((u64::from(nonce) + 1..=u64::from(nonce) + 8).contains(&tested), "{tested} for {nonce}");
    }
    miner.stop().expect("an orderly end");
}

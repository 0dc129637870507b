//! Many engines on one virtual clock: what must hold of a network, whatever its order of events.
//!
//! Each test runs scenarios with a few seeds; a failure names the seed, which brings the run back event by event.
//! `make soak` runs many more.

use node::sim::{Attack, Fault, Plant, Report, Scenario, Split, Strategy, eclipse, run, run_scenario};

/// Seeds of the short form of `make soak`.
const SEEDS: u64 = 8;
/// Seeds within which a planted bug must be found.
const SEEDS_FOR_A_PLANT: u64 = 50;

/// Fails with all that is needed to run it again.
fn hold(seed: u64, report: &Report) {
    assert!(report.failure.is_none(), "seed {seed}: {:?}\n{}", report.failure, report.traces.concat());
    assert!(report.stats.convergences > 0, "seed {seed}: nobody was asked to agree");
}

fn hold_for(seeds: u64, scenario: &Scenario) -> Vec<Report> {
    let run = |seed| {
        let report = run_scenario(scenario, seed, None);
        hold(seed, &report);
        report
    };
    (1..=seeds).map(run).collect()
}

/// Gives an attacker so many percent of all power.
fn with_miner(mut scenario: Scenario, strategy: Strategy, percent: u64) -> Scenario {
    let honest: u64 = scenario.powers.iter().sum();
    scenario.attackers.push((strategy, honest * percent / (100 - percent)));
    scenario.share_power();
    scenario
}

#[test]
fn d02_a_seed_is_replayed_event_by_event() {
    let (once, again) = (run(1, None), run(1, None));
    assert_eq!(once.event_hash, again.event_hash);
    assert_eq!((once.stats, once.tips), (again.stats, again.tips));
    assert_ne!(once.event_hash, run(2, None).event_hash);
}

#[test]
fn a_few_seeds_of_any_weather_break_no_invariant() {
    for seed in 1..=SEEDS {
        hold(seed, &run(seed, None));
    }
}

#[test]
fn what_is_planted_is_found() {
    for name in Plant::names() {
        let plant = Plant::find(name);
        let found = (1..=SEEDS_FOR_A_PLANT).any(|seed| run(seed, plant).failure.is_some());
        assert!(found, "{name} is not found within {SEEDS_FOR_A_PLANT} seeds");
    }
}

/// The bound is held against every tip of every node: here against a majority that lies about the time.
#[test]
fn c07_a_majority_that_lies_about_the_time_does_not_outrun_the_schedule() {
    for percent in [30, 60] {
        let mut scenario = with_miner(Scenario::quiet(4), Strategy::TimeLiar, percent);
        (scenario.rounds, scenario.storm_ms) = (4, 300_000);
        for report in hold_for(2, &scenario) {
            assert!(report.stats.height > 100, "{:?}", report.stats);
        }
    }
}

/// A tip moves for strictly more work alone, and all agree in every calm: both are held against every event.
#[test]
fn c19_a_selfish_miner_makes_nobody_flap() {
    for percent in [33, 45] {
        let mut scenario = with_miner(Scenario::quiet(5), Strategy::Selfish, percent);
        (scenario.rounds, scenario.storm_ms) = (4, 200_000);
        for report in hold_for(2, &scenario) {
            assert!(report.stats.reorganisations > 0, "the selfish miner never won: {:?}", report.stats);
        }
    }
}

#[test]
fn p12_flooders_are_banned_and_nobody_else() {
    let all = [
        (Strategy::InvalidTransactions, true),
        (Strategy::InvalidBlocks, true),
        // These are banned only where they win a race, or are asked for what they claim.
        (Strategy::Mutator, false),
        (Strategy::Liar, false),
        (Strategy::HeaderSpam, false),
        (Strategy::Unsolicited, false),
    ];
    for (strategy, is_always_met) in all {
        let mut scenario = Scenario::quiet(4);
        scenario.attackers.push((strategy, 0));
        for report in hold_for(2, &scenario) {
            assert!(!is_always_met || report.stats.bans > 0, "{strategy:?}: {:?}", report.stats);
        }
    }
}

#[test]
fn p22_a_split_of_half_an_hour_is_healed_within_two_blocks_time() {
    const MINUTE_MS: u64 = 60_000;
    let mut scenario = Scenario::quiet(4);
    (scenario.rounds, scenario.storm_ms) = (1, 31 * MINUTE_MS);
    scenario.splits.push(Split { at_ms: MINUTE_MS, for_ms: 30 * MINUTE_MS, sides: vec![0, 0, 1, 1] });
    for report in hold_for(2, &scenario) {
        assert!(report.stats.deepest > 50, "the halves had no chains of their own: {:?}", report.stats);
        let (first, rest) = report.tips.split_first().expect("four nodes");
        assert!(rest.iter().all(|tip| tip == first), "{:?}", report.tips);
    }
}

#[test]
fn m07_what_waits_could_be_mined_after_every_change_of_the_tip() {
    let mut scenario = Scenario::quiet(6);
    scenario.faults = vec![Fault::Split, Fault::Reset];
    scenario.payment_mean_ms = 200;
    for report in hold_for(2, &scenario) {
        assert!(report.stats.payments > 300 && report.stats.reorganisations > 3, "{:?}", report.stats);
    }
}

#[test]
fn s11_wall_clocks_that_jump_by_hours_hold_nothing_up() {
    let mut scenario = Scenario::quiet(5);
    scenario.faults = vec![Fault::Clock];
    scenario.fault_mean_ms = 2_000;
    for report in hold_for(3, &scenario) {
        assert!(report.stats.faults > 50, "{:?}", report.stats);
    }
}

#[test]
fn s01_what_a_crash_takes_is_made_again() {
    let mut scenario = Scenario::quiet(4);
    scenario.faults = vec![Fault::Crash];
    scenario.fault_mean_ms = 2_000;
    for report in hold_for(3, &scenario) {
        assert!(report.stats.crashes > 20, "{:?}", report.stats);
    }
}

#[test]
fn p10_a_thousand_addresses_of_four_networks_do_not_eclipse_a_node_that_restarts() {
    const SEEDS: u64 = 100;
    let eclipsed: Vec<u64> = (1..=SEEDS).filter(|seed| eclipse(*seed, Attack::USUAL).honest == 0).collect();
    assert!(eclipsed.len() * 100 <= usize::try_from(SEEDS).expect("few"), "seeds {eclipsed:?}");
    // With a network group for each address it can be done: that is what the groups are for.
    let rich = Attack { addresses: 1_000, groups: 1_000 };
    assert!((1..=SEEDS).any(|seed| eclipse(seed, rich).honest == 0), "the attacker is none");
}

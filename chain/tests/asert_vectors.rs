//! ASERT against the 2,480 rows that Bitcoin Cash Node's generator published, and a proof that those rows
//! would find the commonest mistake: a division that rounds down instead of toward zero.

use chain::{
    difficulty::{Anchor, Asert, next_bits},
    height::Height,
    pow::{CompactTarget, Target},
    time::Time,
};
use ruint::aliases::U256;
use serde_json::Value;

const RUNS: [&str; 7] = [
    include_str!("vectors/asert/run01"),
    include_str!("vectors/asert/run02"),
    include_str!("vectors/asert/run03"),
    include_str!("vectors/asert/run04"),
    include_str!("vectors/asert/run05"),
    include_str!("vectors/asert/run06"),
    include_str!("vectors/asert/run07"),
];
const ROWS: usize = 2_480;

struct Run {
    anchor_height: u32,
    anchor_parent_time: i64,
    anchor_bits: CompactTarget,
    rows: Vec<Row>,
}

struct Row {
    height: u32,
    time: u32,
    next: CompactTarget,
}

fn bits(text: &str) -> CompactTarget {
    let digits = text.strip_prefix("0x").unwrap_or_else(|| panic!("{text} begins with 0x"));
    digits.parse().unwrap_or_else(|error| panic!("{error}"))
}

fn number<N: std::str::FromStr>(text: &str) -> N {
    text.parse().unwrap_or_else(|_| panic!("{text} is a number"))
}

fn parse(run: &str) -> Run {
    let header = |name: &str| {
        run.lines()
            .find_map(|line| line.strip_prefix("##")?.trim().strip_prefix(name)?.strip_prefix(": "))
            .unwrap_or_else(|| panic!("the run has a line {name}"))
    };
    let rows: Vec<Row> = run
        .lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
        .map(|line| match line.split(' ').collect::<Vec<_>>()[..] {
            [_, height, time, next] => Row { height: number(height), time: number(time), next: bits(next) },
            _ => panic!("a row has four columns: {line}"),
        })
        .collect();
    assert_eq!(rows.len(), number::<usize>(header("iterations")));
    Run {
        anchor_height: number(header("anchor height")),
        anchor_parent_time: number(header("anchor parent time")),
        anchor_bits: bits(header("anchor nBits")),
        rows,
    }
}

/// Bitcoin's and Bitcoin Cash's schedule.
fn ten_minutes() -> Asert {
    let limit = CompactTarget::from_u32(0x1d00_ffff).to_target().expect("Bitcoin's limit");
    Asert { spacing_secs: 600, half_life_secs: 172_800, limit }
}

#[test]
fn c08_every_row_of_every_run() {
    let mut rows = 0;
    for (number, text) in (1..).zip(RUNS) {
        let run = parse(text);
        let anchor = Anchor::new(Height::new(run.anchor_height), run.anchor_parent_time, run.anchor_bits)
            .expect("the run's anchor is good");
        for row in &run.rows {
            let next = next_bits(anchor, Height::new(row.height), Time::from_secs(row.time), &ten_minutes());
            assert_eq!(next, row.next, "run {number} height {}", row.height);
        }
        rows += run.rows.len();
    }
    assert_eq!(rows, ROWS);
}

/// The 18 edge cases, through the public function: those whose reference is exactly what compact bits can
/// say. (The unit tests of `difficulty` check all of them with whole targets.)
#[test]
fn c08_edge_cases_through_compact_bits() {
    let file: Value = serde_json::from_str(include_str!("vectors/asert/calculate_asert.json")).expect("JSON");
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    let limit: Target = text(&file["pow_limit"]).parse().expect("64 digits");
    let rules = Asert { spacing_secs: 600, half_life_secs: 172_800, limit };
    let mut tried = 0;
    for case in file["cases"].as_array().expect("a list") {
        let reference: Target = text(&case["ref_target"]).parse().expect("64 digits");
        let anchor_bits = reference.to_compact();
        if anchor_bits.to_target() != Ok(reference) {
            continue;
        }
        let time: u32 = number(&case["time_diff_to_anchor_parent"].to_string());
        let height: u32 = number(&case["height_diff"].to_string());
        let anchor = Anchor::new(Height::new(7), 11, anchor_bits).expect("a target");
        let next = next_bits(anchor, Height::new(height + 7), Time::from_secs(time + 11), &rules);
        assert_eq!(next.to_string(), text(&case["next_bits"]), "{case}");
        tried += 1;
    }
    assert_eq!(tried, 4);
}

/// The anchor that Bitcoin Cash's own chain uses, at heights around its activation: on schedule nothing
/// changes, one half-life late the target doubles, one early it halves.
#[test]
fn c08_bitcoin_cashs_own_anchor() {
    let file: Value = serde_json::from_str(include_str!("vectors/asert/calculate_asert.json")).expect("JSON");
    let published = &file["bch_mainnet_anchor"];
    let height: u32 = number(&published["height"].to_string());
    let parent_time: u32 = number(&published["parent_time"].to_string());
    let anchor_bits: CompactTarget = published["bits"].as_str().expect("a string").parse().expect("8 digits");
    let anchor = Anchor::new(Height::new(height), i64::from(parent_time), anchor_bits).expect("good bits");
    let next = |blocks: u32, late_secs: i64| {
        let secs = i64::from(parent_time) + 600 * i64::from(blocks + 1) + late_secs;
        let time = Time::from_secs(u32::try_from(secs).expect("a time of today"));
        next_bits(anchor, Height::new(height + blocks), time, &ten_minutes())
    };
    let reference = anchor_bits.to_target().expect("good bits").to_u256();
    let doubled = Target::from_u256(reference << 1).to_compact();
    let halved = Target::from_u256(reference >> 1).to_compact();
    for blocks in [0, 1, 144, 100_000] {
        assert_eq!(next(blocks, 0), anchor_bits);
        assert_eq!(next(blocks, 172_800), doubled);
        assert_eq!(next(blocks, -172_800), halved);
        assert!(next(blocks, 600) > anchor_bits && next(blocks, -600) < anchor_bits);
    }
}

#[derive(Clone, Copy)]
enum Rounding {
    TowardZero,
    Down,
}

/// The published formula in 64-bit integers, as BCHN writes it, good for the ranges of the runs: written
/// apart from the library, with the rounding of the division to choose.
fn twin(run: &Run, row: &Row, rounding: Rounding) -> CompactTarget {
    let time_diff = i64::from(row.time) - run.anchor_parent_time;
    let height_diff = i64::from(row.height) - i64::from(run.anchor_height);
    let numerator = (time_diff - 600 * (height_diff + 1)) * 65_536;
    let exponent = match rounding {
        Rounding::TowardZero => numerator / 172_800,
        Rounding::Down => numerator.div_euclid(172_800),
    };
    let shift = exponent >> 16;
    let fraction = u64::try_from(exponent & 0xffff).expect("a masked number is not negative");
    let factor = 65_536
        + ((195_766_423_245_049 * fraction
            + 971_821_376 * fraction * fraction
            + 5_127 * fraction * fraction * fraction
            + (1 << 47))
            >> 48);
    // The anchors lie below 2^224, so that the product of 241 bits fits.
    let mut next = run.anchor_bits.to_target().expect("good bits").to_u256() * U256::from(factor);
    let limit = ten_minutes().limit.to_u256();
    let distance = usize::try_from((shift - 16).unsigned_abs()).expect("a small number");
    if shift <= 16 {
        next >>= distance;
    } else if next.bit_len() + distance > 256 {
        next = limit;
    } else {
        next <<= distance;
    }
    Target::from_u256(next.min(limit)).to_compact()
}

#[test]
fn c08_floor_division_fails_1263_rows() {
    let wrong = |rounding| -> usize {
        RUNS.iter()
            .map(|text| parse(text))
            .map(|run| run.rows.iter().filter(|row| twin(&run, row, rounding) != row.next).count())
            .sum()
    };
    assert_eq!(wrong(Rounding::TowardZero), 0);
    assert_eq!(wrong(Rounding::Down), 1_263);
}

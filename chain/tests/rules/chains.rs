//! Rules G1 to G4: what a chain's parameters may be, and how its genesis block commits to them.

use chain::{
    amount::{Amount, COIN},
    genesis::{Chain, GenesisError},
    hash::{BlockHash, tagged},
    height::Height,
    params::{Params, ParamsError, RuleSet},
    pow::CompactTarget,
};

use crate::build::{easy_params, time};

fn changed(change: impl FnOnce(&mut Params)) -> Params {
    let mut params = easy_params();
    change(&mut params);
    params
}

fn verdict(change: impl FnOnce(&mut Params)) -> Result<(), ParamsError> {
    changed(change).check()
}

#[test]
fn g1_the_built_in_parameters_are_in_range() {
    for params in [Params::main(), Params::test(), Params::dev(), easy_params()] {
        assert_eq!(params.check(), Ok(()), "{}", params.name);
    }
}

#[test]
fn g1_names_prefixes_and_messages_are_bounded() {
    for good in ["a", "a-1", &"x".repeat(32)] {
        assert_eq!(verdict(|params| params.name = good.into()), Ok(()), "{good}");
    }
    for bad in ["", "A", "a b", "ä", "a_b", "../x", &"x".repeat(33)] {
        assert_eq!(verdict(|params| params.name = bad.into()), Err(ParamsError::Name), "{bad}");
    }
    for good in ["a", &"x".repeat(16)] {
        assert_eq!(verdict(|params| params.prefix = good.into()), Ok(()), "{good}");
    }
    for bad in ["", "A", "a1", "a-b", &"x".repeat(17)] {
        assert_eq!(verdict(|params| params.prefix = bad.into()), Err(ParamsError::Prefix), "{bad}");
    }
    assert_eq!(verdict(|params| params.message = "x".repeat(256)), Ok(()));
    assert_eq!(verdict(|params| params.message = "x".repeat(257)), Err(ParamsError::Message));
}

#[test]
fn g1_bits_are_canonical_and_ordered() {
    let with = |initial: u32, limit: u32| {
        verdict(|params| {
            params.initial_bits = CompactTarget::from_u32(initial);
            params.limit_bits = CompactTarget::from_u32(limit);
        })
    };
    for (initial, limit) in
        [(0x207f_ffff, 0x207f_ffff), (0x1d00_ffff, 0x207f_ffff), (0x1d00_ffff, 0x1d00_ffff)]
    {
        assert_eq!(with(initial, limit), Ok(()));
    }
    for (initial, limit) in [
        (0x1d01_0000, 0x1d00_ffff), // easier than the limit
        (0x2100_8000, 0x2100_8000), // easier than any chain may be
        (0x1d00_ffff, 0),
        (0, 0x207f_ffff),
        (0x1e00_00ff, 0x207f_ffff), // not canonical
        (0x1d80_ffff, 0x207f_ffff),
    ] {
        assert_eq!(with(initial, limit), Err(ParamsError::Bits), "{initial:08x} {limit:08x}");
    }
}

#[test]
fn g1_numbers_are_in_range() {
    let year = 31_536_000;
    for (spacing_secs, half_life_secs) in [(1, 0), (1, 1), (year, year)] {
        let set = |params: &mut Params| {
            params.spacing_secs = spacing_secs;
            params.half_life_secs = half_life_secs;
        };
        assert_eq!(verdict(set), Ok(()));
    }
    assert_eq!(verdict(|params| params.spacing_secs = 0), Err(ParamsError::Interval));
    assert_eq!(verdict(|params| params.spacing_secs = year + 1), Err(ParamsError::Interval));
    assert_eq!(verdict(|params| params.half_life_secs = year + 1), Err(ParamsError::Interval));
    assert_eq!(verdict(|params| params.halving_blocks = 0), Err(ParamsError::Supply));
    assert_eq!(verdict(|params| params.maturity_blocks = 0), Err(ParamsError::Maturity));
    for (bytes, signatures, result) in [
        (2_000, 1, Ok(())),
        (4_000_000, 62_500, Ok(())),
        (1_999, 1, Err(ParamsError::Limits)),
        (4_000_001, 1, Err(ParamsError::Limits)),
        (2_000, 0, Err(ParamsError::Limits)),
        (2_000, 62_501, Err(ParamsError::Limits)),
    ] {
        let set = |params: &mut Params| {
            params.max_block_bytes = bytes;
            params.max_block_signatures = signatures;
        };
        assert_eq!(verdict(set), result, "{bytes} {signatures}");
    }
}

#[test]
fn g1_the_supply_stays_below_2_to_the_63() {
    let with = |reward: u64| {
        changed(|params| {
            params.reward = Amount::from_pebbles(reward);
            params.halving_blocks = 1;
        })
    };
    // Height h has the subsidy reward >> h: 2^62 + 2^61 + ... + 1.
    let most = with(1 << 63);
    assert_eq!(most.check(), Ok(()));
    assert_eq!(most.max_supply().pebbles(), (1 << 63) - 1);
    assert_eq!(with((1 << 63) + 2).check(), Err(ParamsError::Supply));
    assert_eq!(with(0).check(), Ok(()), "a chain without new money is a chain");
    let main = Params::main().max_supply().pebbles();
    assert_eq!(main, 2_099_999_997_690_000 - 50 * COIN, "Bitcoin's, less the genesis block's");
}

#[test]
fn g2_the_free_run_begins_with_the_commitment() {
    let chain = Chain::mine(easy_params()).expect("good parameters");
    let genesis = chain.genesis();
    let commitment = tagged("cairn/params", &borsh::to_vec(&easy_params()).expect("into a vector"));
    assert_eq!(genesis.coinbase.free[..32], commitment);
    assert_eq!(genesis.coinbase.free[32..], [0; 64]);
    assert_eq!(genesis.header.merkle_root.to_bytes(), genesis.coinbase.txid().to_bytes());
}

/// A change of one parameter.
type Change = fn(&mut Params);

#[test]
fn g2_every_parameter_changes_the_chains_id() {
    let changes: [(&str, Change); 14] = [
        ("name", |params| params.name = "proof2".into()),
        ("prefix", |params| params.prefix = "q".into()),
        ("genesis_time", |params| params.genesis_time = time(params.genesis_time.secs() + 1)),
        ("message", |params| params.message.push('.')),
        ("initial_bits", |params| params.initial_bits = CompactTarget::from_u32(0x207f_fffe)),
        ("limit_bits", |params| {
            params.initial_bits = CompactTarget::from_u32(0x207f_fffe);
            params.limit_bits = CompactTarget::from_u32(0x207f_fffe);
        }),
        ("spacing_secs", |params| params.spacing_secs += 1),
        ("half_life_secs", |params| params.half_life_secs += 1),
        ("reward", |params| params.reward = Amount::from_pebbles(1)),
        ("halving_blocks", |params| params.halving_blocks += 1),
        ("maturity_blocks", |params| params.maturity_blocks += 1),
        ("max_block_bytes", |params| params.max_block_bytes -= 1),
        ("max_block_signatures", |params| params.max_block_signatures -= 1),
        ("rule_sets", |params| params.rule_sets.push(RuleSet { from: Height::new(9), rules: 1 })),
    ];
    let names: Vec<&str> = changes.iter().map(|(name, _)| *name).collect();
    let listed = serde_json::to_value(easy_params()).expect("JSON");
    let mut fields: Vec<&str> = listed.as_object().expect("fields").keys().map(String::as_str).collect();
    fields.sort_unstable();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, fields, "every field is in the list");
    let mut commitments = vec![easy_params().commitment()];
    for (_, change) in changes {
        commitments.push(changed(change).commitment());
    }
    commitments.sort_unstable();
    commitments.dedup();
    assert_eq!(commitments.len(), 15);
    // The commitment is in the coinbase, the coinbase in the root, and the root in the hash.
    let ids = |params: Params| Chain::mine(params).expect("good parameters").id();
    assert_ne!(ids(easy_params()), ids(changed(|params| params.max_block_bytes -= 1)));
}

#[test]
fn g3_the_genesis_block_meets_its_own_bits() {
    let params = changed(|params| params.initial_bits = CompactTarget::from_u32(0x2000_ffff));
    let chain = Chain::mine(params.clone()).expect("256 hashes");
    let genesis = chain.genesis();
    assert_eq!(genesis.header.previous, BlockHash::ZERO);
    assert_eq!(genesis.coinbase.height, Height::ZERO);
    assert_eq!(genesis.coinbase.outputs, []);
    assert_eq!(genesis.transactions, []);
    assert_eq!(chain.id(), genesis.hash());
    let nonce = chain.genesis_nonce();
    assert_eq!(Chain::new(params.clone(), nonce).expect("the same").id(), chain.id());
    // The first nonce that solves is taken, so that all below it do not.
    let below = (0..nonce).map(|nonce| Chain::new(params.clone(), nonce).map(|chain| chain.id()));
    assert!(below.into_iter().all(|chain| chain == Err(GenesisError::NotSolved)));
}

#[test]
fn g3_a_chain_file_with_a_changed_parameter_does_not_match() {
    let params = changed(|params| params.initial_bits = CompactTarget::from_u32(0x1f00_ffff));
    let chain = Chain::mine(params.clone()).expect("65,536 hashes");
    let text = toml::to_string(&params).expect("parameters are TOML");
    let read: Params = toml::from_str(&text).expect("as written");
    assert_eq!(read, params);
    assert!(Chain::new(read, chain.genesis_nonce()).is_ok());
    let file = text.replace("maturity_blocks = 1", "maturity_blocks = 2");
    assert_ne!(file, text);
    let read: Params = toml::from_str(&file).expect("still TOML");
    // One hash of 65,536 would pass; this one does not.
    assert_eq!(Chain::new(read, chain.genesis_nonce()).map(|_| ()), Err(GenesisError::NotSolved));
    let unknown = format!("surprise = 1\n{text}");
    assert!(toml::from_str::<Params>(&unknown).is_err(), "an unknown parameter is not passed over");
}

#[test]
fn g4_rule_sets_are_known_and_in_order() {
    let with = |sets: &[(u32, u32)]| {
        verdict(|params| {
            params.rule_sets = sets
                .iter()
                .map(|(from, rules)| RuleSet { from: Height::new(*from), rules: *rules })
                .collect();
        })
    };
    assert_eq!(with(&[(0, 1)]), Ok(()));
    for bad in [&[][..], &[(1, 1)], &[(0, 2)], &[(0, 0)], &[(0, 1), (5, 2)], &[(0, 1), (0, 1)]] {
        assert_eq!(with(bad), Err(ParamsError::RuleSets), "{bad:?}");
    }
}

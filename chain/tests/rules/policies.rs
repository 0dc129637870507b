//! Rules P1 to P6: how large a policy may be, and how a satisfaction mirrors it. Limits hold while decoding,
//! and for policies that were built in memory alike.

use chain::{
    encode,
    hash::sha256,
    height::Height,
    policy::{Demands, Policy, PolicyError, Satisfaction, Witness},
};

use crate::build::{Key, time};

fn leaf() -> Policy {
    Policy::Older(1)
}

/// A policy with `depth` levels.
fn tower(depth: usize) -> Policy {
    (1..depth).fold(leaf(), |below, _| Policy::And(Box::new([leaf(), below])))
}

fn thresh(k: u8, of: Vec<Policy>) -> Policy {
    Policy::Thresh { k, of }
}

/// Holds a policy against its limits in memory and on the wire, which must agree.
fn judge(policy: &Policy) -> Result<(), PolicyError> {
    let verdict = policy.check();
    let decoded = encode::from_bytes::<Policy>(&encode::to_bytes(policy));
    match &verdict {
        Ok(()) => assert_eq!(&decoded.expect("a good policy is read"), policy),
        Err(error) => {
            let refused = decoded.expect_err("a bad policy is not read").to_string();
            assert!(refused.contains(&error.to_string()), "{refused}");
        }
    }
    verdict
}

fn demands(policy: Policy, satisfaction: Satisfaction) -> Result<Demands, PolicyError> {
    let witness = Witness { policy, satisfaction };
    let verdict = witness.demands();
    if verdict.is_ok() {
        let decoded = encode::from_bytes::<Witness>(&encode::to_bytes(&witness));
        assert_eq!(decoded.expect("a good witness is read"), witness);
    }
    verdict
}

#[test]
fn p1_a_policy_has_at_most_64_nodes() {
    assert_eq!(judge(&thresh(1, vec![leaf(); 63])), Ok(()));
    assert_eq!(judge(&thresh(1, vec![leaf(); 64])), Err(PolicyError::TooManyNodes));
    // Leaves and inner nodes count alike, however they are spread.
    let half = || thresh(1, vec![leaf(); 30]);
    let pair = |left, right| Policy::And(Box::new([left, right]));
    assert_eq!(judge(&pair(half(), thresh(1, vec![leaf(); 31]))), Ok(()));
    assert_eq!(judge(&pair(half(), thresh(1, vec![leaf(); 32]))), Err(PolicyError::TooManyNodes));
}

#[test]
fn p1_a_claimed_length_is_refused_before_anything_is_read() {
    let mut bytes = vec![1, 1];
    bytes.extend(u32::MAX.to_le_bytes());
    let refused = encode::from_bytes::<Policy>(&bytes).expect_err("too many").to_string();
    assert!(refused.contains("rule P1"), "{refused}");
}

#[test]
fn p2_a_policy_has_at_most_8_levels() {
    assert_eq!(judge(&tower(8)), Ok(()));
    assert_eq!(judge(&tower(9)), Err(PolicyError::TooDeep));
    let deep = |depth| thresh(1, vec![tower(depth)]);
    assert_eq!(judge(&deep(7)), Ok(()));
    assert_eq!(judge(&deep(8)), Err(PolicyError::TooDeep));
    let either = |depth| Policy::Or(Box::new([tower(depth), leaf()]));
    assert_eq!(judge(&either(7)), Ok(()));
    assert_eq!(judge(&either(8)), Err(PolicyError::TooDeep));
}

#[test]
fn p2_a_bottomless_policy_ends_before_the_stack_does() {
    for tag in [2, 3] {
        let refused = encode::from_bytes::<Policy>(&vec![tag; 1_000_000]).expect_err("too deep").to_string();
        assert!(refused.contains("rule P2"), "{refused}");
    }
}

#[test]
fn p3_a_threshold_lies_between_one_and_all() {
    for k in [1, 2, 3] {
        assert_eq!(judge(&thresh(k, vec![leaf(); 3])), Ok(()));
    }
    assert_eq!(judge(&thresh(0, vec![leaf(); 3])), Err(PolicyError::BadThreshold));
    assert_eq!(judge(&thresh(4, vec![leaf(); 3])), Err(PolicyError::BadThreshold));
    assert_eq!(judge(&thresh(0, Vec::new())), Err(PolicyError::BadThreshold));
    assert_eq!(judge(&thresh(1, Vec::new())), Err(PolicyError::BadThreshold));
}

#[test]
fn p3_older_asks_for_at_least_one_block() {
    assert_eq!(judge(&Policy::Older(1)), Ok(()));
    assert_eq!(judge(&Policy::Older(0)), Err(PolicyError::BadThreshold));
    assert_eq!(judge(&thresh(1, vec![leaf(), Policy::Older(0)])), Err(PolicyError::BadThreshold));
}

fn all_of(keys: u8) -> (Policy, Satisfaction) {
    let of = (0..keys).map(|number| Key::new(number.into()).policy()).collect();
    let chosen = (0..keys).map(|index| (index, Satisfaction::Signature([index; 64]))).collect();
    (thresh(keys, of), Satisfaction::Chosen(chosen))
}

#[test]
fn p4_an_input_chooses_at_most_16_keys() {
    let (policy, satisfaction) = all_of(16);
    assert_eq!(demands(policy, satisfaction).expect("sixteen").signatures.len(), 16);
    let (policy, satisfaction) = all_of(17);
    assert_eq!(policy.check(), Ok(()), "more keys may be named than chosen");
    assert_eq!(demands(policy.clone(), satisfaction.clone()), Err(PolicyError::TooManyKeys));
    let bytes = encode::to_bytes(&Witness { policy, satisfaction });
    let refused = encode::from_bytes::<Witness>(&bytes).expect_err("seventeen").to_string();
    assert!(refused.contains("rule P4"), "{refused}");
}

#[test]
fn p4_keys_that_are_not_chosen_do_not_count() {
    let of: Vec<Policy> = (0..63).map(|number| Key::new(number).policy()).collect();
    let chosen = (47..63).map(|index| (index, Satisfaction::Signature([1; 64]))).collect();
    let demanded = demands(thresh(16, of), Satisfaction::Chosen(chosen)).expect("sixteen of 63");
    assert_eq!(demanded.signatures[0].0, Key::new(47).public());
}

#[test]
fn p5_every_kind_of_policy_has_its_own_satisfaction() {
    let preimage = [5; 32];
    let key = Key::new(1);
    let policies = [
        key.policy(),
        Policy::Sha256(sha256(&preimage)),
        Policy::AfterHeight(Height::new(9)),
        Policy::AfterTime(time(9)),
        Policy::Older(9),
        Policy::And(Box::new([leaf(), leaf()])),
        Policy::Or(Box::new([leaf(), leaf()])),
        thresh(1, vec![leaf(), leaf()]),
    ];
    let nothing = || Box::new(Satisfaction::Nothing);
    let satisfactions = [
        Satisfaction::Signature([0; 64]),
        Satisfaction::Preimage(preimage),
        Satisfaction::Nothing,
        Satisfaction::Both(Box::new([Satisfaction::Nothing, Satisfaction::Nothing])),
        Satisfaction::Branch(1, nothing()),
        Satisfaction::Chosen(vec![(1, Satisfaction::Nothing)]),
    ];
    // Which satisfaction mirrors which policy.
    let mirrors = [0, 1, 2, 2, 2, 3, 4, 5];
    for (policy, right) in policies.iter().zip(mirrors) {
        for (place, satisfaction) in satisfactions.iter().enumerate() {
            let verdict = demands(policy.clone(), satisfaction.clone());
            if place == right {
                assert!(verdict.is_ok(), "{policy} with {satisfaction:?}");
            } else {
                assert_eq!(verdict, Err(PolicyError::NotMirrored), "{policy} with {satisfaction:?}");
            }
        }
    }
}

#[test]
fn p5_a_branch_is_zero_or_one() {
    let policy = Policy::Or(Box::new([leaf(), leaf()]));
    for branch in [0, 1] {
        let satisfaction = Satisfaction::Branch(branch, Box::new(Satisfaction::Nothing));
        assert!(demands(policy.clone(), satisfaction).is_ok());
    }
    let satisfaction = Satisfaction::Branch(2, Box::new(Satisfaction::Nothing));
    assert_eq!(demands(policy.clone(), satisfaction.clone()), Err(PolicyError::NotMirrored));
    let bytes = encode::to_bytes(&Witness { policy, satisfaction });
    let refused = encode::from_bytes::<Witness>(&bytes).expect_err("no such branch").to_string();
    assert!(refused.contains("rule P5"), "{refused}");
}

#[test]
fn p5_a_threshold_chooses_exactly_k_in_ascending_order() {
    let policy = thresh(2, vec![leaf(); 4]);
    let chosen = |indices: &[u8]| {
        Satisfaction::Chosen(indices.iter().map(|index| (*index, Satisfaction::Nothing)).collect())
    };
    for good in [[0, 1], [0, 3], [2, 3]] {
        assert!(demands(policy.clone(), chosen(&good)).is_ok());
    }
    for bad in [&[1, 0][..], &[1, 1], &[0], &[0, 1, 2], &[], &[0, 4], &[255, 0]] {
        assert_eq!(demands(policy.clone(), chosen(bad)), Err(PolicyError::NotMirrored), "{bad:?}");
    }
    for bad in [&[1, 0][..], &[1, 1], &[0, 4]] {
        let bytes = encode::to_bytes(&Witness { policy: policy.clone(), satisfaction: chosen(bad) });
        let refused = encode::from_bytes::<Witness>(&bytes).expect_err("not ascending").to_string();
        assert!(refused.contains("rule P5"), "{refused}");
    }
}

#[test]
fn p5_what_is_not_chosen_is_not_asked() {
    let key = Key::new(1);
    let policy = Policy::Or(Box::new([Policy::AfterHeight(Height::new(1_000_000)), key.policy()]));
    let satisfaction = Satisfaction::Branch(1, Box::new(Satisfaction::Signature([3; 64])));
    let asked = demands(policy, satisfaction).expect("the key's branch");
    assert_eq!(asked.after_height, None);
    assert_eq!(asked.signatures, [(key.public(), [3; 64])]);
}

#[test]
fn p5_of_several_demands_the_highest_counts() {
    let all = vec![
        Policy::AfterHeight(Height::new(7)),
        Policy::AfterHeight(Height::new(5)),
        Policy::AfterTime(time(70)),
        Policy::AfterTime(time(50)),
        Policy::Older(9),
        Policy::Older(2),
    ];
    let chosen = (0..6).map(|index| (index, Satisfaction::Nothing)).collect();
    let asked = demands(thresh(6, all), Satisfaction::Chosen(chosen)).expect("all six");
    assert_eq!(asked.after_height, Some(Height::new(7)));
    assert_eq!(asked.after_time, Some(time(70)));
    assert_eq!(asked.older_blocks, Some(9));
}

#[test]
fn p6_a_preimage_has_the_named_hash() {
    let preimage = [8; 32];
    let policy = Policy::Sha256(sha256(&preimage));
    assert!(demands(policy.clone(), Satisfaction::Preimage(preimage)).is_ok());
    let mut wrong = preimage;
    wrong[31] ^= 1;
    assert_eq!(demands(policy, Satisfaction::Preimage(wrong)), Err(PolicyError::WrongPreimage));
    let twice = Policy::Sha256(sha256(&sha256(&preimage)));
    assert_eq!(demands(twice, Satisfaction::Preimage(preimage)), Err(PolicyError::WrongPreimage));
}

//! The book against floods, eclipses and restarts; each with a seed that its failure names.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
};

use chain::hash::BlockHash;

use super::{
    answers::{Answers, LEAST_SAMPLE, MAX_SAMPLE, SAMPLE_PERCENT},
    bans::{Ban, Bans},
    budget::{BURST_ADDRESSES, Budget, MS_PER_ADDRESS},
    file::{FileFault, Remembered, to_bytes},
    outbound::{DEFAULT_PLACES, Dial, FEELER_INTERVAL_MS, Now, Outbound, Purpose},
    *,
};

const CHAIN: BlockHash = BlockHash::from_bytes([0xca; 32]);
/// Some moment of the year 2026.
const START_SECS: u64 = 1_790_000_000;

fn seed(number: u64) -> [u8; 32] {
    file::key_of(
        &[u8::try_from(number % 256).expect("a byte"); 32]
            .map(|byte| byte ^ u8::try_from(number >> 8 & 255).expect("a byte")),
    )
}

fn at(a: u8, b: u8, c: u8, d: u8) -> NetAddress {
    NetAddress::new(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), 8_444, Carrier::Tcp)
}

/// The honest: each in a network of its own.
fn honest(number: u16) -> NetAddress {
    let [high, low] = number.to_be_bytes();
    at(20 + high, low, 1, 1)
}

/// The attacker's addresses: four networks, as many addresses as one likes.
fn hostile(number: u32) -> NetAddress {
    let [_, c, d, group] = number.to_be_bytes();
    at(66, group % 4, c ^ (group >> 2), d)
}

const fn now(ms: u64) -> Now {
    Now { monotonic_ms: ms, unix_secs: START_SECS + ms / 1_000 }
}

#[test]
fn p09_a_flood_of_addresses_fills_a_share_of_a_bounded_table() {
    let mut book = Book::new(seed(1));
    for number in 0..200 {
        assert!(book.add(honest(number), honest(number).ip(), START_SECS) || number > 0);
    }
    let before = book.len();
    let (mut told, mut largest) = (0_u64, 0);
    let mut random = chance::Chance::new(seed(2));
    for _ in 0..10_000_000 {
        let address = NetAddress::new(
            IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(random.below(1 << 32)).expect("32 bits"))),
            1,
            Carrier::Tcp,
        );
        // All of it is told by one network.
        told += u64::from(book.add(address, hostile(0).ip(), START_SECS));
        largest = largest.max(book.len());
    }
    // One network's word reaches 64 of 1,024 buckets of 64 places.
    assert!(largest <= before + 64 * 64, "{largest}");
    assert!(told > 1_000, "{told}");
    let left = (0..200).filter(|number| book.contains(&honest(*number))).count();
    assert!(left >= before - 1, "{left} of {before}: nothing that is worth its place gives way");
    assert!(book.len() as u64 <= MAX_ADDRESSES);
}

#[test]
fn p09_one_peer_tells_a_thousand_and_then_one_in_ten_seconds() {
    let mut budget = Budget::new(5);
    let take = |budget: &mut Budget, ms: u64| (0..3_000).filter(|_| budget.take(ms)).count() as u64;
    assert_eq!(take(&mut budget, 5), BURST_ADDRESSES);
    assert_eq!(take(&mut budget, 5 + MS_PER_ADDRESS - 1), 0);
    assert_eq!(take(&mut budget, 5 + MS_PER_ADDRESS), 1);
    assert_eq!(take(&mut budget, 5 + 61 * MS_PER_ADDRESS), 60);
    // A clock that goes back gives nothing, one that leaps to its end no more than a burst.
    assert_eq!(take(&mut budget, 0), 0);
    assert_eq!(take(&mut budget, u64::MAX), BURST_ADDRESSES);
    assert_eq!(budget.taken(), 2 * BURST_ADDRESSES + 61);
    assert_eq!(budget.taken() + budget.refused(), 6 * 3_000);
}

#[test]
fn p09_an_address_that_was_met_is_not_displaced_untested() {
    let mut book = Book::new(seed(3));
    let mut met = Vec::new();
    for number in 0..2_000 {
        let address = honest(number);
        if book.add(address, address.ip(), START_SECS) {
            book.met(&address, START_SECS);
            met.push(address);
        }
    }
    let tried: Vec<NetAddress> =
        met.iter().copied().filter(|address| book.entries[address].is_tried).collect();
    assert!(tried.len() > 1_800, "{}", tried.len());
    // More come, all of which answer: those who stand there were met an hour ago, and keep their places.
    let later = START_SECS + 3_600;
    for number in 2_000..12_000 {
        book.add(honest(number), honest(number).ip(), later);
        book.met(&honest(number), later);
        book.settle_tests(later);
    }
    assert!(tried.iter().all(|address| book.entries[address].is_tried));
    // Five hours later they are dialled first, do not answer, and then give way.
    let later = START_SECS + 5 * 3_600;
    let mut given_way = 0;
    for round in 0..2_000 {
        let now_secs = later + round * 100;
        let newcomer = honest(12_000 + u16::try_from(round).expect("small"));
        book.add(newcomer, newcomer.ip(), now_secs);
        book.met(&newcomer, now_secs);
        if let Some(tested) = book.next_test() {
            book.attempted(&tested, now_secs + 1);
            assert!(book.entries[&tested].is_tried, "it stands until it had its time");
            book.settle_tests(now_secs + 2);
            assert!(book.entries[&tested].is_tried, "it stands until it had its time");
            book.settle_tests(now_secs + 70);
            given_way += usize::from(book.entries.get(&tested).is_none_or(|entry| !entry.is_tried));
        }
        assert!(book.tests.len() <= MAX_TESTS);
    }
    assert!(given_way > 0);
}

/// Lets a node choose until its places are taken: everybody answers.
fn run(outbound: &mut Outbound, book: &mut Book, from_ms: u64, until_ms: u64) {
    let mut ms = from_ms;
    while ms < until_ms {
        match outbound.next(book, |_| false, &[], now(ms)) {
            Some(Dial { address, .. }) => {
                book.met(&address, now(ms).unix_secs);
                if outbound.connected(&address, ms) == Some(Purpose::Feeler) {
                    outbound.gone(&address, ms);
                }
            }
            None => ms = outbound.due_ms().expect("something is due").max(ms + 1),
        }
    }
}

#[test]
fn p10_a_thousand_hostile_addresses_of_four_networks_do_not_eclipse_a_restarted_node() {
    for number in 0..40 {
        let mut book = Book::new(seed(number));
        for number in 0..60 {
            book.add(honest(number), honest(number % 7).ip(), START_SECS);
        }
        let mut outbound = Outbound::new(DEFAULT_PLACES, Vec::new(), seed(number + 1_000), 0);
        run(&mut outbound, &mut book, 0, 600_000);
        assert_eq!(outbound.full(), DEFAULT_PLACES, "seed {number}");
        // The attacker tells of all its addresses, from each of them, again and again.
        for round in 0..3_u32 {
            for hostile_number in 0..1_000 {
                let source = hostile((hostile_number * 7 + round * 13) % 1_000).ip();
                book.add(hostile(hostile_number), source, START_SECS + 700);
            }
        }
        let bytes = to_bytes(&book, &outbound.anchors(), &Bans::default(), &CHAIN);
        let again = Remembered::from_bytes(&bytes, &CHAIN, seed(number + 2_000)).expect("as written");
        assert_eq!(again.book.tried_len(), book.tried_len(), "seed {number}");
        let (mut book, anchors) = (again.book, again.anchors);
        assert_eq!(anchors.len(), 2);
        let mut outbound = Outbound::new(DEFAULT_PLACES, anchors.clone(), seed(number + 3_000), 0);
        run(&mut outbound, &mut book, 1_000_000, 1_600_000);
        let peers: Vec<NetAddress> = outbound.connected_full().collect();
        let groups: BTreeSet<Group> = peers.iter().map(NetAddress::group).collect();
        assert_eq!((peers.len(), groups.len()), (DEFAULT_PLACES, DEFAULT_PLACES), "seed {number}: {peers:?}");
        let ours = peers.iter().filter(|peer| !hostile_groups().contains(&peer.group())).count();
        assert!(ours >= DEFAULT_PLACES - 4, "seed {number}: {peers:?}");
        assert!(anchors.iter().all(|anchor| peers.contains(anchor)), "seed {number}");
    }
}

fn hostile_groups() -> BTreeSet<Group> {
    (0..1_000).map(|number| hostile(number).group()).collect()
}

#[test]
fn p10_feelers_find_out_what_works_and_neighbours_are_not_held_against_diversity() {
    let mut book = Book::new(seed(5));
    // A class room: all in one private network.
    for number in 1..40 {
        book.add(at(192, 168, 0, number), at(192, 168, 0, 200).ip(), START_SECS);
        assert!(!book.add(at(192, 168, 0, number), at(8, 8, 8, 8).ip(), START_SECS));
    }
    assert!(book.len() >= 36, "{}", book.len());
    let mut outbound = Outbound::new(DEFAULT_PLACES, Vec::new(), seed(6), 0);
    run(&mut outbound, &mut book, 0, 10_000);
    assert_eq!((outbound.full(), book.tried_len()), (DEFAULT_PLACES, DEFAULT_PLACES));
    run(&mut outbound, &mut book, 10_000, 40 * FEELER_INTERVAL_MS);
    assert!(book.tried_len() >= 30, "{}", book.tried_len());
    assert_eq!(outbound.full(), DEFAULT_PLACES);
    // With no places nothing is dialled.
    let mut none = Outbound::new(0, vec![at(192, 168, 0, 1)], seed(6), 0);
    assert_eq!((none.next(&mut book, |_| false, &[], now(1 << 40)), none.due_ms()), (None, None));
}

#[test]
fn the_same_seed_makes_the_same_choices() {
    let choices = |number: u64| {
        let mut book = Book::new(seed(number));
        for number in 0..500 {
            book.add(honest(number), honest(number / 10).ip(), START_SECS);
        }
        let mut outbound = Outbound::new(DEFAULT_PLACES, Vec::new(), seed(number), 0);
        run(&mut outbound, &mut book, 0, 3_600_000);
        (outbound.connected_full().collect::<Vec<_>>(), book.tried_len())
    };
    assert_eq!(choices(9), choices(9));
    assert_ne!(choices(9).0, choices(10).0);
}

#[test]
fn what_is_answered_is_a_sample_and_the_same_all_day() {
    let mut book = Book::new(seed(7));
    let mut answers = Answers::default();
    book.add(at(10, 0, 0, 1), at(10, 0, 0, 2).ip(), START_SECS);
    assert_eq!(answers.get(&mut book, Reach::World, START_SECS), []);
    assert_eq!(answers.get(&mut book, Reach::Site, START_SECS), [at(10, 0, 0, 1)]);
    for number in 0..20_000 {
        book.add(honest(number), honest(number).ip(), START_SECS);
        if number == 20 {
            // In a small network everybody may know everybody.
            assert!(answers.get(&mut book, Reach::World, START_SECS).len() > 8);
        }
    }
    let first = answers.get(&mut book, Reach::World, START_SECS).to_vec();
    assert!(first.len() <= MAX_SAMPLE && first.len() >= LEAST_SAMPLE);
    assert!(first.len() <= book.len() * SAMPLE_PERCENT / 100);
    assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), first.len());
    assert_eq!(answers.get(&mut book, Reach::World, START_SECS + 80_000), first);
    assert_ne!(answers.get(&mut book, Reach::World, START_SECS + 90_000), first);
}

#[test]
fn what_is_written_is_read_back_and_damage_is_noticed() {
    let mut book = Book::new(seed(8));
    for number in 0..300 {
        book.add(honest(number), honest(number % 9).ip(), START_SECS);
        if number % 3 == 0 {
            book.met(&honest(number), START_SECS + 1);
        }
    }
    let mut bans = Bans::default();
    for subject in ["198.51.100.0/24", "2a00:1::/64", "12D3KooWJ8CQQ1sPHNCDnDk2B1ZUcRsLHFm2tN7rEBCXnSWHJWb1"]
    {
        let ban = Ban { since_secs: 1, until_secs: 2, by_hand: true, reason: "said so".to_owned() };
        bans.add(subject.parse().expect("a subject"), ban).expect("room");
    }
    let anchors = [honest(0), honest(3)];
    let bytes = to_bytes(&book, &anchors, &bans, &CHAIN);
    let read = Remembered::from_bytes(&bytes, &CHAIN, seed(9)).expect("as written");
    assert_eq!(read.anchors, anchors);
    assert_eq!(read.bans.iter().collect::<Vec<_>>(), bans.iter().collect::<Vec<_>>());
    assert_eq!(read.book.tried_len(), book.tried_len());
    assert!(read.book.len() + 5 >= book.len(), "{} of {}", read.book.len(), book.len());

    for at in (0..bytes.len()).step_by(97) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        assert!(Remembered::from_bytes(&damaged, &CHAIN, seed(9)).is_err(), "{at}");
        assert!(Remembered::from_bytes(&bytes[..at], &CHAIN, seed(9)).is_err(), "{at}");
    }
    let other = BlockHash::from_bytes([1; 32]);
    assert_eq!(Remembered::from_bytes(&bytes, &other, seed(9)).err(), Some(FileFault::OtherChain));
}

#[test]
fn a_night_offline_does_not_empty_the_book() {
    let mut book = Book::new(seed(11));
    book.add(honest(1), honest(2).ip(), START_SECS);
    book.met(&honest(1), START_SECS);
    book.add(honest(3), honest(2).ip(), START_SECS);
    for round in 0..500 {
        book.attempted(&honest(1), START_SECS + 10 + round * 60);
        book.attempted(&honest(3), START_SECS + 10 + round * 60);
    }
    let morning = START_SECS + 500 * 60 + 3_600;
    assert!(!book.entries[&honest(1)].is_worthless(morning));
    assert!(!book.entries[&honest(3)].is_worthless(morning));
    assert!(book.entries[&honest(3)].is_worthless(morning + 31 * 86_400));
    book.forget(&honest(1));
    book.forget(&honest(3));
    assert!(book.is_empty() && book.tried.is_empty() && book.new.is_empty());
    assert_eq!(book.draw(Draw::Any, morning), None);
}

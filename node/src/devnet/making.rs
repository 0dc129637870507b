//! Making a devnet: its chain, wallets, configuration files, and the first blocks in every node's store.
//!
//! All of it is made in a folder aside and moved into place at the end, the record last, so that a devnet is there
//! whole or not at all. Nothing that was in the folder before is ever touched.

use std::{
    fs,
    hash::{BuildHasher, RandomState},
    path::PathBuf,
    sync::atomic::AtomicBool,
};

use chain::{
    address::Address, block::Block, genesis::Chain, ledger::Ledger, params::Params, pow::Target, time::Time,
};
use rayon::prelude::*;
use wallet::{KdfCost, Mnemonic, NewWallet, Wallet, WalletChain, WordCount};

use super::{
    DevnetConfig, DevnetError, files,
    plan::{self, Layout, NAMES, Record},
    premine::{self, PremineError},
};
use crate::{
    chain_file::ChainSpec,
    store::{RocksStore, StoreOptions},
};

/// Blocks after which a devnet's coinbase may be spent, as on `dev`.
const MATURITY_BLOCKS: u32 = 10;
/// The half-life in spacings, as everywhere unless said otherwise.
const HALF_LIFE_SPACINGS: u32 = 288;
/// The most hashes that the first blocks may be expected to take: some minutes' work for two cores.
const MAX_PREMINE_HASHES: u64 = 1 << 32;

/// The parameters of a devnet's chain, whose first blocks end at `now`.
pub(super) fn params(config: &DevnetConfig, now: Time) -> Result<Params, DevnetError> {
    let blocks = premine::first_blocks(MATURITY_BLOCKS, config.nodes.into());
    let spacing = u64::from(config.spacing_secs);
    let hashes = config.hashes_per_sec.saturating_mul(config.nodes.into()).saturating_mul(spacing);
    let work = hashes.saturating_mul(blocks.into());
    if work > MAX_PREMINE_HASHES {
        return Err(DevnetError::TooMuchWork { hashes: work, most: MAX_PREMINE_HASHES });
    }
    let easiest = Params::dev().limit_bits;
    let limit = easiest.to_target().unwrap_or(Target::MAX);
    let span_secs = config.spacing_secs.saturating_mul(blocks);
    Ok(Params {
        name: "devnet".into(),
        prefix: "dcrn".into(),
        genesis_time: Time::from_secs(now.secs().saturating_sub(span_secs)),
        // Two devnets of one second differ in this number.
        message: format!("A devnet, number {:016x}.", RandomState::new().hash_one(now.secs())),
        initial_bits: Target::from_expected_hashes(hashes.max(1)).min(limit).to_compact(),
        limit_bits: easiest,
        spacing_secs: config.spacing_secs,
        half_life_secs: config.spacing_secs.saturating_mul(HALF_LIFE_SPACINGS),
        maturity_blocks: MATURITY_BLOCKS,
        ..Params::dev()
    })
}

/// Makes the devnet in `layout`, where none is yet. `on_block` hears how many of how many first blocks there are.
pub(super) fn make(
    config: &DevnetConfig,
    layout: &Layout,
    now: Time,
    cancelled: &AtomicBool,
    mut on_block: impl FnMut(u32, u32),
) -> Result<Record, DevnetError> {
    let names = &NAMES[..usize::from(config.nodes)];
    refuse_what_is_in_the_way(layout, names)?;
    let staging = layout.making();
    // What an earlier attempt left behind in the supervisor's own folder.
    if staging.folder().exists() {
        fs::remove_dir_all(staging.folder()).map_err(DevnetError::file(staging.folder()))?;
    }
    fs::create_dir_all(staging.private()).map_err(DevnetError::file(staging.folder()))?;

    let ports = plan::choose_ports(config.nodes, config.base_port)?;
    let chain = premine::mine_genesis(params(config, now)?, cancelled)?;
    ChainSpec { chain: chain.clone(), lab: true }.write(&staging.chain_file())?;
    let mut payees = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let datadir = staging.datadir(name);
        fs::create_dir(&datadir).map_err(DevnetError::file(&datadir))?;
        let address = make_wallet(&staging, name, &chain)?;
        let text = address.encode(&chain.params().prefix);
        let settings = plan::settings(&ports, index, &text, config.hashes_per_sec);
        plan::write_settings(&datadir, &staging.aside(), &settings)?;
        payees.push(address);
    }
    let count = premine::first_blocks(chain.params().maturity_blocks, config.nodes.into());
    let blocks = premine::mine(&chain, &payees, count, cancelled, |done| on_block(done, count))?;
    let fill = |name: &&str| fill_store(&chain, staging.datadir(name), &blocks);
    names.par_iter().try_for_each(fill)?;

    let record = Record {
        nodes: config.nodes,
        spacing_secs: config.spacing_secs,
        hashes_per_sec: config.hashes_per_sec,
    };
    for name in names {
        move_into_place(staging.datadir(name), layout.datadir(name))?;
    }
    move_into_place(staging.chain_file(), layout.chain_file())?;
    plan::write_record(layout, &record)?;
    fs::remove_dir_all(staging.folder()).map_err(DevnetError::file(staging.folder()))?;
    Ok(record)
}

/// A folder without a record holds no devnet, so whatever has one of our names in it is somebody else's.
fn refuse_what_is_in_the_way(layout: &Layout, names: &[&str]) -> Result<(), DevnetError> {
    let ours = [layout.chain_file(), layout.clock()].into_iter();
    for path in ours.chain(names.iter().map(|name| layout.datadir(name))) {
        if path.symlink_metadata().is_ok() {
            return Err(DevnetError::InTheWay(path));
        }
    }
    Ok(())
}

/// A wallet with new words and an empty passphrase; the address at which its node's blocks pay it.
fn make_wallet(staging: &Layout, name: &str, chain: &Chain) -> Result<Address, DevnetError> {
    let mnemonic = Mnemonic::generate(WordCount::Twelve)?;
    let new = NewWallet {
        mnemonic: &mnemonic,
        bip39_passphrase: "",
        passphrase: "",
        chain: WalletChain { id: chain.id(), prefix: chain.params().prefix.clone() },
        cost: KdfCost::LIGHT,
    };
    Ok(Wallet::create(&staging.wallet(name), &new)?.latest_address()?)
}

/// Gives a node the first blocks, under all rules.
fn fill_store(chain: &Chain, path: PathBuf, blocks: &[Block]) -> Result<(), DevnetError> {
    let store = RocksStore::open(&path, chain, &StoreOptions::default())?;
    let mut ledger = Ledger::open(chain.clone(), store).map_err(PremineError::from)?;
    for block in blocks {
        ledger.submit(block.clone(), block.header.time).map_err(PremineError::from)?;
    }
    ledger.flush()?;
    Ok(ledger.store().sync()?)
}

fn move_into_place(from: PathBuf, to: PathBuf) -> Result<(), DevnetError> {
    fs::rename(&from, &to).map_err(DevnetError::file(to))
}

/// The time of a node's tip, in Unix seconds. Its folder must be free.
pub(super) fn tip_time(chain: &Chain, datadir: PathBuf) -> Result<i64, DevnetError> {
    let store = RocksStore::open(&datadir, chain, &StoreOptions::default())?;
    let ledger = Ledger::open(chain.clone(), store).map_err(PremineError::from)?;
    Ok(ledger.tip().header.time.secs().into())
}

/// Removes what says that payments can be made.
pub(super) fn withdraw(layout: &Layout) -> Result<(), DevnetError> {
    files::remove(&layout.announcement()).map_err(DevnetError::file(layout.announcement()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(folder: &std::path::Path) -> DevnetConfig {
        DevnetConfig {
            folder: folder.to_path_buf(),
            nodes: 2,
            base_port: None,
            spacing_secs: 5,
            hashes_per_sec: 50,
            program: PathBuf::new(),
        }
    }

    #[test]
    fn parameters_fit_the_throttled_hash_rate() {
        let now = Time::from_secs(1_800_000_000);
        let config = DevnetConfig { nodes: 4, hashes_per_sec: 2_000, ..config(std::path::Path::new("/")) };
        let params = params(&config, now).expect("in range");
        params.check().expect("a chain");
        // 4 nodes, 2,000 hashes a second each, 5 seconds: the target is one in 40,000, to the bits' precision.
        let expected = Target::from_expected_hashes(40_000).to_compact();
        assert_eq!(params.initial_bits, expected);
        assert_eq!((params.spacing_secs, params.half_life_secs, params.maturity_blocks), (5, 1_440, 10));
        assert_eq!(params.genesis_time.secs(), 1_800_000_000 - 14 * 5);
        let slow = DevnetConfig { nodes: 1, hashes_per_sec: 1, spacing_secs: 1, ..config.clone() };
        let slow = super::params(&slow, now).expect("in range");
        assert_eq!(slow.initial_bits, slow.limit_bits);
        let fast = DevnetConfig { hashes_per_sec: u64::MAX, ..config };
        let error = super::params(&fast, now).expect_err("too much").to_string();
        assert!(error.contains("--hash-rate"), "{error}");
    }

    #[test]
    fn a_devnet_is_made_whole_and_beside_other_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let layout = Layout::new(folder.path());
        fs::write(folder.path().join("notes.txt"), "mine").expect("written");
        let now = Time::from_secs(1_800_000_000);
        let mut heard = Vec::new();
        let cancelled = AtomicBool::new(false);
        let record =
            make(&config(folder.path()), &layout, now, &cancelled, |done, of| heard.push((done, of)))
                .expect("made");
        assert_eq!(heard.last(), Some(&(12, 12)));
        assert_eq!(plan::read_record(&layout).expect("read"), Some(record));
        assert_eq!(fs::read_to_string(folder.path().join("notes.txt")).expect("still there"), "mine");
        assert!(!layout.making().folder().exists());
        let text = layout.chain_file().display().to_string();
        let spec = ChainSpec::load(&text).expect("a chain file");
        assert!(spec.lab);
        for name in ["alice", "bob"] {
            assert_eq!(tip_time(&spec.chain, layout.datadir(name)).expect("a store"), 1_800_000_000);
            let settings = plan::read_settings(&layout.datadir(name)).expect("settings");
            let plan = plan::plan_of(&layout, name, &settings).expect("complete");
            let mut wallet = Wallet::open(&layout.wallet(name), "").expect("an empty passphrase");
            let address = wallet.latest_address().expect("given out");
            assert_eq!(plan.address, wallet.encode(&address));
            wallet.check_chain(spec.chain.id()).expect("of this chain");
        }
    }

    #[test]
    fn what_others_have_put_there_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let layout = Layout::new(folder.path());
        fs::write(layout.datadir("bob"), "a file of somebody's").expect("written");
        let now = Time::from_secs(1_800_000_000);
        let made = make(&config(folder.path()), &layout, now, &AtomicBool::new(false), |_, _| {});
        let error = made.expect_err("in the way").to_string();
        assert!(error.contains("bob is in the way"), "{error}");
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 1);
    }

    #[test]
    fn an_attempt_that_was_cut_short_leaves_nothing_in_the_way() {
        let folder = tempfile::tempdir().expect("a folder");
        let layout = Layout::new(folder.path());
        let (config, now) = (config(folder.path()), Time::from_secs(1_800_000_000));
        let cut = make(&config, &layout, now, &AtomicBool::new(true), |_, _| {});
        assert!(matches!(cut, Err(DevnetError::Premine(PremineError::Cancelled))), "{cut:?}");
        assert_eq!(plan::read_record(&layout).expect("none"), None);
        make(&config, &layout, now, &AtomicBool::new(false), |_, _| {}).expect("made at the second attempt");
    }
}

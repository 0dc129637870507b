//! Everything before the nodes start: the folder's lock, a new devnet or the one that is there, its clock and ports.

use std::{sync::atomic::AtomicBool, time::Duration};

use chain::{genesis::Chain, time::Time};
use rayon::prelude::*;

use super::{
    DevnetConfig, DevnetError, Event, Reports,
    clock::{self, DevnetClock},
    making,
    plan::{self, Layout, NAMES, NodePlan, Record},
};
use crate::{
    chain_file::ChainSpec,
    store::{DataDirLock, LockError},
};

/// How long to wait for the nodes of a supervisor that was killed a moment ago.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// A devnet whose nodes may be started.
#[derive(Debug)]
pub(super) struct Prepared {
    /// Its chain.
    pub chain: Chain,
    /// Its nodes.
    pub plans: Vec<NodePlan>,
    /// Its clock.
    pub clock: DevnetClock,
}

/// Locks the folder for one supervisor, and removes a stale `devnet.json` before anything else is done.
pub(super) fn lock(layout: &Layout) -> Result<DataDirLock, DevnetError> {
    let lock = DataDirLock::acquire(&layout.private(), Duration::ZERO).map_err(|error| match error {
        LockError::Held { holder, .. } => {
            DevnetError::Running { folder: layout.folder().to_path_buf(), holder }
        }
        error @ LockError::Unusable { .. } => DevnetError::Lock(error),
    })?;
    making::withdraw(layout)?;
    Ok(lock)
}

/// Makes the devnet, or takes up the one that is in the folder, and sets its nodes' clocks.
pub(super) fn prepare(
    config: &DevnetConfig,
    layout: &Layout,
    cancelled: &AtomicBool,
    reports: &Reports,
) -> Result<Prepared, DevnetError> {
    if config.nodes == 0 || usize::from(config.nodes) > NAMES.len() {
        return Err(DevnetError::Nodes(config.nodes));
    }
    let record = plan::read_record(layout)?;
    if let Some(record) = &record {
        compare(config, layout, record, reports)?;
    } else {
        reports.tell(Event::Making { folder: layout.folder().to_path_buf() });
        let now = Time::from_secs(u32::try_from(clock::wall_secs()).unwrap_or(u32::MAX));
        making::make(config, layout, now, cancelled, |done, of| reports.tell(Event::Mined { done, of }))?;
    }
    let chain = ChainSpec::load(&layout.chain_file().display().to_string())?.chain;
    let names = &NAMES[..usize::from(config.nodes)];
    let clock = if record.is_some() { resume(layout, names, &chain, reports)? } else { DevnetClock::NEW };
    let ports = match config.base_port {
        Some(_) => Some(plan::choose_ports(config.nodes, config.base_port)?),
        None => None,
    };
    let mut plans = Vec::new();
    for (index, &name) in names.iter().enumerate() {
        let datadir = layout.datadir(name);
        let mut settings = plan::read_settings(&datadir)?;
        settings.clock_offset_secs = Some(clock.offset_secs());
        if let Some(ports) = &ports {
            plan::set_ports(&mut settings, ports, index);
        }
        plan::write_settings(&datadir, &layout.aside(), &settings)?;
        plans.push(plan::plan_of(layout, name, &settings)?);
    }
    plan::check_ports(&plans)?;
    clock.save(&layout.clock(), &layout.aside()).map_err(DevnetError::file(layout.clock()))?;
    Ok(Prepared { chain, plans, clock })
}

/// Refuses another number of nodes; the rest of what was asked for holds for new devnets only.
fn compare(
    config: &DevnetConfig,
    layout: &Layout,
    record: &Record,
    reports: &Reports,
) -> Result<(), DevnetError> {
    if record.nodes != config.nodes {
        let folder = layout.folder().to_path_buf();
        return Err(DevnetError::OtherSize { folder, has: record.nodes, wanted: config.nodes });
    }
    let Record { spacing_secs, hashes_per_sec, .. } = *record;
    if (spacing_secs, hashes_per_sec) != (config.spacing_secs, config.hashes_per_sec) {
        reports.tell(Event::MadeWith { spacing_secs, hashes_per_sec });
    }
    Ok(())
}

/// The clock goes on from where the devnet was last seen: by its supervisor, or by a node whose tip is later, as
/// after a kill or where a node ran on its own.
fn resume(
    layout: &Layout,
    names: &[&str],
    chain: &Chain,
    reports: &Reports,
) -> Result<DevnetClock, DevnetError> {
    let tip_time = |name: &&str| {
        let datadir = layout.datadir(name);
        let _lock = DataDirLock::acquire(&datadir, LOCK_WAIT).map_err(DevnetError::Lock)?;
        making::tip_time(chain, datadir)
    };
    let tip_times: Vec<i64> = names.par_iter().map(tip_time).collect::<Result<_, _>>()?;
    let latest_tip = tip_times.into_iter().max().unwrap_or_default();
    let last = match clock::last_seen(&layout.clock()) {
        Ok(seen) => seen.max(latest_tip),
        Err(error) => {
            tracing::warn!(path = %layout.clock().display(), %error, "the clock goes on from the last block");
            latest_tip
        }
    };
    let clock = DevnetClock::resumed(last, clock::wall_secs());
    let stopped_secs = clock.offset_secs().saturating_neg();
    reports.tell(Event::GoingOn { folder: layout.folder().to_path_buf(), stopped_secs });
    Ok(clock)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use tokio::sync::{mpsc, watch};

    use super::*;

    fn config(folder: &Path) -> DevnetConfig {
        DevnetConfig {
            folder: folder.to_path_buf(),
            nodes: 2,
            base_port: None,
            spacing_secs: 5,
            hashes_per_sec: 50,
            program: "cairn".into(),
        }
    }

    fn reports() -> (Reports, mpsc::Receiver<Event>) {
        let (events, heard) = mpsc::channel(64);
        (Reports { events, table: watch::channel(Vec::new()).0 }, heard)
    }

    fn prepared(config: &DevnetConfig) -> (Result<Prepared, DevnetError>, Vec<Event>) {
        let (reports, mut heard) = reports();
        let result = prepare(config, &Layout::new(&config.folder), &AtomicBool::new(false), &reports);
        (result, std::iter::from_fn(|| heard.try_recv().ok()).collect())
    }

    #[test]
    fn the_second_start_goes_on_with_the_first_ones_chain_ports_and_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = config(folder.path());
        let layout = Layout::new(folder.path());
        let lock = lock(&layout).expect("nobody has it");
        let (first, events) = prepared(&config);
        let first = first.expect("made");
        assert_eq!(events.first(), Some(&Event::Making { folder: folder.path().to_path_buf() }));
        assert_eq!(first.clock, DevnetClock::NEW);
        // The devnet was stopped for a day.
        let last = clock::wall_secs() - 86_400;
        fs::write(layout.clock(), format!("{{\"devnet_time\": {last}}}")).expect("written");
        let (second, _) = prepared(&config);
        let second = second.expect("there");
        assert_eq!((second.chain.id(), &second.plans), (first.chain.id(), &first.plans));
        // The first blocks end at the time of the making, which is later than the clock's word.
        let offset = second.clock.offset_secs();
        assert!((-600..=0).contains(&offset), "{offset}");
        let settings = plan::read_settings(&layout.datadir("bob")).expect("settings");
        assert_eq!(settings.clock_offset_secs, Some(offset));
        drop(lock);
    }

    #[test]
    fn another_size_is_refused_and_other_speeds_are_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = config(folder.path());
        fs::create_dir(Layout::new(folder.path()).private()).expect("made");
        prepared(&config).0.expect("made");
        let error = prepared(&DevnetConfig { nodes: 3, ..config.clone() }).0.expect_err("another size");
        assert!(error.to_string().contains("has 2 nodes, not 3"), "{error}");
        let (again, events) = prepared(&DevnetConfig { spacing_secs: 9, ..config.clone() });
        again.expect("goes on");
        assert!(events.contains(&Event::MadeWith { spacing_secs: 5, hashes_per_sec: 50 }), "{events:?}");
        let none = prepared(&DevnetConfig { nodes: 0, ..config }).0.expect_err("no nodes");
        assert!(matches!(none, DevnetError::Nodes(0)), "{none}");
    }

    #[test]
    fn a_base_port_moves_a_devnet() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = config(folder.path());
        fs::create_dir(Layout::new(folder.path()).private()).expect("made");
        prepared(&config).0.expect("made");
        let free = plan::choose_ports(1, None).expect("free ports")[0].rpc;
        let moved = prepared(&DevnetConfig { base_port: Some(free), ..config });
        match moved.0 {
            Ok(prepared) => assert_eq!(prepared.plans[0].ports.p2p, free),
            // One of the ports above a free one may be somebody's.
            Err(error) => assert!(matches!(error, DevnetError::PortTaken { .. }), "{error}"),
        }
    }

    #[test]
    fn a_second_supervisor_is_refused_and_a_stale_announcement_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let layout = Layout::new(folder.path());
        fs::write(layout.announcement(), "stale").expect("written");
        let first = lock(&layout).expect("nobody has it");
        assert!(!layout.announcement().exists());
        fs::write(layout.announcement(), "the first one's").expect("written");
        let error = lock(&layout).expect_err("held").to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        assert!(layout.announcement().exists(), "the second one removes nothing");
        drop(first);
    }
}

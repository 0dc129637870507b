//! The supervisor: starts the nodes, watches them, and ends them.
//!
//! One loop over four things that may happen: the devnet is told to stop, a child has ended (the kernel says so),
//! a node was looked at, the clock is to be noted. A node that died is shown as dead and not started again.

use std::{
    collections::VecDeque,
    fs,
    future::Future,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use chain::{genesis::Chain, hash::BlockHash};
use rpc::client::{Client, Login};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc::{self, Receiver},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use super::{
    AnnouncedNode, AnnouncedWallet, Announcement, DevnetConfig, DevnetError, Event, NodeState, Reports,
    clock::DevnetClock,
    making,
    member::Member,
    plan::{Layout, NodePlan},
    premine,
    preparing::{self, Prepared},
    process::{self, NodeProcess},
    watch::{self, ANSWER_TIMEOUT, RUNNING_INTERVAL, Sighting},
};
use crate::store::DataDirLock;

/// How long a devnet may take to become ready.
const READY_TIMEOUT: Duration = Duration::from_secs(120);
/// How often the devnet's time is noted.
const CLOCK_INTERVAL: Duration = Duration::from_secs(5);
/// How long nodes have to end in order before they are killed.
const END_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the kernel has to end those that were killed.
const KILL_TIMEOUT: Duration = Duration::from_secs(3);
/// How many sightings may wait.
const MAX_WAITING_SIGHTINGS: usize = 64;
/// How many tips are remembered, so that each is told of once.
const REMEMBERED_TIPS: usize = 1_024;

/// Runs a devnet until `stop` is done, and ends all its nodes. To be called within a tokio runtime.
///
/// # Errors
/// [`DevnetError`]: why it did not become ready, or cannot be supervised; its nodes are ended then, too.
pub async fn run(
    config: DevnetConfig,
    stop: impl Future<Output = ()>,
    reports: Reports,
) -> Result<(), DevnetError> {
    let mut stop = pin!(stop);
    let layout = Layout::new(&config.folder);
    fs::create_dir_all(layout.folder()).map_err(DevnetError::file(layout.folder()))?;
    let _lock = preparing::lock(&layout)?;
    let reports = Arc::new(reports);
    let cancelled = Arc::new(AtomicBool::new(false));
    let mut preparing = tokio::task::spawn_blocking({
        let (config, layout) = (config.clone(), layout.clone());
        let (cancelled, reports) = (Arc::clone(&cancelled), Arc::clone(&reports));
        move || preparing::prepare(&config, &layout, &cancelled, &reports)
    });
    let prepared = tokio::select! {
        prepared = &mut preparing => prepared.map_err(|_| DevnetError::Panicked)??,
        () = &mut stop => {
            cancelled.store(true, Ordering::Relaxed);
            // Whatever became of it, nothing was started yet.
            return preparing.await.map(drop).map_err(|_| DevnetError::Panicked);
        }
    };
    let mut supervisor = Supervisor::new(config, layout, prepared, reports)?;
    let outcome = supervisor.supervise(stop).await;
    supervisor.end().await?;
    outcome
}

struct Supervisor {
    config: DevnetConfig,
    layout: Layout,
    chain: Chain,
    clock: DevnetClock,
    members: Vec<Member>,
    reports: Arc<Reports>,
    children: Signal,
    ready: bool,
    told_tips: VecDeque<BlockHash>,
}

impl Supervisor {
    fn new(
        config: DevnetConfig,
        layout: Layout,
        prepared: Prepared,
        reports: Arc<Reports>,
    ) -> Result<Self, DevnetError> {
        let Prepared { chain, plans, clock } = prepared;
        let client = |plan: &NodePlan| {
            let cookie = Login::CookieFile(plan.datadir.join(rpc::auth::COOKIE_FILE));
            Client::with_timeout(plan.rpc_url(), cookie, ANSWER_TIMEOUT)
        };
        let member = |plan: NodePlan| Member::new(client(&plan), plan);
        Ok(Self {
            members: plans.into_iter().map(member).collect(),
            // Listened to before the first child is there, so that no end is missed.
            children: signal(SignalKind::child()).map_err(DevnetError::Supervision)?,
            ready: false,
            told_tips: VecDeque::new(),
            config,
            layout,
            chain,
            clock,
            reports,
        })
    }

    async fn supervise(&mut self, mut stop: Pin<&mut impl Future<Output = ()>>) -> Result<(), DevnetError> {
        self.start()?;
        let started = Instant::now();
        let (intervals, mut sightings) = self.watch()?;
        let mut clock_ticks = interval(CLOCK_INTERVAL);
        clock_ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = &mut stop => return Ok(()),
                _ = self.children.recv() => self.collect_ends()?,
                Some(sighting) = sightings.recv() => {
                    self.note(sighting)?;
                    if !self.ready && self.missing().is_none() {
                        self.announce()?;
                        for interval in &intervals {
                            // Its thread ends only with us.
                            let _ = interval.send(RUNNING_INTERVAL);
                        }
                    }
                }
                _ = clock_ticks.tick() => {
                    self.note_time();
                    self.cap_logs();
                }
                () = sleep_until(started + READY_TIMEOUT), if !self.ready => {
                    let missing = self.missing().unwrap_or_default();
                    let folder = self.layout.folder().to_path_buf();
                    return Err(DevnetError::NotReady { secs: READY_TIMEOUT.as_secs(), missing, folder });
                }
            }
        }
    }

    fn start(&mut self) -> Result<(), DevnetError> {
        let program = &self.config.program;
        for member in &mut self.members {
            let plan = &member.plan;
            let process = NodeProcess::start(program, &plan.datadir, &self.layout.log(plan.name));
            let process = process.map_err(|error| DevnetError::Spawn {
                program: program.clone(),
                name: plan.name,
                error,
            })?;
            self.reports.tell(Event::Started { name: plan.name, pid: process.pid() });
            member.process = Some(process);
        }
        self.publish();
        Ok(())
    }

    /// Starts a thread for each node that looks at it. The threads end when the intervals' queues are dropped.
    fn watch(&self) -> Result<(Vec<std::sync::mpsc::Sender<Duration>>, Receiver<Sighting>), DevnetError> {
        let (sender, sightings) = mpsc::channel(MAX_WAITING_SIGHTINGS);
        let mut intervals = Vec::new();
        for (node, member) in self.members.iter().enumerate() {
            // It carries one message, ever.
            let (interval, changes) = std::sync::mpsc::channel();
            let (client, sender) = (member.client.clone(), sender.clone());
            thread::Builder::new()
                .name(format!("watch-{}", member.plan.name))
                .spawn(move || watch::watch(node, &client, &changes, &sender))
                .map_err(DevnetError::Supervision)?;
            intervals.push(interval);
        }
        Ok((intervals, sightings))
    }

    /// Collects the ends of processes.
    fn collect_ends(&mut self) -> Result<(), DevnetError> {
        for member in &mut self.members {
            let Some(status) = member.collect_end().map_err(DevnetError::Supervision)? else { continue };
            let how = process::describe(status);
            if !self.ready {
                let log = self.layout.log(member.plan.name);
                let tail = process::tail(&log);
                return Err(DevnetError::EndedEarly { name: member.plan.name, how, log, tail });
            }
            self.reports.tell(Event::Died { name: member.plan.name, how });
        }
        self.publish();
        Ok(())
    }

    fn note(&mut self, sighting: Sighting) -> Result<(), DevnetError> {
        let Some(member) = self.members.get_mut(sighting.node) else { return Ok(()) };
        let ours = self.chain.id();
        if let Some(seen) = &sighting.seen
            && seen.genesis != ours
            && !self.ready
        {
            return Err(DevnetError::Stranger { name: member.plan.name, url: member.plan.rpc_url() });
        }
        let seen = sighting.seen.filter(|seen| seen.genesis == ours);
        let name = member.plan.name;
        let tip = seen.as_ref().map(|seen| (seen.height, seen.tip));
        for event in member.note(seen, sighting.asked_at) {
            self.reports.tell(event);
        }
        if let Some((height, hash)) = tip.filter(|(_, hash)| !self.told_tips.contains(hash)) {
            self.told_tips.push_back(hash);
            if self.told_tips.len() > REMEMBERED_TIPS {
                self.told_tips.pop_front();
            }
            if self.ready {
                self.reports.tell(Event::NewTip { name, height, hash });
            }
        }
        self.publish();
        Ok(())
    }

    fn publish(&self) {
        self.reports.table.send_replace(self.members.iter().map(Member::status).collect());
    }

    /// What is missing before payments can be made.
    fn missing(&self) -> Option<String> {
        let nodes = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
        let height = premine::first_blocks(self.chain.params().maturity_blocks, nodes);
        let peers = u64::from(nodes).saturating_sub(1);
        self.members.iter().find_map(|member| member.missing(height, peers))
    }

    /// Says that payments can be made.
    fn announce(&mut self) -> Result<(), DevnetError> {
        let announcement = Announcement {
            chain: self.layout.chain_file(),
            nodes: self.members.iter().filter_map(announced_node).collect(),
            wallets: self.members.iter().map(|member| announced_wallet(&self.layout, &member.plan)).collect(),
            ready: true,
        };
        announcement.write(&self.layout)?;
        self.ready = true;
        self.reports.tell(Event::Ready { file: self.layout.announcement(), announcement });
        Ok(())
    }

    fn cap_logs(&self) {
        for member in &self.members {
            let log = self.layout.log(member.plan.name);
            if let Err(error) = process::cap_log(&log) {
                tracing::warn!(path = %log.display(), %error, "a log that is too long stays as it is");
            }
        }
    }

    fn note_time(&self) {
        if let Err(error) = self.clock.save(&self.layout.clock(), &self.layout.aside()) {
            // The time noted last, or the last block's, will do.
            tracing::warn!(path = %self.layout.clock().display(), %error, "the devnet's time is not noted");
        }
    }

    /// Ends all nodes: in order where they do so in time, and those that others have started as well.
    async fn end(&mut self) -> Result<(), DevnetError> {
        self.ready = false;
        let withdrawn = making::withdraw(&self.layout);
        self.reports.tell(Event::Ending);
        let mut by_hand = JoinSet::new();
        for member in &mut self.members {
            if let Some(process) = &mut member.process {
                process.ask_to_end();
            } else if member.state() == &NodeState::Alive {
                let (client, datadir) = (member.client.clone(), member.plan.datadir.clone());
                by_hand.spawn_blocking(move || match client.stop() {
                    // Its folder is free when it has ended.
                    Ok(_) => DataDirLock::acquire(&datadir, END_TIMEOUT)
                        .map(drop)
                        .map_err(|error| error.to_string()),
                    Err(error) => Err(error.to_string()),
                });
            }
        }
        if !self.wait_for_ends(END_TIMEOUT).await? {
            for member in &mut self.members {
                if let Some(process) = &mut member.process {
                    self.reports.tell(Event::Killed { name: member.plan.name });
                    process.kill();
                }
            }
            if !self.wait_for_ends(KILL_TIMEOUT).await? {
                tracing::warn!("a node does not end even though it was killed");
            }
        }
        while let Some(ended) = by_hand.join_next().await {
            if let Ok(Err(error)) = ended {
                tracing::warn!(%error, "a node that was started by hand may still run");
            }
        }
        self.note_time();
        withdrawn
    }

    /// Waits until no process is left, or for this long; whether none is left.
    async fn wait_for_ends(&mut self, at_most: Duration) -> Result<bool, DevnetError> {
        let deadline = Instant::now() + at_most;
        loop {
            for member in &mut self.members {
                member.collect_end().map_err(DevnetError::Supervision)?;
            }
            self.publish();
            if self.members.iter().all(|member| member.process.is_none()) {
                return Ok(true);
            }
            tokio::select! {
                _ = self.children.recv() => {}
                () = sleep_until(deadline) => return Ok(false),
            }
        }
    }
}

fn announced_node(member: &Member) -> Option<AnnouncedNode> {
    let NodePlan { name, datadir, .. } = &member.plan;
    Some(AnnouncedNode {
        name: (*name).to_owned(),
        rpc_url: member.plan.rpc_url(),
        cookie_file: datadir.join(rpc::auth::COOKIE_FILE),
        p2p_address: member.p2p_address()?.to_owned(),
        datadir: datadir.clone(),
        pid: member.process.as_ref()?.pid(),
    })
}

fn announced_wallet(layout: &Layout, plan: &NodePlan) -> AnnouncedWallet {
    AnnouncedWallet {
        name: plan.name.to_owned(),
        file: layout.wallet(plan.name),
        address: plan.address.clone(),
        node: plan.name.to_owned(),
    }
}

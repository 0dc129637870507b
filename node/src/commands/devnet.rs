//! `cairn devnet`: several real nodes on this machine, with a live table, or plain lines where nobody watches.
//!
//! Showing is a thread of its own: a terminal that takes nothing for a while must not keep the nodes from ending.

use std::{
    io::{self, IsTerminal},
    path::Path,
    sync::mpsc::{self as std_mpsc, RecvTimeoutError},
    thread,
    time::Duration,
};

use anyhow::Context;
use chain::hash::BlockHash;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::{mpsc, watch};

use super::answer;
use crate::{
    cli::DevnetArgs,
    config::default_datadir,
    devnet::{self, Announcement, DevnetConfig, Event, MAX_WAITING_EVENTS, NodeState, NodeStatus, Reports},
    shutdown, telemetry,
};

/// How long the last lines may take after everything has ended.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_secs(2);
/// How many digits of a hash are shown.
const SHORT_HASH_DIGITS: usize = 12;
/// The table's head, over columns as wide as [`row`] makes them.
const HEAD: &str = "node      state     height  tip            peers   hash rate  mempool  reorganisations";

/// Runs a devnet until it is told to end.
///
/// # Errors
/// Why it did not start, or had to end.
pub fn run(args: DevnetArgs) -> anyhow::Result<()> {
    let folder = match args.datadir {
        Some(folder) => folder,
        None => default_datadir("devnet")?,
    };
    let program = std::env::current_exe().context("this program does not find its own file, to run nodes")?;
    let config = DevnetConfig {
        folder: std::path::absolute(&folder).with_context(|| format!("{} is no folder", folder.display()))?,
        nodes: args.nodes,
        base_port: args.base_port,
        spacing_secs: args.spacing,
        hashes_per_sec: args.hash_rate,
        program: program.clone(),
    };
    telemetry::start("warn");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("the system gives no threads; end other programs")?;
    let (events, heard) = mpsc::channel(MAX_WAITING_EVENTS);
    let (table, rows) = watch::channel(Vec::new());
    let (shown, all_shown) = std_mpsc::channel::<()>();
    let live = io::stdout().is_terminal() && io::stdin().is_terminal() && terminal_moves();
    thread::Builder::new()
        .name("show".into())
        .spawn(move || {
            show(heard, rows, &program, live);
            drop(shown);
        })
        .context("the system gives no thread; end other programs")?;
    let outcome = runtime.block_on(async {
        let stop = async {
            if let Err(error) = shutdown::signalled().await {
                tracing::warn!(%error, "signals cannot be heard: end the devnet with kill -9");
                std::future::pending::<()>().await;
            }
        };
        devnet::run(config, stop, Reports { events, table }).await
    });
    if all_shown.recv_timeout(LAST_WORDS_TIMEOUT) == Err(RecvTimeoutError::Timeout) {
        tracing::debug!("the terminal did not take everything");
    }
    Ok(outcome?)
}

/// Whether the terminal can draw over what it has drawn.
fn terminal_moves() -> bool {
    std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb")
}

fn show(
    mut events: mpsc::Receiver<Event>,
    rows: watch::Receiver<Vec<NodeStatus>>,
    program: &Path,
    live: bool,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    match runtime {
        Ok(runtime) if live => runtime.block_on(show_table(events, rows, program)),
        _ => {
            while let Some(event) = events.blocking_recv() {
                let Some(text) = words(&event, program) else { continue };
                if answer(text).is_err() {
                    // Nobody reads any more; the devnet runs on.
                    return;
                }
            }
        }
    }
}

async fn show_table(
    mut events: mpsc::Receiver<Event>,
    mut rows: watch::Receiver<Vec<NodeStatus>>,
    program: &Path,
) {
    let mut table = Table::new();
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(Event::NewTip { .. }) => {}
                Some(event) => {
                    if event == Event::Ending {
                        table.clear();
                    }
                    if let Some(text) = words(&event, program) {
                        table.print(&text);
                    }
                }
                None => break,
            },
            Ok(()) = rows.changed() => table.draw(&rows.borrow_and_update()),
        }
    }
    table.clear();
}

/// The table at the lower end of what is printed.
struct Table {
    screen: MultiProgress,
    lines: Vec<ProgressBar>,
    colours: bool,
    ended: bool,
}

impl Table {
    fn new() -> Self {
        let colours = std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
        let screen = MultiProgress::with_draw_target(ProgressDrawTarget::stdout());
        Self { screen, lines: Vec::new(), colours, ended: false }
    }

    fn print(&self, text: &str) {
        // That the terminal takes nothing is nothing that could be told.
        drop(self.screen.println(text));
    }

    fn draw(&mut self, rows: &[NodeStatus]) {
        if self.ended {
            return;
        }
        let style = ProgressStyle::with_template("{msg}").expect("a test draws this template");
        while self.lines.len() < rows.len() + 2 {
            let line = self.screen.add(ProgressBar::new_spinner().with_style(style.clone()));
            self.lines.push(line);
        }
        let texts = rows.iter().map(|status| row(status, self.colours));
        let texts = [" ".to_owned(), HEAD.to_owned()].into_iter().chain(texts);
        for (line, text) in self.lines.iter().zip(texts) {
            if line.message() != text {
                line.set_message(text);
                line.tick();
            }
        }
    }

    fn clear(&mut self) {
        self.ended = true;
        for line in self.lines.drain(..) {
            line.finish_and_clear();
            self.screen.remove(&line);
        }
        // As above: nothing that could be told.
        drop(self.screen.clear());
    }
}

/// A node's line of the table.
fn row(status: &NodeStatus, colours: bool) -> String {
    let (state, colour) = match &status.state {
        NodeState::Starting => ("starting", "33"),
        NodeState::Alive if status.by_hand => ("by hand", "32"),
        NodeState::Alive => ("alive", "32"),
        NodeState::Silent => ("silent", "33"),
        NodeState::Dead(_) => ("dead", "31"),
    };
    let state = format!("{state:<8}");
    let state = if colours { format!("\u{1b}[{colour}m{state}\u{1b}[0m") } else { state };
    let height = status.height.map_or("-".into(), |height| height.to_string());
    let tip = status.tip.as_ref().map_or("-".into(), short);
    let reorganisations = match (&status.state, status.reorganisations) {
        (NodeState::Dead(how), _) => how.clone(),
        (_, 0) => "0".into(),
        (_, count) => format!("{count}, the deepest of {}", blocks(status.deepest)),
    };
    let NodeStatus { name, peers, mempool, .. } = status;
    let rate = hash_rate(status.hashes_per_sec);
    format!(
        "{name:<8}  {state}  {height:>6}  {tip:<13}  {peers:>5}  {rate:>10}  {mempool:>7}  {reorganisations}"
    )
}

fn short(hash: &BlockHash) -> String {
    hash.to_string().chars().take(SHORT_HASH_DIGITS).collect()
}

fn blocks(count: u32) -> String {
    format!("{count} {}", if count == 1 { "block" } else { "blocks" })
}

fn hash_rate(hashes_per_sec: f64) -> String {
    let (value, unit) = match hashes_per_sec {
        rate if rate >= 1e6 => (rate / 1e6, "MH/s"),
        rate if rate >= 1e3 => (rate / 1e3, "kH/s"),
        rate => (rate, "H/s"),
    };
    format!("{value:.1} {unit}")
}

fn duration(secs: i64) -> String {
    match (secs / 86_400, secs / 3_600, secs / 60) {
        (0, 0, 0) => format!("{secs} s"),
        (0, 0, minutes) => format!("{minutes} min {} s", secs % 60),
        (0, hours, minutes) => format!("{hours} h {} min", minutes % 60),
        (days, hours, _) => format!("{days} d {} h", hours % 24),
    }
}

/// An event in words; nothing for what nobody wants to read.
fn words(event: &Event, program: &Path) -> Option<String> {
    Some(match event {
        Event::Making { folder } => format!("making a devnet in {}", folder.display()),
        Event::Mined { done, of } if done == of => format!("mined the first {}", blocks(*of)),
        Event::Mined { .. } => return None,
        Event::GoingOn { folder, stopped_secs } => {
            let stopped = duration((*stopped_secs).max(0));
            format!(
                "going on with the devnet in {}; its clock was stopped for {stopped} in all",
                folder.display()
            )
        }
        Event::MadeWith { spacing_secs, hashes_per_sec } => {
            format!(
                "this devnet was made with --spacing {spacing_secs} --hash-rate {hashes_per_sec}, which stay"
            )
        }
        Event::Started { name, pid } => format!("started {name}, process {pid}"),
        Event::Ready { file, announcement } => {
            let mut text = format!("ready {}", file.display());
            for line in how_to_pay(announcement, program) {
                text.push('\n');
                text.push_str(&line);
            }
            text
        }
        Event::NewTip { name, height, hash } => format!("height {height}, tip {hash}, first seen at {name}"),
        Event::Reorganised { name, depth } => {
            format!("{name} left {} for a branch with more work", blocks(*depth))
        }
        Event::Died { name, how } => format!("{name} is dead: it {how}"),
        Event::Silent { name } => format!("{name} does not answer"),
        Event::Back { name, by_hand: true } => format!("{name} is back, started by hand"),
        Event::Back { name, by_hand: false } => format!("{name} answers again"),
        Event::Ending => "ending all nodes".into(),
        Event::Killed { name } => format!("{name} did not end in time and was killed"),
    })
}

/// Commands that can be copied as they stand.
fn how_to_pay(announcement: &Announcement, program: &Path) -> Vec<String> {
    let (Some(payer), Some(payee)) = (announcement.wallets.first(), announcement.wallets.last()) else {
        return Vec::new();
    };
    let url = |name: &str| {
        let node = announcement.nodes.iter().find(|node| node.name == name);
        node.map_or_else(String::new, |node| node.rpc_url.clone())
    };
    let program = quote(program);
    let wallet =
        |file: &Path, node: &str| format!("{program} wallet --wallet {} --node {}", quote(file), url(node));
    let mut lines = vec![
        format!("{} pays {}, from another terminal:", payer.name, payee.name),
        format!("  {} send {} 1.5 --yes", wallet(&payer.file, &payer.node), payee.address),
        format!("what {} has then:", payee.name),
        format!("  {} balance", wallet(&payee.file, &payee.node)),
    ];
    if let Some(node) = announcement.nodes.last() {
        lines.push(format!("{} dies and is started again:", node.name));
        lines.push(format!("  kill -9 {}", node.pid));
        lines.push(format!("  {program} node --datadir {}", quote(&node.datadir)));
    }
    lines.push("Ctrl-C ends the devnet; the same command goes on with it".into());
    lines
}

/// A path as a shell takes it.
fn quote(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@%".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use chain::height::Height;

    use super::*;

    fn status(state: NodeState) -> NodeStatus {
        NodeStatus {
            name: "mallory",
            state,
            by_hand: false,
            height: Some(Height::new(123)),
            tip: Some(BlockHash::from_bytes([0xab; 32])),
            peers: 3,
            hashes_per_sec: 2_034.0,
            mempool: 17,
            reorganisations: 2,
            deepest: 1,
        }
    }

    #[test]
    fn columns_stand_under_their_heads() {
        let line = row(&status(NodeState::Alive), false);
        for (head, value) in
            [("state", "alive"), ("tip", "abababababab"), ("reorganisations", "2, the deepest")]
        {
            assert_eq!(HEAD.find(head), line.find(value), "{HEAD}\n{line}");
        }
        for (head, value) in [("height", "123"), ("peers", "3"), ("hash rate", "2.0 kH/s"), ("mempool", "17")]
        {
            let ends = |text: &str, part: &str| text.find(part).map(|at| at + part.len());
            let after_tip = line.find("abababababab").map_or(0, |at| at + 12);
            let from = if head == "height" { 0 } else { after_tip };
            let end = ends(&line[from..], value).map(|at| at + from);
            assert_eq!(ends(HEAD, head), end, "{head}\n{HEAD}\n{line}");
        }
        let coloured = row(&status(NodeState::Dead("died of signal 9".into())), true);
        assert!(coloured.contains("\u{1b}[31mdead    \u{1b}[0m") && coloured.ends_with("died of signal 9"));
        assert!(!row(&status(NodeState::Silent), false).contains('\u{1b}'));
    }

    #[test]
    fn the_table_can_be_drawn() {
        let mut table = Table::new();
        table.draw(&[status(NodeState::Starting), status(NodeState::Alive)]);
        assert_eq!(table.lines.len(), 4);
        assert_eq!(table.lines[1].message(), HEAD);
        table.clear();
        table.draw(&[status(NodeState::Alive)]);
        assert!(table.lines.is_empty(), "nothing is drawn below the last words");
    }

    #[test]
    fn quantities_are_readable() {
        assert_eq!([0.0, 999.0, 8e6].map(hash_rate), ["0.0 H/s", "999.0 H/s", "8.0 MH/s"]);
        assert_eq!([5, 65, 7_260, 180_000].map(duration), ["5 s", "1 min 5 s", "2 h 1 min", "2 d 2 h"]);
        assert_eq!(quote(Path::new("/tmp/a b/it's")), r"'/tmp/a b/it'\''s'");
        assert_eq!(quote(Path::new("/tmp/net-1/alice")), "/tmp/net-1/alice");
    }

    #[test]
    fn deaths_name_node_and_cause() {
        let event = Event::Died { name: "bob", how: "died of signal 9".into() };
        assert_eq!(words(&event, Path::new("cairn")).as_deref(), Some("bob is dead: it died of signal 9"));
        assert_eq!(words(&Event::Mined { done: 1, of: 2 }, Path::new("cairn")), None);
    }
}

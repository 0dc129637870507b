//! What a node says of itself: asked over its RPC, once a second, by a thread of its own.
//!
//! The RPC is asked and not the process, so that a node that somebody started again by hand is seen as well.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::Duration,
};

use chain::{hash::BlockHash, height::Height};
use rpc::{
    client::{Client, ClientError},
    types::{HeaderInfo, OneOf},
};
use tokio::{sync::mpsc::Sender, time::Instant};

/// How often a node is asked while the devnet starts.
pub(super) const STARTING_INTERVAL: Duration = Duration::from_millis(100);
/// How often it is asked after that.
pub(super) const RUNNING_INTERVAL: Duration = Duration::from_secs(1);
/// How long an answer may take; a node that was stopped by a signal gives none.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// How far back a reorganisation is measured, in blocks; a deeper one is counted with this depth.
const MAX_MEASURED_DEPTH: u32 = 1_000;

/// What a node says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seen {
    /// Its chain.
    pub genesis: BlockHash,
    /// What other nodes' `--bootstrap` takes.
    pub p2p_address: Option<String>,
    /// The height of its tip.
    pub height: Height,
    /// Its tip.
    pub tip: BlockHash,
    /// Its peers.
    pub peers: u64,
    /// How fast it mines, measured.
    pub hashes_per_sec: f64,
    /// The transactions in its mempool.
    pub mempool: u64,
    /// How many blocks of the chain that was seen before are no longer on the active chain; 0 but after a
    /// reorganisation.
    pub reverted: u32,
}

/// An answer of a node, or that there is none.
#[derive(Debug)]
pub(super) struct Sighting {
    /// Which node.
    pub node: usize,
    /// When the question was put.
    pub asked_at: Instant,
    /// What it says.
    pub seen: Option<Seen>,
}

/// Asks a node again and again, at the last interval that came in `intervals`, until that queue's other end or
/// `sightings` is closed.
pub(super) fn watch(
    node: usize,
    client: &Client,
    intervals: &Receiver<Duration>,
    sightings: &Sender<Sighting>,
) {
    let mut watch = Watch { client, met: None, tip: None };
    let mut interval = STARTING_INTERVAL;
    loop {
        let asked_at = Instant::now();
        let seen = watch.look();
        if let Err(error) = &seen {
            tracing::debug!(url = client.url(), %error, "no answer");
        }
        if sightings.blocking_send(Sighting { node, asked_at, seen: seen.ok() }).is_err() {
            return;
        }
        match intervals.recv_timeout(interval) {
            Ok(changed) => interval = changed,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

struct Watch<'a> {
    client: &'a Client,
    /// The chain and the address of the node that answers; asked for again after it did not answer, since then it
    /// may be another one.
    met: Option<(BlockHash, Option<String>)>,
    /// The tip that was seen last, with its height.
    tip: Option<(BlockHash, Height)>,
}

impl Watch<'_> {
    fn look(&mut self) -> Result<Seen, ClientError> {
        self.ask().inspect_err(|_| self.met = None)
    }

    fn ask(&mut self) -> Result<Seen, ClientError> {
        let (genesis, p2p_address) = match &self.met {
            Some((genesis, Some(address))) => (*genesis, Some(address.clone())),
            _ => {
                let genesis = self.client.getblockchaininfo()?.genesishash;
                let address = self.client.getnetworkinfo()?.localaddresses.into_iter().next();
                self.met = Some((genesis, address.clone()));
                (genesis, address)
            }
        };
        let tip = self.client.getbestblockhash()?;
        let mut reverted = 0;
        let height = match self.tip {
            Some((known, height)) if known == tip => height,
            before => {
                let height = self.header(tip)?.map_or(Height::ZERO, |header| header.height);
                if let Some((before, _)) = before {
                    reverted = self.inactive_from(before)?;
                }
                self.tip = Some((tip, height));
                height
            }
        };
        let mining = self.client.getmininginfo()?;
        let peers = self.client.getconnectioncount()?;
        Ok(Seen {
            genesis,
            p2p_address,
            height,
            tip,
            peers,
            hashes_per_sec: mining.hashespersec,
            mempool: mining.pooledtx,
            reverted,
        })
    }

    fn header(&self, hash: BlockHash) -> Result<Option<HeaderInfo>, ClientError> {
        match self.client.getblockheader(hash, Some(true)) {
            Ok(OneOf::Long(header)) => Ok(Some(header)),
            Ok(OneOf::Short(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// How many blocks from `tip` downwards are not on the active chain. Of a tip that the node does not know (its
    /// data was removed, say) nothing can be said.
    fn inactive_from(&self, tip: BlockHash) -> Result<u32, ClientError> {
        let mut hash = tip;
        for depth in 0..MAX_MEASURED_DEPTH {
            let header = match self.header(hash) {
                Ok(Some(header)) => header,
                Ok(None) | Err(ClientError::Rpc(_)) => return Ok(depth),
                Err(error) => return Err(error),
            };
            match header.previousblockhash {
                Some(previous) if header.confirmations < 0 => hash = previous,
                _ => return Ok(depth),
            }
        }
        Ok(MAX_MEASURED_DEPTH)
    }
}

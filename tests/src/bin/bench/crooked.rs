//! Peers that serve a chain's headers honestly and its bodies not: one that never sends them, one that sends others.
//!
//! They are this program's own network room without an engine behind it, so that a node meets them as it meets any.

use std::{collections::HashMap, error::Error, path::Path, sync::Arc, thread};

use chain::{
    block::{HEADER_BYTES, Header},
    genesis::Chain,
    hash::BlockHash,
    height::Height,
    pow::{Target, Work},
};
use node::p2p::{
    ConnectionCaps, FromNet, NetConfig, Service, ToNet,
    wire::{HeadersRequest, MAX_BLOCKS, MAX_HEADERS, RawBlock, Request, Response, Status},
};
use tokio::sync::{mpsc, oneshot};

/// Messages that wait between the peer and its network, at the most.
const QUEUE: usize = 64;

/// What the peer does when it is asked for bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vice {
    /// Nothing, ever.
    Stalls,
    /// Sends them with a byte changed.
    Lies,
}

/// A chain to pretend to have.
#[derive(Debug)]
pub struct Pretence {
    chain: Chain,
    headers: Vec<Header>,
    heights: HashMap<BlockHash, usize>,
    blocks: Vec<Vec<u8>>,
    work: Work,
}

impl Pretence {
    /// Of these blocks, the lowest first, above the genesis block.
    pub fn new(chain: &Chain, blocks: Vec<Vec<u8>>) -> Result<Self, Box<dyn Error>> {
        let mut work = chain.genesis().header.bits.to_target().map(Target::work)?;
        let mut headers = vec![chain.genesis().header];
        for block in &blocks {
            let header = Header::from_bytes(block.first_chunk().ok_or("a block without a header")?);
            work = work.checked_add(header.bits.to_target()?.work()).ok_or("too much work")?;
            headers.push(header);
        }
        let heights = (0..).zip(&headers).map(|(height, header)| (header.hash(), height)).collect();
        Ok(Self { chain: chain.clone(), headers, heights, blocks, work })
    }

    fn status(&self) -> Result<Status, Box<dyn Error + Send + Sync>> {
        let tip = self.headers.last().ok_or("a chain has a genesis block")?.hash();
        let height = Height::new(u32::try_from(self.blocks.len())?);
        Ok(Status { chain: self.chain.id(), tip, height, work: self.work, agent: "/crooked:1/".into() })
    }

    fn headers_after(&self, request: &HeadersRequest) -> Vec<Header> {
        let known = request.locator.iter().find_map(|hash| self.heights.get(hash));
        let first = known.map_or(1, |height| height + 1);
        self.headers[first..].iter().take(MAX_HEADERS).copied().collect()
    }

    /// The blocks asked for, with the last byte of each changed.
    fn spoilt(&self, hashes: &[BlockHash]) -> Vec<RawBlock> {
        let spoilt = |hash: &BlockHash| {
            let mut bytes = self.blocks.get(self.heights.get(hash)?.checked_sub(1)?)?.clone();
            bytes.iter_mut().skip(HEADER_BYTES).last().into_iter().for_each(|byte| *byte ^= 1);
            RawBlock::from_bytes(bytes).ok()
        };
        hashes.iter().take(MAX_BLOCKS).map_while(spoilt).collect()
    }
}

/// A crooked peer that runs until it is dropped.
#[derive(Debug)]
pub struct Crooked {
    /// What `--bootstrap` takes.
    pub address: String,
    /// Its end is the peer's.
    _stop: oneshot::Sender<()>,
}

impl Crooked {
    /// Starts a peer on a thread of its own.
    pub fn start(folder: &Path, vice: Vice, pretence: Arc<Pretence>) -> Result<Self, Box<dyn Error>> {
        let config = NetConfig {
            chain: pretence.chain.id(),
            listen: vec!["/ip4/127.0.0.1/tcp/0".into()],
            bootstrap: Vec::new(),
            identity_file: folder.join(format!("{vice:?}.key")),
            outbound_places: 0,
            search_nearby: false,
            peers_file: folder.join(format!("{vice:?}.peers")),
            caps: ConnectionCaps::default(),
        };
        let (stop, stopped) = oneshot::channel();
        let (listening, address) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(run(config, vice, &pretence, &listening, stopped))
        });
        Ok(Self { address: address.recv()?, _stop: stop })
    }
}

type Ended = Result<(), Box<dyn Error + Send + Sync>>;

async fn run(
    config: NetConfig,
    vice: Vice,
    pretence: &Pretence,
    listening: &std::sync::mpsc::Sender<String>,
    stopped: oneshot::Receiver<()>,
) -> Ended {
    let (to_net, commands) = mpsc::channel(QUEUE);
    let (events, mut from_net) = mpsc::channel(QUEUE);
    let service = Service::new(config)?.run(commands, events, async {
        // A sender that is gone means the same.
        drop(stopped.await);
    });
    let answer = async {
        while let Some(event) = from_net.recv().await {
            match event {
                FromNet::Listening { address } => listening.send(address)?,
                FromNet::Request { reply, request, .. } => {
                    let response = match request {
                        Request::Status(_) => Response::Status(pretence.status()?),
                        Request::Headers(request) => Response::Headers(pretence.headers_after(&request)),
                        Request::Blocks(hashes) if vice == Vice::Lies => {
                            Response::Blocks(pretence.spoilt(&hashes))
                        }
                        _ => continue,
                    };
                    to_net.send(ToNet::Reply { reply, response }).await?;
                }
                _ => {}
            }
        }
        Ended::Ok(())
    };
    let (service, answered) = tokio::join!(service, answer);
    service?;
    answered
}

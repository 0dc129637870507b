//! Whole services over loopback, each on a port of its own choosing; events are awaited, never slept for.

use std::{sync::Arc, time::Duration};

use chain::{
    address::Address,
    amount::Amount,
    block::{Block, Header},
    hash::{BlockHash, TxId},
    height::Height,
    pow::Work,
    transaction::{Coinbase, Destination, FREE_RUN_BYTES, OutPoint, Output, Transaction},
};
use tempfile::TempDir;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};

use super::{
    ConnectionCaps, DialRefusal, FromNet, NetConfig, NetError, NetView, Peer, RequestFailure, RequestId,
    Service, ToNet, wire,
    wire::{CompactBlock, Prefilled, Request, Response, ShortId, Status},
};

mod finding;
mod gossip;
mod hostile;
mod link;
mod messages;
#[cfg(feature = "quic")]
mod quic;

/// A deadline that only a fault reaches.
const DEADLINE: Duration = Duration::from_secs(60);

/// The chain that most tests are on.
const CHAIN: BlockHash = BlockHash::from_bytes([0xca; 32]);

/// Where a node listens for TCP: at a port that the system chooses.
const TCP: &str = "/ip4/127.0.0.1/tcp/0";

/// A running service, with the test in the engine's place.
struct Node {
    folder: TempDir,
    address: String,
    view: Arc<NetView>,
    commands: mpsc::Sender<ToNet>,
    events: mpsc::Receiver<FromNet>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), NetError>>,
}

fn new_folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn config(folder: &TempDir, listen: &str, bootstrap: &[&str]) -> NetConfig {
    NetConfig {
        chain: CHAIN,
        listen: vec![listen.to_owned()],
        bootstrap: bootstrap.iter().map(|&address| address.to_owned()).collect(),
        identity_file: folder.path().join("p2p_key"),
        peers_file: folder.path().join("peers.dat"),
        outbound_places: 0,
        search_nearby: false,
        caps: ConnectionCaps::default(),
    }
}

/// Starts a node with queues of `capacity`.
async fn start_with(folder: TempDir, listen: &str, bootstrap: &[&str], capacity: usize) -> Node {
    let config = config(&folder, listen, bootstrap);
    start_config(folder, config, capacity).await
}

/// Starts a node that is told what `config` says.
async fn start_config(folder: TempDir, config: NetConfig, capacity: usize) -> Node {
    let listens = config.listen.clone();
    let service = Service::new(config).expect("the service starts");
    let view = service.view();
    // Whoever starts a node may ask at once where it listens.
    let listening = view.listening();
    let (commands, command_receiver) = mpsc::channel(capacity);
    let (event_sender, mut events) = mpsc::channel(capacity);
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async {
        // A dropped sender means the same: the test is over.
        let _: Result<(), oneshot::error::RecvError> = stopped.await;
    };
    let task = tokio::spawn(service.run(command_receiver, event_sender, shutdown));
    let first = timeout(DEADLINE, events.recv()).await.expect("in time");
    let Some(FromNet::Listening { address }) = first else { panic!("not listening first: {first:?}") };
    if listens.len() == 1 && !listens[0].contains("/0.0.0.0/") {
        assert_eq!(listening, [address.as_str()]);
    }
    Node { folder, address, view, commands, events, stop, task }
}

async fn start(bootstrap: &[&str]) -> Node {
    start_with(new_folder(), TCP, bootstrap, 64).await
}

/// Starts a node that listens at an address.
async fn start_at(listen: &str) -> Node {
    start_with(new_folder(), listen, &[], 64).await
}

impl Node {
    async fn send(&self, command: ToNet) {
        timeout(DEADLINE, self.commands.send(command)).await.expect("in time").expect("the service runs");
    }

    async fn next(&mut self) -> FromNet {
        timeout(DEADLINE, self.events.recv()).await.expect("in time").expect("the service runs")
    }

    /// The next event, which has to be a connection.
    async fn connected(&mut self) -> Peer {
        match self.next().await {
            FromNet::Connected { peer, .. } => peer,
            other => panic!("instead of a connection: {other:?}"),
        }
    }

    /// The next event, which has to be a response.
    async fn response(&mut self) -> (RequestId, Result<Response, RequestFailure>) {
        match self.next().await {
            FromNet::Response { id, result, .. } => (id, result),
            other => panic!("instead of a response: {other:?}"),
        }
    }

    async fn request(&self, peer: Peer, id: u64, request: Request) {
        self.send(ToNet::Request { peer, id: RequestId(id), request }).await;
    }

    /// Answers the next event, which has to be a request.
    async fn answer(&mut self, response: Response) -> Request {
        match self.next().await {
            FromNet::Request { reply, request, .. } => {
                self.send(ToNet::Reply { reply, response }).await;
                request
            }
            other => panic!("instead of a request: {other:?}"),
        }
    }

    async fn dial(&self, address: &str, keep: bool) -> Result<(), DialRefusal> {
        let (answer, answered) = oneshot::channel();
        self.send(ToNet::Dial { address: address.to_owned(), keep, answer: Some(answer) }).await;
        timeout(DEADLINE, answered).await.expect("in time").expect("every dial is answered")
    }

    /// Stops the node; its folder, with its identity, is left, and the address that it had.
    async fn stop(self) -> (TempDir, String) {
        self.stop.send(()).expect("the service runs");
        let ended = timeout(DEADLINE, self.task).await.expect("in time").expect("no panic");
        ended.expect("no error");
        (self.folder, self.address)
    }

    /// The address without the identity, which is what one listens on.
    fn listen_address(address: &str) -> String {
        address.split("/p2p/").next().expect("a split has a first part").to_owned()
    }
}

/// Two connected nodes, with each one's token for the other.
async fn pair() -> (Node, Peer, Node, Peer) {
    let mut left = start(&[]).await;
    let mut right = start(&[&left.address]).await;
    let (on_left, on_right) = (left.connected().await, right.connected().await);
    (left, on_left, right, on_right)
}

fn status(height: u32) -> Status {
    Status {
        chain: CHAIN,
        tip: BlockHash::from_bytes([7; 32]),
        height: Height::new(height),
        work: Work::from_be_bytes([1; 32]),
        agent: "/cairn:test/".to_owned(),
    }
}

fn header(nonce: u32) -> Header {
    let mut bytes = [0x5a; 80];
    bytes[76..].copy_from_slice(&nonce.to_le_bytes());
    Header::from_bytes(&bytes)
}

fn block(nonce: u32, transactions: Vec<Transaction>) -> Block {
    let coinbase = Coinbase { height: Height::new(1), free: [0; FREE_RUN_BYTES], outputs: Vec::new() };
    let transactions = transactions.into_iter().map(std::sync::Arc::new).collect();
    Block { header: header(nonce), coinbase, transactions }
}

fn data(bytes: usize) -> Output {
    Output { amount: Amount::ZERO, to: Destination::Data(vec![0xda; bytes]) }
}

/// A transaction that decodes, and nothing more.
fn transaction(seed: u8) -> Transaction {
    let input = OutPoint { txid: TxId::from_bytes([seed; 32]), index: 0 };
    Transaction { inputs: vec![input], outputs: vec![data(0)], witnesses: Vec::new() }
}

/// A transaction of exactly `bytes` bytes.
fn transaction_of(bytes: usize) -> Transaction {
    let pay = Output::pay(Address::from_bytes([9; 32]), Amount::from_pebbles(1));
    let mut transaction = transaction(1);
    let (empty, data_bytes, pay_bytes) = (transaction.to_bytes().len(), 13, 41);
    let missing = bytes - empty;
    let pays = missing.saturating_sub(2 * data_bytes) / pay_bytes;
    transaction.outputs.extend(vec![pay; pays]);
    transaction.outputs.push(data(missing - pays * pay_bytes - data_bytes));
    assert_eq!(transaction.to_bytes().len(), bytes);
    transaction
}

/// A block as large as any chain's may be.
fn largest_block(nonce: u32) -> Arc<Block> {
    let empty = block(nonce, Vec::new()).to_bytes().len();
    let block = block(nonce, vec![transaction_of(wire::MAX_BLOCK_BYTES - empty)]);
    assert_eq!(block.to_bytes().len(), wire::MAX_BLOCK_BYTES);
    Arc::new(block)
}

/// A block in short, of two transactions.
fn compact(nonce: u32) -> Request {
    let Block { header, coinbase, .. } = block(nonce, Vec::new());
    let prefilled = vec![Prefilled { index: 1, transaction: Arc::new(transaction(1)) }];
    let short_ids = vec![ShortId([7; 6])];
    Request::Compact(Arc::new(CompactBlock { header, nonce: 1, coinbase, short_ids, prefilled }))
}

/// A block as large as any chain's may be, in short, but all of it whole.
fn large_compact(nonce: u32) -> Request {
    Request::Compact(Arc::new(CompactBlock::whole(&largest_block(nonce))))
}

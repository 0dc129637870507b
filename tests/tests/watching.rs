//! An operator watches a node: metrics that Prometheus reads, a dashboard that asks for nothing that is not there, and
//! one block and one payment followed across two nodes in one trace.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{Arc, Mutex},
    thread,
};

use node::config::Settings;
use serde_json::Value;
use tempfile::tempdir;
use tests::{
    answers::await_agreement,
    chains::lab_chain,
    full_node::{FullNode, settings},
    keys::{Person, to_hex},
    wait::{require, until},
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace holds this crate")
}

/// The address that a log names: `metrics=http://127.0.0.1:40001/metrics`.
fn metrics_address(log: &str) -> Option<SocketAddr> {
    let (_, rest) = log.split_once("metrics=http://")?;
    rest.split('/').next()?.parse().ok()
}

/// The page of metrics.
fn scrape(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer of HTTP");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    body.to_owned()
}

/// The names of the families and their types: `# TYPE cairn_tip_height gauge`.
fn families(page: &str) -> BTreeMap<String, String> {
    let typed = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    typed.filter_map(|line| line.split_once(' ')).map(|(name, kind)| (name.into(), kind.into())).collect()
}

/// The names under which a family is queried.
fn queried_as(name: &str, kind: &str) -> Vec<String> {
    let endings: &[&str] = match kind {
        "counter" => &["_total"],
        "histogram" => &["_bucket", "_sum", "_count"],
        "info" => &["_info"],
        _ => &[""],
    };
    endings.iter().map(|ending| format!("{name}{ending}")).collect()
}

/// The value of the first line that begins with `series`.
fn value(page: &str, series: &str) -> Option<f64> {
    let line =
        page.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// The words of a query that name metrics.
fn metrics_in(query: &str) -> BTreeSet<String> {
    let words = query.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let named = |word: &&str| ["cairn_", "libp2p_", "process_"].iter().any(|room| word.starts_with(room));
    words.filter(named).map(str::to_owned).collect()
}

/// All texts under the key `expr` of a dashboard.
fn queries(of: &Value, found: &mut Vec<String>) {
    match of {
        Value::Object(members) => {
            for (key, member) in members {
                match member.as_str().filter(|_| key == "expr") {
                    Some(query) => found.push(query.to_owned()),
                    None => queries(member, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| queries(item, found)),
        _ => {}
    }
}

#[test]
fn metrics_are_there_documented_and_what_the_dashboard_asks_for() {
    let folder = tempdir().expect("a folder");
    let chain = lab_chain(folder.path(), "metrics", |_| {});
    let watched = |settings: Settings| Settings {
        metrics_listen: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
        ..settings
    };
    let alice = FullNode::start(&folder.path().join("alice"), &watched(settings(&chain)));
    let bob = FullNode::start(&folder.path().join("bob"), &settings(&chain));
    alice.connect(&bob);
    let owner = Person::new(&chain.chain, "owner");
    alice.rpc().generatetoaddress(3, owner.written(), None).expect("mined");
    await_agreement(&[alice.rpc().clone(), bob.rpc().clone()]);
    alice.rpc().getblockhash(chain::height::Height::new(99)).expect_err("there is none");

    let address = metrics_address(&alice.process.log()).expect("the log names it");
    let page = scrape(address);
    assert!(page.ends_with("# EOF\n"), "{page}");
    for (series, expected) in [
        ("cairn_tip_height", 3.0),
        ("cairn_header_height", 3.0),
        ("cairn_peers{direction=\"outbound\"}", 1.0),
        ("cairn_peers{direction=\"inbound\"}", 0.0),
        ("cairn_blocks_connected_total", 3.0),
        ("cairn_block_connect_seconds_count", 3.0),
        ("cairn_rpc_calls_total{method=\"generatetoaddress\",outcome=\"ok\"}", 1.0),
        ("cairn_rpc_calls_total{method=\"getblockhash\",outcome=\"-8\"}", 1.0),
    ] {
        assert_eq!(value(&page, series), Some(expected), "{series}\n{page}");
    }
    for series in ["process_resident_memory_bytes", "process_open_fds", "cairn_chain_work_log2"] {
        assert!(value(&page, series).is_some_and(|value| value > 0.0), "{series}\n{page}");
    }
    let bytes = page.lines().filter(|line| line.starts_with("libp2p_bandwidth_bytes_total{"));
    assert!(bytes.clone().count() >= 2 && bytes.clone().all(|line| !line.ends_with(" 0")), "{page}");
    // Nothing of whom the node knows is in it.
    for secret in [bob.rpc().getnetworkinfo().expect("it answers").peer_id, owner.written()] {
        assert!(!page.contains(&secret), "{secret} is in\n{page}");
    }
    assert!(!page.contains("12D3KooW"), "{page}");

    let families = families(&page);
    let guide = fs::read_to_string(root().join("docs/operating.md")).expect("docs/operating.md");
    for name in families.keys().filter(|name| name.starts_with("cairn_")) {
        assert!(guide.contains(&format!("`{name}`")), "{name} is not explained in docs/operating.md");
    }
    let told: BTreeSet<String> = families.iter().flat_map(|(name, kind)| queried_as(name, kind)).collect();
    let text = fs::read_to_string(root().join("docs/grafana/cairn.json")).expect("the dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("it is JSON");
    let mut asked = Vec::new();
    queries(&dashboard, &mut asked);
    assert!(asked.len() >= 12, "a dashboard of {} queries", asked.len());
    for query in asked {
        let named = metrics_in(&query);
        assert!(!named.is_empty(), "{query}");
        for name in named {
            assert!(told.contains(&name), "{query} asks for {name}, which is not in\n{page}");
        }
    }
    alice.stop();
    bob.stop();
}

/// A collector of spans, as small as one can be.
struct Collector {
    address: SocketAddr,
    /// The bodies of all requests.
    bodies: Arc<Mutex<Vec<Value>>>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let bodies: Arc<Mutex<Vec<Value>>> = Arc::default();
        let kept = Arc::clone(&bodies);
        // It ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = Arc::clone(&kept);
                thread::spawn(move || while answer(&stream, &kept).is_some() {});
            }
        });
        Self { address, bodies }
    }

    /// Who sent a span of this name in this trace.
    fn senders(&self, trace: &str, name: &str) -> BTreeSet<String> {
        let bodies = self.bodies.lock().expect("no panic");
        let mut senders = BTreeSet::new();
        for resource in bodies.iter().flat_map(|body| body["resourceSpans"].as_array().expect("a list")) {
            let attributes = resource["resource"]["attributes"].as_array().expect("a list");
            let id = attributes.iter().find(|of| of["key"] == "service.instance.id").expect("it is named");
            let scopes = resource["scopeSpans"].as_array().expect("a list").iter();
            let spans = scopes.flat_map(|scope| scope["spans"].as_array().expect("a list"));
            if spans.into_iter().any(|span| span["traceId"] == trace && span["name"] == name) {
                senders.insert(id["value"]["stringValue"].as_str().expect("text").to_owned());
            }
        }
        senders
    }
}

/// Answers one request, if there is one.
fn answer(mut stream: &TcpStream, kept: &Mutex<Vec<Value>>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let (mut length, mut line) = (0, String::new());
    let mut first = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if first.is_empty() {
            first.clone_from(&line);
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    assert!(first.starts_with("POST /v1/traces "), "{first}");
    kept.lock().expect("no panic").push(serde_json::from_slice(&body).expect("JSON"));
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}").ok()
}

/// The trace of a block or payment.
fn trace_of(hash: &str) -> String {
    hash[hash.len() - 32..].to_owned()
}

#[test]
fn a_block_and_a_payment_are_one_trace_across_nodes() {
    let collector = Collector::start();
    let folder = tempdir().expect("a folder");
    let chain = lab_chain(folder.path(), "traces", |_| {});
    let traced = Settings { otlp: Some(format!("http://{}", collector.address)), ..settings(&chain) };
    let alice = FullNode::start(&folder.path().join("alice"), &traced);
    let bob = FullNode::start(&folder.path().join("bob"), &traced);
    alice.connect(&bob);
    let both: BTreeSet<String> = [&alice, &bob]
        .into_iter()
        .map(|node| node.rpc().getnetworkinfo().expect("it answers").peer_id)
        .collect();

    let payer = Person::new(&chain.chain, "payer");
    let coins = payer.fund(alice.rpc(), 1);
    let tip = await_agreement(&[alice.rpc().clone(), bob.rpc().clone()]).to_string();
    for stage in ["block", "fetch", "connect", "settle"] {
        until(format!("both tell of {stage}"), || {
            let senders = collector.senders(&trace_of(&tip), stage);
            require(senders == both, || format!("only {senders:?} of {both:?}"))
        });
    }
    // A payment is gossiped once both are at one tip.
    let payment = payer.pay(&coins[0], &Person::new(&chain.chain, "payee"), 10_000);
    let sent = alice.rpc().sendrawtransaction(to_hex(&payment), None).expect("taken").to_string();
    until("both tell of the payment", || {
        let senders = collector.senders(&trace_of(&sent), "payment");
        require(senders == both, || format!("only {senders:?} of {both:?}"))
    });
    alice.stop();
    bob.stop();
}

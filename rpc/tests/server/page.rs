//! The page of metrics, and that calls are counted by the table's names alone.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{Arc, Mutex},
    time::Duration,
};

use rpc::server::{CallObserver, MAX_HEAD_BYTES, ServerConfig, page};
use tokio::sync::oneshot;

use crate::fake::Fake;

/// What the server answers to these bytes.
fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    // The server may answer and close before everything is sent.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let mut chunk = [0; 4_096];
    while let Ok(read @ 1..) = stream.read(&mut chunk) {
        answer.extend_from_slice(&chunk[..read]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn r08_the_page_is_read_without_an_account_and_nothing_else_is() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let listener = runtime.block_on(page::bind("127.0.0.1:0".parse().expect("an address"))).expect("bound");
    let address = listener.local_addr().expect("bound");
    let (stop, stopped) = oneshot::channel::<()>();
    let served = runtime.spawn(page::serve(listener, || async { Some("a 1\n# EOF\n".to_owned()) }, async {
        drop(stopped.await)
    }));
    let answer =
        exchange(address, b"GET /metrics HTTP/1.1\r\nHost: any.example\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("application/openmetrics-text") && answer.ends_with("a 1\n# EOF\n"), "{answer}");
    for (request, status) in [
        ("GET / HTTP/1.1\r\n", "404"),
        ("GET /metrics/.. HTTP/1.1\r\n", "404"),
        ("POST /metrics HTTP/1.1\r\nContent-Length: 0\r\n", "405"),
        ("DELETE /metrics HTTP/1.1\r\n", "405"),
    ] {
        let answer = exchange(address, format!("{request}Host: a\r\nConnection: close\r\n\r\n").as_bytes());
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request}: {answer}");
    }
    let long = format!("GET /metrics HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(MAX_HEAD_BYTES));
    assert!(!exchange(address, long.as_bytes()).contains("200 OK"), "a head that is too long");
    stop.send(()).expect("it runs");
    runtime.block_on(served).expect("it ends in order");
}

/// What was told.
#[derive(Debug, Default)]
struct Heard(Mutex<Vec<(&'static str, Option<i64>)>>);

impl CallObserver for Heard {
    fn called(&self, method: &'static str, code: Option<i64>, _: Duration) {
        self.0.lock().expect("no panic").push((method, code));
    }
}

#[test]
fn calls_are_counted_by_the_names_of_the_table_alone() {
    let heard = Arc::new(Heard::default());
    let accounts = rpc::auth::Accounts::new(vec![crate::client::credentials()]);
    let config = ServerConfig { accounts, observer: Some(heard.clone()), ..ServerConfig::default() };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let listener = runtime.block_on(rpc::server::bind("127.0.0.1:0".parse().expect("an address"), false));
    let listener = listener.expect("bound");
    let address = listener.local_addr().expect("bound");
    runtime.spawn(rpc::server::serve(listener, Fake::new(), config, std::future::pending()));
    for method in ["getblockcount", "getblockhash", "made-up", "secret word"] {
        let body = format!("{{\"jsonrpc\": \"2.0\", \"method\": \"{method}\", \"id\": 1}}");
        let head = format!(
            "POST / HTTP/1.1\r\nHost: localhost\r\nAuthorization: {}\r\nContent-Type: application/json\r\n\
             Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
            crate::client::credentials().authorization(),
            body.len()
        );
        assert!(exchange(address, head.as_bytes()).contains("200 OK"), "{method}");
    }
    let heard = heard.0.lock().expect("no panic");
    let unknown = ("unknown", Some(rpc::error::code::METHOD_NOT_FOUND));
    let wrong = ("getblockhash", Some(rpc::error::code::INVALID_PARAMS));
    assert_eq!(*heard, [("getblockcount", None), wrong, unknown, unknown]);
}

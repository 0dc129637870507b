//! The server as raw bytes on a socket see it.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

use rpc::{
    auth::Credentials,
    server::{MAX_BODY_BYTES, ServeError, bind},
};

use crate::client::{Served, credentials};

const CALL: &str = r#"{"jsonrpc": "2.0", "method": "getblockcount", "id": 1}"#;

/// Sends bytes, then reads until the server closes; what it sent until then, even when it broke off.
fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    // The server may answer and close before everything is sent: what it answered is what counts.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let mut chunk = [0; 4_096];
    while let Ok(read @ 1..) = stream.read(&mut chunk) {
        answer.extend_from_slice(&chunk[..read]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// A request; `headers` replace the good ones of the same name, and an empty value leaves one out.
fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let authorization = credentials().authorization();
    let length = body.len().to_string();
    let mut all = vec![
        ("Host", "127.0.0.1"),
        ("Authorization", authorization.as_str()),
        ("Content-Type", "application/json"),
        ("Content-Length", length.as_str()),
        ("Connection", "close"),
    ];
    all.retain(|(name, _)| !headers.iter().any(|(other, _)| other == name));
    all.extend(headers.iter().filter(|(_, value)| !value.is_empty()));
    let head: String = all.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("{method} {path} HTTP/1.1\r\n{head}\r\n{body}").into_bytes()
}

fn status(answer: &str) -> u16 {
    let word = answer.split_whitespace().nth(1);
    word.and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("no status in {answer:?}"))
}

fn ask(served: &Served, headers: &[(&str, &str)], body: &str) -> (u16, String) {
    let answer = exchange(served.address, &request("POST", "/", headers, body));
    (status(&answer), answer)
}

#[test]
fn a_good_call_and_its_statuses() {
    let served = Served::alice();
    let (status, answer) = ask(&served, &[], CALL);
    assert_eq!(status, 200, "{answer}");
    assert!(answer.contains(r#"{"jsonrpc":"2.0","result":12,"id":1}"#), "{answer}");
    assert!(answer.to_lowercase().contains("content-type: application/json"), "{answer}");
    assert_eq!(ask(&served, &[], r#"{"jsonrpc": "2.0", "method": "getblockcount"}"#).0, 204);
    assert_eq!(ask(&served, &[], r#"{"method": "nothing", "id": 1}"#).0, 404);
    assert_eq!(ask(&served, &[], r#"{"method": "getblockhash", "params": [99], "id": 1}"#).0, 500);
    assert_eq!(ask(&served, &[], r#"{"jsonrpc": "2.0", "method": "nothing", "id": 1}"#).0, 200);
}

#[test]
fn r01_foreign_hosts_origins_and_types_are_refused() {
    let served = Served::alice();
    let port = served.address.port();
    let own = format!("127.0.0.1:{port}");
    let origin = format!("http://{own}");
    assert_eq!(ask(&served, &[("Host", &own), ("Origin", &origin)], CALL).0, 200);
    for (expected, headers) in [
        (403, vec![("Host", "evil.com")]),
        (403, vec![("Host", "evil.com"), ("Origin", "http://evil.com")]),
        (403, vec![("Origin", "http://evil.com")]),
        (403, vec![("Origin", "http://x")]),
        (403, vec![("Origin", "null")]),
        (403, vec![("Origin", "https://127.0.0.1")]),
        (403, vec![("Host", "localhost"), ("Origin", "http://127.0.0.1")]),
        (415, vec![("Content-Type", "text/plain")]),
        (415, vec![("Content-Type", "application/x-www-form-urlencoded")]),
        (415, vec![("Content-Type", "")]),
    ] {
        let (status, answer) = ask(&served, &headers, CALL);
        assert_eq!(status, expected, "{headers:?}: {answer}");
        assert!(!answer.to_lowercase().contains("access-control"), "{answer}");
    }
    for method in ["OPTIONS", "GET", "PUT", "DELETE"] {
        let answer = exchange(served.address, &request(method, "/", &[], CALL));
        assert_eq!(status(&answer), 405, "{method}");
        assert!(!answer.to_lowercase().contains("access-control"), "{answer}");
    }
    assert_eq!(status(&exchange(served.address, &request("POST", "/wallet/x", &[], CALL))), 404);
}

#[tokio::test]
async fn r02_addresses_that_others_reach_need_permission() {
    let everywhere = "0.0.0.0:0".parse().unwrap();
    assert!(matches!(bind(everywhere, false).await, Err(ServeError::NotLoopback(_))));
    let listener = bind(everywhere, true).await.unwrap();
    let taken = listener.local_addr().unwrap();
    assert_ne!(taken.port(), 0);
    assert!(matches!(bind(taken, true).await, Err(ServeError::Bind { .. })));
}

#[test]
fn r03_credentials_are_always_required() {
    let served = Served::alice();
    let guess = Credentials::new("alice", "guess").unwrap().authorization();
    for authorization in ["", "Basic", "Basic !!!!", "Bearer abc", guess.as_str()] {
        let (status, answer) = ask(&served, &[("Authorization", authorization)], CALL);
        assert_eq!(status, 401, "{authorization:?}");
        assert!(answer.to_lowercase().contains("www-authenticate: basic"), "{answer}");
        assert!(!answer.contains("result"), "{answer}");
    }
    let nobody = Served::start(Vec::new());
    assert_eq!(ask(&nobody, &[], CALL).0, 401, "a server without accounts serves nobody");
}

#[test]
fn r05_a_body_is_limited_however_it_is_announced() {
    let served = Served::alice();
    // Announced, and nothing sent.
    let announced = (MAX_BODY_BYTES + 1).to_string();
    let mut head = request("POST", "/", &[("Content-Length", announced.as_str())], "");
    assert_eq!(status(&exchange(served.address, &head)), 413);
    // Sent in chunks, without an end.
    head = request("POST", "/", &[("Content-Length", ""), ("Transfer-Encoding", "chunked")], "");
    let chunk = format!("100000\r\n{}\r\n", " ".repeat(0x10_0000));
    for _ in 0..=MAX_BODY_BYTES / 0x10_0000 {
        head.extend_from_slice(chunk.as_bytes());
    }
    let answer = exchange(served.address, &head);
    // The answer may be lost when the server closes while the client still sends; a result never comes.
    assert!(answer.is_empty() || status(&answer) == 413, "{answer}");
    // The largest body that is allowed is served.
    let padded = format!("{CALL}{}", " ".repeat(MAX_BODY_BYTES - CALL.len()));
    assert_eq!(ask(&served, &[], &padded).0, 200);
}

#[test]
fn r05_nothing_is_read_from_strangers() {
    let served = Served::alice();
    let headers = [("Authorization", ""), ("Content-Length", "9000000")];
    // No byte of the body is sent: an answer shows that none was waited for.
    assert_eq!(status(&exchange(served.address, &request("POST", "/", &headers, ""))), 401);
}

#[test]
fn r08_slow_clients_keep_nobody_out() {
    const SLOW_CLIENTS: usize = 200;
    let served = Served::alice();
    let head = request("POST", "/", &[], CALL);
    let slow = |sent: usize| {
        let mut stream = TcpStream::connect(served.address).unwrap();
        stream.write_all(&head[..sent]).unwrap();
        stream
    };
    // Half stop within the head, half within the body; all stay connected while the good call is made.
    let waiting: Vec<TcpStream> =
        (0..SLOW_CLIENTS).map(|number| slow(if number % 2 == 0 { 10 } else { head.len() - 1 })).collect();
    assert_eq!(ask(&served, &[], CALL).0, 200);
    drop(waiting);
}

#[test]
fn r09_http_2_is_refused() {
    let served = Served::alice();
    let answer = exchange(served.address, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    assert!(answer.is_empty() || status(&answer) >= 400, "{answer:?}");
    let upgrade = [("Connection", "Upgrade, close"), ("Upgrade", "h2c")];
    let (status, answer) = ask(&served, &upgrade, CALL);
    assert!(status != 101, "{answer}");
}

#[test]
fn r12_clients_that_break_off_leave_the_server_well() {
    let served = Served::alice();
    let whole = request("POST", "/", &[], CALL);
    for cut in 0..whole.len() {
        let mut stream = TcpStream::connect(served.address).unwrap();
        stream.write_all(&whole[..cut]).unwrap();
    }
    assert_eq!(ask(&served, &[], CALL).0, 200);
}

#[test]
fn r11_heads_that_are_no_http_are_refused() {
    let served = Served::alice();
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(10_000));
    for junk in [
        &b"\r\n\r\n"[..],
        b"\0\0\0\0\r\n\r\n",
        "☃ / HTTP/1.1\r\n\r\n".as_bytes(),
        long.as_bytes(),
        many.as_bytes(),
    ] {
        let mut stream = TcpStream::connect(served.address).unwrap();
        let _ = stream.write_all(junk);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(!answer.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&answer));
    }
    assert_eq!(ask(&served, &[], CALL).0, 200);
}

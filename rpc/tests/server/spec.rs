//! The examples of the JSON-RPC 2.0 specification, section 7, and 1.0 beside it.

use rpc::{
    dispatch::{Methods, Reply, answer},
    error::{RpcError, code},
    message::{MAX_BATCH_CALLS, Params},
};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

/// The methods of the specification's examples, over exact integers.
struct Examples;

fn integer(value: &Value) -> Result<i64, RpcError> {
    value.as_i64().ok_or_else(|| RpcError::new(code::TYPE, "an integer is expected"))
}

impl Methods for Examples {
    async fn call(&self, method: &str, params: Params) -> Result<Box<RawValue>, RpcError> {
        let result = match (method, params) {
            ("subtract", Params::Positional(terms)) => json!(integer(&terms[0])? - integer(&terms[1])?),
            ("subtract", Params::Named(terms)) => {
                let find = |wanted: &str| {
                    let found = terms.iter().find(|(name, _)| name == wanted).map(|(_, value)| value);
                    integer(found.unwrap_or(&Value::Null))
                };
                json!(find("minuend")? - find("subtrahend")?)
            }
            ("sum", Params::Positional(terms)) => {
                let mut sum = 0;
                for term in &terms {
                    sum += integer(term)?;
                }
                json!(sum)
            }
            ("get_data", _) => json!(["hello", 5]),
            ("update" | "notify_sum" | "notify_hello", _) => Value::Null,
            ("echo", Params::Positional(values)) => Value::Array(values),
            ("large", _) => json!("x".repeat(4 << 20)),
            _ => return Err(RpcError::method_not_found()),
        };
        Ok(serde_json::value::to_raw_value(&result).expect("JSON"))
    }
}

async fn ask(body: &str) -> (u16, Value) {
    let Reply { status, body } = answer(&Examples, body.as_bytes()).await;
    let value = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).expect("JSON") };
    (status, value)
}

#[derive(Deserialize)]
struct Example {
    name: String,
    request: String,
    response: Value,
}

#[tokio::test]
async fn r13_the_specifications_examples() {
    let examples: Vec<Example> =
        serde_json::from_str(include_str!("../vectors/spec_section7_examples.json")).expect("the vectors");
    assert_eq!(examples.len(), 15);
    for Example { name, request, response } in examples {
        let (status, found) = ask(&request).await;
        assert_eq!(found, response, "{name}: {request}");
        assert_eq!(status, if response.is_null() { 204 } else { 200 }, "{name}");
    }
}

#[tokio::test]
async fn version_1_is_answered_with_all_members_and_cores_statuses() {
    let ask1 = |body: &'static str| ask(body);
    assert_eq!(
        ask1(r#"{"method": "sum", "params": [1, 2], "id": "x"}"#).await,
        (200, json!({"result": 3, "error": null, "id": "x"}))
    );
    let not_found = json!({"code": -32601, "message": "Method not found"});
    assert_eq!(
        ask1(r#"{"jsonrpc": "1.0", "method": "nothing", "params": [], "id": 1}"#).await,
        (404, json!({"result": null, "error": not_found, "id": 1}))
    );
    let (status, answer) = ask1(r#"{"method": "sum", "params": ["a"], "id": 1}"#).await;
    assert_eq!((status, &answer["error"]["code"]), (500, &json!(-3)));
    // A 1.0 call without an id is no notification.
    assert_eq!(ask1(r#"{"method": "sum"}"#).await, (200, json!({"result": 0, "error": null, "id": null})));
    let (_, mixed) =
        ask1(r#"[{"method": "sum", "id": 1}, {"jsonrpc": "2.0", "method": "sum", "id": 2}]"#).await;
    assert_eq!(
        mixed,
        json!([{"result": 0, "error": null, "id": 1}, {"jsonrpc": "2.0", "result": 0, "id": 2}])
    );
}

#[tokio::test]
async fn r13_requests_that_could_be_read_in_two_ways_are_refused() {
    for request in [
        r#"{"jsonrpc": "2.0", "method": "sum", "method": "subtract", "id": 1}"#,
        r#"{"jsonrpc": "2.0", "method": "sum", "id": 1, "id": 2}"#,
        r#"{"jsonrpc": "2.0", "method": "subtract", "params": {"minuend": 1, "minuend": 2, "subtrahend": 1}, "id": 1}"#,
        r#"{"jsonrpc": "2.0", "method": "sum", "params": 5, "id": 1}"#,
        r#"{"jsonrpc": "2.0", "method": "sum", "params": "5", "id": 1}"#,
        r#"{"jsonrpc": "2.0", "method": "sum", "id": {}}"#,
        r#"{"jsonrpc": "2.0", "method": "sum", "id": true}"#,
        r#"{"jsonrpc": "3.0", "method": "sum", "id": 1}"#,
        r#"{"jsonrpc": 2.0, "method": "sum", "id": 1}"#,
        r#"{"jsonrpc": "2.0", "id": 1}"#,
        r#""sum""#,
        "1",
        "null",
    ] {
        let (status, answer) = ask(request).await;
        assert_eq!((status, &answer["error"]["code"]), (200, &json!(-32600)), "{request}: {answer}");
    }
}

#[tokio::test]
async fn r13_ids_and_numbers_come_back_as_they_were_sent() {
    for id in ["1", "1.50", "1e400", "9007199254740993", "-0", "null", "\"\\u0000☃\"", "\"\""] {
        let body = format!(r#"{{"jsonrpc": "2.0", "method": "sum", "id": {id}}}"#);
        let reply = answer(&Examples, body.as_bytes()).await;
        let sent: Value = serde_json::from_str(id).expect("JSON");
        let found: Value = serde_json::from_slice(&reply.body).expect("JSON");
        assert_eq!(found["id"].to_string(), sent.to_string());
    }
    let (_, found) = ask(r#"{"method": "echo", "params": [1e400, 0.1, 9007199254740993.1], "id": 1}"#).await;
    assert_eq!(found["result"].to_string(), "[1e+400,0.1,9007199254740993.1]");
}

#[tokio::test]
async fn r06_a_batch_is_bounded_in_calls_and_bytes() {
    let call = r#"{"jsonrpc": "2.0", "method": "sum", "id": 1}"#;
    let batch = |calls: usize, call: &str| format!("[{}]", vec![call; calls].join(","));
    let (_, full) = ask(&batch(MAX_BATCH_CALLS, call)).await;
    assert_eq!(full.as_array().expect("a batch").len(), MAX_BATCH_CALLS);
    let (_, refused) = ask(&batch(MAX_BATCH_CALLS + 1, call)).await;
    assert_eq!(refused["error"]["code"], json!(-32600));
    let (_, refused) = ask(&batch(100_000, "1")).await;
    assert_eq!(refused["error"]["code"], json!(-32600));

    let large = r#"{"jsonrpc": "2.0", "method": "large", "id": 1}"#;
    let reply = answer(&Examples, batch(MAX_BATCH_CALLS, large).as_bytes()).await;
    assert!(reply.body.len() < rpc::dispatch::MAX_BATCH_ANSWER_BYTES + (5 << 20));
    let answers: Vec<Value> = serde_json::from_slice(&reply.body).expect("JSON");
    assert_eq!(answers.len(), MAX_BATCH_CALLS);
    assert_eq!(answers[MAX_BATCH_CALLS - 1]["error"]["code"], json!(-32603));
}

#[tokio::test]
async fn r07_deep_nesting_is_refused() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    for (request, code) in [
        (nested(100_000), -32600),
        ("[".repeat(100_000), -32700),
        (
            format!(r#"{{"jsonrpc": "2.0", "method": "echo", "params": {}, "id": 1}}"#, nested(100_000)),
            -32600,
        ),
        (format!(r#"{{"jsonrpc": "2.0", "method": "sum", "id": {}}}"#, nested(100_000)), -32600),
        (format!(r#"{{"jsonrpc": "2.0", "x": {}, "method": 1}}"#, nested(100_000)), -32600),
    ] {
        let (_, mut answer) = ask(&request).await;
        if let Some(first) = answer.get(0) {
            answer = first.clone();
        }
        assert_eq!(answer["error"]["code"], json!(code), "{}", &request[..60]);
    }
    let (_, shallow) =
        ask(&format!(r#"{{"jsonrpc": "2.0", "method": "echo", "params": [{}], "id": 1}}"#, nested(50))).await;
    assert!(shallow["error"].is_null());
}

#[tokio::test]
async fn bodies_that_are_no_json_are_parse_errors() {
    for body in [&b""[..], b" ", b"{", b"\xff\xfe", b"{\"method\": \"\xff\"}", b"NaN", b"{} {}"] {
        let reply = answer(&Examples, body).await;
        let found: Value = serde_json::from_slice(&reply.body).expect("JSON");
        assert_eq!(
            found,
            json!({"jsonrpc": "2.0", "error": {"code": -32700, "message": "Parse error"}, "id": null})
        );
    }
}

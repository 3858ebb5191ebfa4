//! The server over real HTTP.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::clock::Clock;
use crate::simulator::tokens::{AUDIENCE_COGNITIVE_SERVICES, Authority};

struct Server {
    address: String,
    authority: Arc<Authority>,
    http: reqwest::Client,
}

#[allow(clippy::disallowed_methods, reason = "a test of an HTTP server on loopback")]
async fn server() -> Server {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let authority = Authority::new(Clock::Real).unwrap();
    let router = super::router(Duration::ZERO, Clock::Real, authority.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    Server { address, authority, http: reqwest::Client::new() }
}

impl Server {
    fn token(&self, audience: &str) -> String {
        self.authority.mint(Map::from_iter([("aud".to_owned(), json!(audience))]), 3600)
    }

    async fn ask(&self, body: Value) -> reqwest::Response {
        let url = format!("{}/openai/v1/chat/completions", self.address);
        let request = self.http.post(url).bearer_auth(self.token(AUDIENCE_COGNITIVE_SERVICES)).json(&body);
        request.send().await.unwrap()
    }

    async fn script(&self, behaviours: Value) {
        let url = format!("{}/_simulator/script", self.address);
        assert!(self.http.post(url).json(&behaviours).send().await.unwrap().status().is_success());
    }
}

fn question(words: &str) -> Value {
    let schema = json!({"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"],
        "additionalProperties": false});
    let tool = json!({"type": "function", "function": {"name": "get_work_item", "strict": true, "parameters": schema}});
    json!({"model": "gpt", "messages": [{"role": "user", "content": words}], "tools": [tool]})
}

fn events(text: &str) -> Vec<Value> {
    let data = text.split("\n\n").filter_map(|event| event.strip_prefix("data: "));
    data.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap()).collect()
}

#[tokio::test]
async fn a_call_arrives_whole_and_in_pieces_alike() {
    let server = server().await;
    let response = server.ask(question("Summarise work item 4")).await;
    assert!(response.headers().contains_key("apim-request-id"));
    let whole: Value = response.json().await.unwrap();
    let call = &whole["choices"][0]["message"]["tool_calls"][0]["function"];
    assert_eq!((&whole["model"], &call["name"]), (&json!("stand-in"), &json!("get_work_item")));
    assert_eq!(whole["choices"][0]["finish_reason"], "tool_calls");

    let mut streamed = question("Summarise work item 4");
    streamed["stream"] = json!(true);
    streamed["stream_options"] = json!({"include_usage": true});
    let text = server.ask(streamed).await.text().await.unwrap();
    assert!(text.ends_with("data: [DONE]\n\n"));
    let events = events(&text);
    assert_eq!(events[0]["choices"], json!([]), "the service's first piece has no choices");
    let delta = |event: &Value| event["choices"][0]["delta"].clone();
    let words: String =
        events.iter().filter_map(|e| delta(e)["content"].as_str().map(str::to_owned)).collect();
    let arguments: String = events
        .iter()
        .filter_map(|e| delta(e)["tool_calls"][0]["function"]["arguments"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(json!(words), whole["choices"][0]["message"]["content"]);
    assert_eq!(json!(arguments), call["arguments"]);
    assert_eq!(events.last().unwrap()["usage"]["prompt_tokens"], whole["usage"]["prompt_tokens"]);
}

#[tokio::test]
async fn callers_need_a_token_for_this_resource_or_a_key() {
    let server = server().await;
    let url = format!("{}/openai/deployments/d/chat/completions?api-version=2024-10-21", server.address);
    let body = json!({"messages": [{"role": "user", "content": "hello"}]});
    let ask = || server.http.post(&url).json(&body);
    assert_eq!(ask().send().await.unwrap().status(), 401);
    assert_eq!(ask().bearer_auth(server.token("other")).send().await.unwrap().status(), 401);
    let good = ask().bearer_auth(server.token(AUDIENCE_COGNITIVE_SERVICES)).send().await.unwrap();
    let answer: Value = good.json().await.unwrap();
    assert!(answer["choices"][0]["message"]["content"].as_str().unwrap().contains("scripted stand-in"));
    assert_eq!(ask().header("api-key", "k").send().await.unwrap().status(), 200);
    let undated = url.split('?').next().unwrap();
    assert_eq!(
        server.http.post(undated).header("api-key", "k").json(&body).send().await.unwrap().status(),
        404
    );
}

#[tokio::test]
async fn what_a_real_endpoint_refuses_is_refused() {
    let server = server().await;
    let call = json!([{"id": "c1", "type": "function", "function": {"name": "t", "arguments": "{}"}}]);
    let user = json!({"role": "user", "content": "x"});
    let assistant = json!({"role": "assistant", "content": null, "tool_calls": call});
    let result = |id: &str| json!({"role": "tool", "tool_call_id": id, "content": "{}"});
    let loose = json!({"type": "object", "properties": {"id": {}}, "additionalProperties": false});
    let tool = json!([{"type": "function", "function": {"name": "t", "strict": true, "parameters": loose}}]);
    for (body, place) in [
        (json!({"model": "m", "messages": [user, assistant]}), "c1"),
        (json!({"model": "m", "messages": [user, assistant, user]}), "c1"),
        (json!({"model": "m", "messages": [user, result("c1")]}), "messages.[1].role"),
        (json!({"model": "m", "messages": [user, assistant, result("c2")]}), "messages.[2].role"),
        (json!({"model": "m", "messages": [{"role": "robot", "content": "x"}]}), "robot"),
        (json!({"model": "m", "messages": []}), "messages"),
        (json!({"messages": [user]}), "model"),
        (json!({"model": "m", "messages": [user], "tools": tool}), "'id'"),
    ] {
        let response = server.ask(body.clone()).await;
        assert_eq!(response.status(), 400, "{body}");
        let text = response.text().await.unwrap();
        assert!(text.contains(place) && text.contains("invalid_request_error"), "{text}");
    }
}

#[tokio::test]
async fn a_test_can_make_it_a_bad_model() {
    let server = server().await;
    server
        .script(json!([
            {"kind": "throttle", "retry_after": 2}, {"kind": "server_error", "status": 503}, {"kind": "empty"},
            {"kind": "malformed_arguments"}, {"kind": "unknown_tool"},
            {"kind": "calls", "calls": [{"name": "a", "arguments": "{"}, {"name": "b", "arguments": {"x": 1}}]},
            {"kind": "broken_stream", "after": 2}, {"kind": "reply", "text": "no"}
        ]))
        .await;
    let ask = || server.ask(question("Summarise work item 4"));
    let throttled = ask().await;
    assert_eq!(
        (throttled.status().as_u16(), &throttled.headers()["retry-after"]),
        (429, &"2".parse().unwrap())
    );
    assert_eq!(ask().await.status(), 503);
    let message = |body: Value| body["choices"][0]["message"].clone();
    let empty = message(ask().await.json().await.unwrap());
    assert!(empty["content"].is_null() && empty["tool_calls"].is_null());
    let malformed = message(ask().await.json().await.unwrap());
    let arguments = malformed["tool_calls"][0]["function"]["arguments"].as_str().unwrap().to_owned();
    assert!(serde_json::from_str::<Value>(&arguments).is_err());
    assert_eq!(
        message(ask().await.json().await.unwrap())["tool_calls"][0]["function"]["name"],
        "launch_rocket"
    );
    let several = message(ask().await.json().await.unwrap());
    assert_eq!(several["tool_calls"][0]["function"]["arguments"], "{");
    assert_eq!(several["tool_calls"][1]["function"]["arguments"], "{\"x\":1}");
    let mut streamed = question("Summarise work item 4");
    streamed["stream"] = json!(true);
    assert!(server.ask(streamed).await.text().await.is_err(), "the connection breaks");
    assert_eq!(message(ask().await.json().await.unwrap())["content"], "no");
    assert_eq!(ask().await.status(), 200);
}

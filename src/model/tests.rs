//! The adapter against a small server on loopback, and the reading of streams cut anywhere.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request as Incoming, State};
use axum::response::Response as Answer;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// What the server does with one request.
#[derive(Clone)]
enum Act {
    /// Answers with status, headers and body.
    Say(u16, Vec<(&'static str, &'static str)>, String),
    /// Streams this and then breaks the connection.
    Break(String),
    /// Streams this and then nothing more, for ever.
    Hang(String),
    /// Does not answer at all.
    Ignore,
}

#[derive(Default)]
struct Server {
    script: Mutex<VecDeque<Act>>,
    seen: Mutex<Vec<Seen>>,
}

/// One request as it arrived.
struct Seen {
    uri: String,
    bearer: Option<String>,
    key: Option<String>,
    body: Value,
}

async fn serve(State(server): State<Arc<Server>>, request: Incoming) -> Answer {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 22).await.unwrap();
    let header = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let seen = Seen {
        uri: parts.uri.to_string(),
        bearer: header("authorization"),
        key: header("api-key"),
        body: serde_json::from_slice(&body).unwrap(),
    };
    server.seen.lock().unwrap().push(seen);
    let act = server.script.lock().unwrap().pop_front().unwrap_or(Act::Ignore);
    let events = |first: String| stream::iter([Ok::<_, std::io::Error>(Bytes::from(first))]);
    let (status, headers, body) = match act {
        Act::Say(status, headers, body) => (status, headers, Body::from(body)),
        Act::Break(first) => {
            // The piece has to be on the wire before the connection breaks.
            let broken = stream::once(async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                Err(std::io::Error::other("broken"))
            });
            (200, STREAM.to_vec(), Body::from_stream(events(first).chain(broken)))
        }
        Act::Hang(first) => (200, STREAM.to_vec(), Body::from_stream(events(first).chain(stream::pending()))),
        Act::Ignore => std::future::pending().await,
    };
    let mut answer = Answer::builder().status(status);
    for (name, value) in headers {
        answer = answer.header(name, value);
    }
    answer.body(body).unwrap()
}

const STREAM: [(&str, &str); 2] = [("content-type", "text/event-stream"), ("apim-request-id", "req-1")];
const JSON: (&str, &str) = ("content-type", "application/json");

fn sse(events: &[Value]) -> String {
    events.iter().map(|event| format!("data: {event}\n\n")).chain(["data: [DONE]\n\n".to_owned()]).collect()
}

fn text(content: &str) -> Value {
    json!({"model": "gpt-test", "choices": [{"index": 0, "delta": {"content": content}, "finish_reason": null}]})
}

fn end(reason: &str) -> Value {
    json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
}

fn usage() -> Value {
    json!({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 1}})
}

fn say(events: &[Value]) -> Act {
    Act::Say(200, STREAM.to_vec(), sse(events))
}

fn hello() -> Act {
    say(&[text("hello"), end("stop"), usage()])
}

/// Tokens `token-0`, `token-1`, …: each renewal gives the next.
#[derive(Default)]
struct Tokens {
    number: AtomicU32,
    fails: bool,
}

impl BearerSource for Tokens {
    fn bearer(&self) -> BoxFuture<'_, anyhow::Result<SecretString>> {
        let token = format!("token-{}", self.number.load(Ordering::SeqCst));
        let fails = self.fails;
        async move {
            anyhow::ensure!(!fails, "the sidecar is down");
            Ok(SecretString::from(token))
        }
        .boxed()
    }

    fn renew<'a>(&'a self, rejected: &'a SecretString) -> BoxFuture<'a, anyhow::Result<SecretString>> {
        use secrecy::ExposeSecret as _;
        let current = format!("token-{}", self.number.load(Ordering::SeqCst));
        if rejected.expose_secret() == current {
            self.number.fetch_add(1, Ordering::SeqCst);
        }
        self.bearer()
    }
}

struct Bench {
    server: Arc<Server>,
    model: Model,
    clock: Clock,
    /// How much time passes in ten milliseconds of waiting.
    pace: Duration,
}

impl Bench {
    async fn new(script: impl IntoIterator<Item = Act>) -> Self {
        Self::with(script, None, None, Tokens::default()).await
    }

    async fn with(
        script: impl IntoIterator<Item = Act>,
        api_version: Option<&str>,
        api_key: Option<&str>,
        tokens: Tokens,
    ) -> Self {
        let server =
            Arc::new(Server { script: Mutex::new(script.into_iter().collect()), ..Server::default() });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let app = Router::new().fallback(serve).with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        let settings = config::Model {
            endpoint,
            deployment: "gpt".to_owned(),
            api_version: api_version.map(str::to_owned),
            api_key: api_key.map(SecretString::from),
        };
        let clock = Clock::stepped(Timestamp::UNIX_EPOCH);
        let http = config::http_client().unwrap();
        let model = Model::new(&settings, Arc::new(tokens), http, clock.clone());
        Self { server, model, clock, pace: Duration::from_millis(200) }
    }

    /// One reply, what was heard (`|` for a restart), and how much time had to pass.
    async fn ask(&self) -> (Result<Reply, ModelError>, String, Duration) {
        self.ask_until(&CancellationToken::new()).await
    }

    async fn ask_until(&self, cancel: &CancellationToken) -> (Result<Reply, ModelError>, String, Duration) {
        let talk = Conversation::from_messages(&[Message::User { text: "CANARY hello".to_owned() }]).unwrap();
        let tools = ToolSchemas::new(&[]).unwrap();
        let mut heard = String::new();
        let mut listen = |piece: Piece<'_>| match piece {
            Piece::Text(text) => heard.push_str(text),
            Piece::Restart => heard.push('|'),
        };
        let start = self.clock.now();
        // Time passes by itself, faster than outside.
        let time = async {
            loop {
                tokio::time::sleep(Duration::from_millis(10)).await;
                self.clock.advance(self.pace);
            }
        };
        let reply = tokio::select! {
            reply = self.model.reply(&talk, &tools, &mut listen, cancel) => reply,
            () = time => unreachable!(),
        };
        let passed = self.clock.now().duration_since(start).unsigned_abs();
        (reply, heard, passed)
    }

    fn requests(&self) -> usize {
        self.server.seen.lock().unwrap().len()
    }
}

#[tokio::test]
async fn a_plain_answer_comes_over_the_v1_surface_with_a_token() {
    let bench = Bench::new([hello()]).await;
    let (reply, heard, _) = bench.ask().await;
    let wanted = Reply {
        text: "hello".into(),
        refused: false,
        tool_calls: vec![],
        finish: Finish::Stop,
        usage: Usage { input: 5, output: 1, cached: 0 },
        model: "gpt-test".into(),
        request_id: Some("req-1".into()),
        response_id: None,
        attempts: 1,
    };
    assert_eq!(reply.unwrap(), wanted);
    assert_eq!(heard, "hello");
    let seen = bench.server.seen.lock().unwrap();
    let Seen { uri, bearer, key, body } = &seen[0];
    assert_eq!(uri, "/openai/v1/chat/completions");
    assert_eq!((bearer.as_deref(), key.as_deref()), (Some("Bearer token-0"), None));
    let sent = json!({"model": "gpt", "messages": [{"role": "user", "content": "CANARY hello"}],
        "stream": true, "stream_options": {"include_usage": true}});
    assert_eq!(body, &sent);
}

#[tokio::test]
async fn the_dated_surface_and_the_key_have_their_own_form() {
    let bench = Bench::with([hello()], Some("2024-10-21"), Some("k3y"), Tokens::default()).await;
    bench.ask().await.0.unwrap();
    let seen = bench.server.seen.lock().unwrap();
    let Seen { uri, bearer, key, .. } = &seen[0];
    assert_eq!(uri, "/openai/deployments/gpt/chat/completions?api-version=2024-10-21");
    assert_eq!((bearer.as_deref(), key.as_deref()), (None, Some("k3y")));
}

#[tokio::test]
async fn a_broken_stream_begins_anew_and_the_listener_is_told() {
    let bench = Bench::new([
        Act::Break(format!("data: {}\n\n", text("hel"))),
        // It ends without a word about why.
        say(&[text("hell")]),
        // Malformed.
        Act::Say(200, STREAM.to_vec(), "data: {\"choices\": [\n\n".into()),
        hello(),
    ])
    .await;
    let (reply, heard, passed) = bench.ask().await;
    let reply = reply.unwrap();
    assert_eq!((reply.text.as_str(), reply.attempts), ("hello", 4));
    assert_eq!(heard, "hel|hell|hello");
    assert!(passed < Duration::from_secs(10), "{passed:?}");
}

#[tokio::test]
async fn nothing_at_all_is_asked_again_and_then_named() {
    let nothing = Act::Say(200, STREAM.to_vec(), String::new());
    let bench = Bench::new(vec![nothing; 9]).await;
    let (reply, heard, _) = bench.ask().await;
    let error = reply.unwrap_err();
    assert!(matches!(error, ModelError::Broken { .. }), "{error}");
    assert!(error.may_pass());
    assert_eq!((bench.requests(), heard.as_str()), (MAX_ATTEMPTS as usize, ""));
}

#[tokio::test]
async fn an_empty_answer_is_an_answer() {
    let bench = Bench::new([say(&[end("stop"), usage()])]).await;
    let reply = bench.ask().await.0.unwrap();
    assert!(reply.is_empty());
    assert_eq!((reply.model.as_str(), reply.finish), ("gpt", Finish::Stop));
}

#[tokio::test]
async fn a_throttled_call_waits_as_long_as_it_is_told() {
    let azure = r#"{"error":{"code":"429","message":"Please retry after 9 seconds."}}"#;
    let gateway = r#"{"statusCode":429,"message":"Rate limit is exceeded. Try again in 12 seconds."}"#;
    let mut bench = Bench::new([
        Act::Say(429, vec![JSON, ("retry-after", "7")], azure.into()),
        Act::Say(429, vec![JSON], gateway.into()),
        hello(),
    ])
    .await;
    bench.pace = Duration::from_secs(2);
    let (reply, _, passed) = bench.ask().await;
    assert_eq!(reply.unwrap().attempts, 3);
    assert!(passed >= Duration::from_secs(7 + 12), "{passed:?}");

    let bench =
        Bench::new([Act::Say(429, vec![JSON, ("retry-after-ms", "61000")], gateway.into()), hello()]).await;
    let error = bench.ask().await.0.unwrap_err();
    assert!(matches!(error, ModelError::Throttled { after, .. } if after.as_secs() == 61), "{error}");
    assert_eq!(bench.requests(), 1);
}

#[tokio::test]
async fn a_rejected_token_is_renewed_once() {
    let refusal = || Act::Say(401, vec![JSON], r#"{"error":{"code":"401","message":"expired"}}"#.into());
    let bench = Bench::new([refusal(), hello()]).await;
    assert_eq!(bench.ask().await.0.unwrap().attempts, 2);
    let tokens: Vec<String> =
        bench.server.seen.lock().unwrap().iter().filter_map(|seen| seen.bearer.clone()).collect();
    assert_eq!(tokens, ["Bearer token-0", "Bearer token-1"]);

    let bench = Bench::new([refusal(), refusal(), hello()]).await;
    let error = bench.ask().await.0.unwrap_err();
    assert!(matches!(error, ModelError::SignInRequired { .. }), "{error}");
    assert_eq!(bench.requests(), 2);

    let bench = Bench::with([refusal(), hello()], None, Some("k3y"), Tokens::default()).await;
    let error = bench.ask().await.0.unwrap_err();
    assert!(matches!(error, ModelError::SignInRequired { .. }), "{error}");
    assert_eq!(bench.requests(), 1);
}

#[tokio::test]
async fn without_a_token_nothing_is_sent() {
    let bench = Bench::with([hello()], None, None, Tokens { fails: true, ..Tokens::default() }).await;
    let error = bench.ask().await.0.unwrap_err();
    assert!(matches!(error, ModelError::Identity(_)), "{error}");
    assert!(error.to_string().contains("the sidecar is down"));
    assert_eq!(bench.requests(), 0);
}

#[tokio::test]
async fn silence_ends_before_and_inside_an_answer() {
    let mut bench = Bench::new([Act::Ignore, Act::Hang(format!("data: {}\n\n", text("h"))), hello()]).await;
    bench.pace = Duration::from_secs(2);
    let (reply, heard, passed) = bench.ask().await;
    assert_eq!(reply.unwrap().attempts, 3);
    assert_eq!(heard, "h|hello");
    assert!(passed >= FIRST_BYTE_TIMEOUT + IDLE_TIMEOUT, "{passed:?}");
}

#[tokio::test]
async fn a_whole_answer_is_not_lost_with_its_usage() {
    let whole = format!("data: {}\n\ndata: {}\n\n", text("hello"), end("stop"));
    for act in [Act::Break(whole.clone()), Act::Hang(whole)] {
        let bench = Bench::new([act]).await;
        let reply = bench.ask().await.0.unwrap();
        assert_eq!((reply.text.as_str(), reply.usage, reply.attempts), ("hello", Usage::default(), 1));
    }
}

#[tokio::test]
async fn what_cannot_get_better_is_not_repeated() {
    let filter = r#"{"error":{"code":"content_filter","message":"filtered"}}"#;
    for (act, kind) in [
        (Act::Say(400, vec![JSON], filter.into()), "Filtered"),
        (Act::Say(404, vec![JSON], r#"{"error":{"code":"DeploymentNotFound"}}"#.into()), "Invalid"),
        (Act::Say(200, vec![("content-type", "text/html")], "<html>".into()), "Invalid"),
        (Act::Say(302, vec![("location", "http://127.0.0.1:9/")], String::new()), "Invalid"),
    ] {
        let bench = Bench::new([act]).await;
        let error = bench.ask().await.0.unwrap_err();
        assert!(format!("{error:?}").starts_with(kind), "{error:?}");
        assert_eq!(bench.requests(), 1);
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_and_cancelling_stops_at_once() {
    let mut gone = Bench::new([]).await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let settings = config::Model {
        endpoint: format!("http://{free}").parse().unwrap(),
        deployment: "gpt".into(),
        api_version: None,
        api_key: None,
    };
    let http = config::http_client().unwrap();
    gone.model = Model::new(&settings, Arc::new(Tokens::default()), http, gone.clock.clone());
    let error = gone.ask().await.0.unwrap_err();
    assert!(matches!(error, ModelError::Unavailable { .. }), "{error}");
    assert!(!error.to_string().contains(&free.to_string()), "{error}");

    let bench = Bench::new([Act::Ignore]).await;
    let cancel = CancellationToken::new();
    let stop = async {
        while bench.requests() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        cancel.cancel();
    };
    let ((reply, _, passed), ()) = tokio::join!(bench.ask_until(&cancel), stop);
    assert!(matches!(reply, Err(ModelError::Cancelled)));
    assert!(passed < FIRST_BYTE_TIMEOUT);
}

#[tokio::test]
async fn a_conversation_with_open_calls_is_not_sent() {
    let bench = Bench::new([hello()]).await;
    let call = ToolCall { id: "a".into(), name: "t".into(), arguments: "{}".into() };
    let open = Message::Assistant { text: String::new(), tool_calls: vec![call] };
    let talk = Conversation::from_messages(&[Message::User { text: "x".into() }, open]).unwrap();
    let tools = ToolSchemas::new(&[]).unwrap();
    let cancel = CancellationToken::new();
    // A task of its own must be able to hold the call, hence the bound.
    fn sendable<T: Send>(future: T) -> T {
        future
    }
    let error = sendable(bench.model.reply(&talk, &tools, &mut |_| {}, &cancel)).await.unwrap_err();
    assert!(matches!(error, ModelError::Invalid { .. }), "{error}");
    assert_eq!(bench.requests(), 0);
}

/// Collects what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn neither_prompt_nor_token_gets_into_the_log() {
    let log = Log::default();
    let writer = log.clone();
    let filter = tracing_subscriber::EnvFilter::new(format!("debug,{LOG_DIRECTIVES}"));
    let subscriber =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let quoted = r#"{"error":{"message":"cannot parse \"CANARY hello\" of token-0"}}"#;
    let bench = Bench::new([
        Act::Say(500, vec![JSON], "CANARY in a page".into()),
        Act::Say(503, vec![JSON], quoted.into()),
        Act::Say(200, STREAM.to_vec(), "data: CANARY\n\n".into()),
        Act::Say(401, vec![JSON], String::new()),
        Act::Say(400, vec![JSON], quoted.replace(" of token-0", "")),
    ])
    .await;
    // A place that another test met for the first time just now may think that nobody listens.
    tracing::callsite::rebuild_interest_cache();
    let error = bench.ask().await.0.unwrap_err();
    assert_eq!(bench.requests(), 5);
    assert!(!error.to_string().contains("CANARY"), "{error}");
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("trying again") && log.contains("asking again"), "{log}");
    assert!(!log.contains("CANARY"), "{log}");
    assert!(!log.contains("Bearer"), "{log}");
}

/// Reads `body`, cut into pieces at `cuts`, through the library's own stream reader.
fn read_cut(body: &[u8], cuts: &[usize]) -> Joined {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut % (body.len() + 1)).collect();
    places.extend([0, body.len()]);
    places.sort_unstable();
    let pieces: Vec<Vec<u8>> = places.windows(2).map(|pair| body[pair[0]..pair[1]].to_vec()).collect();
    let service = tower::service_fn(move |_: async_openai::middleware::HttpRequestFactory| {
        let pieces = pieces.clone();
        async move {
            let body = stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>));
            let answer = axum::http::Response::new(reqwest::Body::wrap_stream(body));
            Ok::<reqwest::Response, ModelError>(answer.into())
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let bench = Bench::new([]).await;
        let client = bench.model.client.clone().with_http_service(service);
        let request = Request {
            model: "gpt",
            messages: &[],
            tools: None,
            stream: true,
            stream_options: StreamOptions { include_usage: true },
        };
        let call = Call::default();
        bench.model.stream(&client, &request, &call, 1, &mut |_| {}).await.unwrap()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_stream_cut_at_any_byte_gives_the_same_reply(cuts in proptest::collection::vec(any::<usize>(), 0..24)) {
        let call = |arguments: &str| json!({"choices": [{"index": 0, "delta": {"tool_calls":
            [{"index": 0, "id": "a", "function": {"name": "t", "arguments": arguments}}]}}]});
        let events = [text("żółw "), text("🐢\n"), call("{\"päth\":"), call("\"é\"}"), end("tool_calls"), usage()];
        let body = format!(": keep-alive\r\n\r\n{}", sse(&events));
        let joined = read_cut(body.as_bytes(), &cuts);
        prop_assert_eq!(&joined, &read_cut(body.as_bytes(), &[]));
        prop_assert_eq!(joined.text, "żółw 🐢\n");
        prop_assert_eq!(joined.tool_calls, [ToolCall { id: "a".into(), name: "t".into(), arguments: "{\"päth\":\"é\"}".into() }]);
        prop_assert_eq!(joined.usage.input, 5);
    }
}

//! The doors as their users meet them: requests through the router, over a real journal.

mod api;
mod hooks;
mod look;
mod openapi;
mod pages;
mod story;
mod stream;

use std::net::SocketAddr;

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use secrecy::SecretString;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;
use crate::journal::{
    Call, Claim, Entry, Link, NewRun, Outcome, Person, RunId, Source, Status, Usage, WaitingFor,
};
use crate::policy::{Outcome as Judged, Verdict};

/// Who holds a run in tests, for long.
const LEASE: Duration = Duration::from_secs(600);

/// A router over an empty journal in a folder of its own.
struct Door {
    router: Router,
    state: State,
    folder: tempfile::TempDir,
}

/// An answer, read to its end.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.body))
    }

    /// Status and detail of a problem; every problem must have all its parts.
    fn problem(&self) -> (u16, String) {
        assert_eq!(self.headers["content-type"], problem::PROBLEM_JSON, "{}", self.body);
        let body = self.json();
        assert_eq!(body["status"], self.status.as_u16());
        assert!(
            ["title", "detail", "remedy"]
                .iter()
                .all(|part| body[part].as_str().is_some_and(|t| !t.is_empty()))
        );
        (
            self.status.as_u16(),
            format!("{} {}", body["detail"].as_str().unwrap(), body["remedy"].as_str().unwrap()),
        )
    }
}

fn settings() -> config::Web {
    config::Web {
        listen_address: SocketAddr::from(([127, 0, 0, 1], 4192)),
        public_url: None,
        webhook: Some(config::WebhookCredentials {
            username: "hook".into(),
            password: SecretString::from("s3cret:with colon"),
        }),
        notice: Some("Organisation and identity are simulated; the model is a scripted stand-in.".into()),
        local_person: "bob".into(),
        always_local: false,
        role_groups: config::RoleGroups::default(),
        accountable: config::Accountable { owner: Some("alice".into()), sponsor: None },
        suggestion: Some(
            "Create an issue titled 'Fix login timeout', push a fix to a new branch, and open a PR for it."
                .into(),
        ),
        offers: Vec::new(),
    }
}

impl Door {
    async fn open() -> Self {
        Self::with(settings(), Clock::stepped(Timestamp::from_second(1_800_000_000).unwrap())).await
    }

    async fn with(config: config::Web, clock: Clock) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("journal.db").display());
        let state = State {
            journal: Journal::open(&url, clock.clone()).await.unwrap(),
            clock,
            config,
            organization: Organization {
                url: Url::parse("http://127.0.0.1:4193/contoso").unwrap(),
                project: "Fabrikam".into(),
                repository: "web-shop".into(),
            },
            model: "stand-in".into(),
            model_key: false,
            people: None,
            rights: None,
            agents: ["44444444-dddd-4ddd-8ddd-444444444444".to_owned()].into(),
            who: Arc::new(|| {
                Some(WhoShown {
                    agent_user: "ado-coworker@contoso.example".into(),
                    agent_user_id: Some("55555555-eeee-4eee-8eee-555555555555".into()),
                    agent_identity: "44444444-dddd-4ddd-8ddd-444444444444".into(),
                    blueprint: Some("22222222-bbbb-4bbb-8bbb-222222222222".into()),
                    has_agent_facets: true,
                    claims: vec![ClaimShown {
                        name: "idtyp".into(),
                        value: "<user>".into(),
                        meaning: "Whether it stands for a user.",
                    }],
                    token_expires: Timestamp::from_second(1_800_003_600).unwrap(),
                })
            }),
            policy: Arc::new(crate::policy::InForce::new(
                crate::policy::parse(crate::policy::DEFAULT_POLICY).unwrap(),
            )),
            doctor: Arc::new(|| {
                let check = |id, status, remedy: &str| CheckShown {
                    id,
                    title: "A check",
                    status,
                    reason: format!("<{id}> was looked at."),
                    remedy: remedy.into(),
                };
                let checks = vec![check("one", "ok", ""), check("two", "failed", "Mend it.")];
                Box::pin(async move { checks })
            }),
            ready: Ready::default(),
            closing: CancellationToken::new(),
        };
        Self { router: router(state.clone()), state, folder }
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(request("GET", path).body(Body::empty()).unwrap()).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        let request = request("POST", path).header("content-type", "application/json");
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    async fn form(&self, path: &str, text: &str) -> Answer {
        let body = url::form_urlencoded::Serializer::new(String::new()).append_pair("text", text).finish();
        let request = request("POST", path).header("content-type", "application/x-www-form-urlencoded");
        self.send(request.body(Body::from(body)).unwrap()).await
    }

    async fn run(&self, text: &str) -> RunId {
        api_start(&self.state, text).await
    }

    async fn claim(&self) -> Claim {
        self.state.journal.claim("test", LEASE).await.unwrap().unwrap()
    }

    async fn append(&self, claim: &Claim, entries: Vec<Entry>) {
        self.state.journal.append(claim, i64::MAX, entries).await.unwrap();
    }

    /// Runs SQL on the database behind the journal's back.
    async fn sql(&self, sql: &'static str) {
        let url = format!("sqlite:{}", self.folder.path().join("journal.db").display());
        let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
        sqlx::query(sql).execute(&pool).await.unwrap();
        pool.close().await;
    }
}

async fn api_start(state: &State, text: &str) -> RunId {
    let run = NewRun {
        instruction: text.into(),
        source: Source::Chat,
        requested_by: Person::named("bob"),
        project: "Fabrikam".into(),
        repository: "web-shop".into(),
        subject: None,
        trigger: None,
    };
    state.journal.create(run).await.unwrap()
}

fn request(method: &str, path: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(path).header("host", "127.0.0.1:4192")
}

fn message(from: &str, text: &str) -> Entry {
    Entry::Message { from: Person::named(from), text: text.into() }
}

fn replied(turn: u32, text: &str) -> Entry {
    Entry::Replied {
        read_to: 0,
        turn,
        text: text.into(),
        calls: Vec::<Call>::new(),
        finish: "stop".into(),
        usage: Usage { input: 3_210, cached: 1_024, output: 87 },
        model: "stand-in-2026-11".into(),
        request_id: None,
        duration_ms: 1_240,
        outside: Vec::new(),
    }
}

fn started(step: u32, tool: &str, arguments: Value) -> Entry {
    Entry::ToolStarted { step, call_id: format!("call_{step}"), tool: tool.into(), arguments }
}

fn tool_done(step: u32, tool: &str, outcome: Outcome) -> Entry {
    Entry::ToolFinished {
        step,
        call_id: format!("call_{step}"),
        tool: tool.into(),
        outcome,
        duration_ms: 140,
    }
}

fn denied(step: u32, action: &str) -> Entry {
    let verdict = Verdict {
        outcome: Judged::Deny,
        rules: vec!["protected-branches".into()],
        message: "Only branches under agent/ are written.".into(),
        policy: crate::digest::Digest::of("t", b""),
        ..Verdict::default()
    };
    Entry::Decided { step, action: action.into(), verdict }
}

fn finished(status: Status, answer: &str, remedy: Option<&str>) -> Entry {
    Entry::Finished { status, answer: answer.into(), remedy: remedy.map(Into::into) }
}

fn link(kind: &str, title: &str, path: &str) -> Link {
    Link {
        kind: kind.into(),
        title: title.into(),
        url: format!("http://127.0.0.1:4193/contoso/Fabrikam/{path}"),
    }
}

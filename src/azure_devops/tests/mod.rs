//! The client against servers on real HTTP: what it sends, and how it takes what comes back.

mod manners;
mod reads;
mod writes;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::action::{
    Action, BranchName, CommitId, Content, FileChange, ItemPath, RepositoryRef, ThreadStatus,
};
use crate::identity::fake;
use crate::policy::{self, Facts, Permit};

const OLD: &str = "1111111111111111111111111111111111111111";
const NEW: &str = "2222222222222222222222222222222222222222";

#[derive(Debug, Clone)]
struct Seen {
    method: String,
    path: String,
    query: HashMap<String, String>,
    headers: HeaderMap,
    body: Value,
}

#[derive(Default)]
struct Service {
    seen: Mutex<Vec<Seen>>,
    answers: Mutex<VecDeque<Answered>>,
}

type Answered = (u16, Vec<(&'static str, String)>, Vec<u8>);

impl Service {
    fn say(&self, status: u16, headers: &[(&'static str, &str)], body: impl Into<Vec<u8>>) {
        let mut headers: Vec<(&str, String)> =
            headers.iter().map(|(name, value)| (*name, (*value).into())).collect();
        if !headers.iter().any(|(name, _)| *name == "content-type") {
            headers.push(("content-type", "application/json".into()));
        }
        self.answers.lock().unwrap().push_back((status, headers, body.into()));
    }

    fn json(&self, body: Value) {
        self.say(200, &[("ActivityId", "activity-1")], body.to_string());
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn answer(
    State(service): State<Arc<Service>>,
    method: axum::http::Method,
    uri: Uri,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let path = uri.path().to_owned();
    service.seen.lock().unwrap().push(Seen { method: method.to_string(), path, query, headers, body });
    let Some((status, headers, body)) = service.answers.lock().unwrap().pop_front() else {
        return (StatusCode::NOT_FOUND, "nothing queued").into_response();
    };
    let mut response = (StatusCode::from_u16(status).unwrap(), body).into_response();
    for (name, value) in headers {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}

struct World {
    service: Arc<Service>,
    sidecar: Arc<fake::Sidecar>,
    client: Client,
    clock: Clock,
}

async fn world() -> World {
    let service = Arc::new(Service::default());
    let address = fake::serve(axum::Router::new().fallback(answer).with_state(service.clone())).await;
    let (sidecar, client, clock) = client(&address).await;
    World { service, sidecar, client, clock }
}

async fn client(address: &str) -> (Arc<fake::Sidecar>, Client, Clock) {
    let (sidecar, sidecar_address) = fake::start().await;
    let clock = Clock::stepped(Timestamp::from_second(fake::NOW).unwrap());
    let http = config::http_client().unwrap();
    let identity = Identity::new(&fake::settings(&sidecar_address), http.clone(), clock.clone());
    let settings = config::AzureDevOps {
        organization_url: format!("{address}/contoso").parse().unwrap(),
        project: "Fabrikam".into(),
        repository: "web-shop".into(),
    };
    (sidecar, Client::new(&settings, identity, http, clock.clone()), clock)
}

/// Moves the stepped clock whenever the client may sleep by it, until `work` is done.
async fn in_time<T>(clock: &Clock, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(Duration::from_millis(5)) => clock.advance(Duration::from_millis(250)),
        }
    }
}

fn shop() -> RepositoryRef {
    RepositoryRef { project: "Fabrikam".into(), repository: "web-shop".into() }
}

fn branch(name: &str) -> BranchName {
    BranchName::new(name).unwrap()
}

fn commit(id: &str) -> CommitId {
    CommitId::new(id).unwrap()
}

fn permit(action: Action) -> Permit {
    let rules = format!(
        "version = 1\n[[rule]]\nid = \"all\"\neffect = \"allow\"\naction = [\"{}\"]\n",
        action.kind()
    );
    let facts = Facts { action: action.kind().into(), ..Facts::default() };
    policy::parse(&rules).unwrap().permit(action, &facts).unwrap().0
}

fn reply(text: &str) -> Action {
    Action::ReplyToThread { repository: shop(), pull_request_id: 12, thread_id: 3, text: text.into() }
}

//! A browser that watches a run: it comes back after every break with the last id that it has.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::task::JoinHandle;

/// Before it comes back.
const BREATH: Duration = Duration::from_millis(50);

/// What it saw.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub run: String,
    /// Ids of entries, in order of arrival.
    pub ids: Vec<i64>,
    /// Words of each turn, as they stood at last.
    pub words: BTreeMap<u32, String>,
    /// The server said that the run is over.
    pub ended: bool,
    /// Everything, as it came.
    pub text: String,
    /// Connections that were made.
    pub connections: u32,
}

/// The browser.
pub struct Watcher {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl Watcher {
    /// Watches `run` at `page`, an address that stays the same over restarts.
    pub fn of(page: String, run: String, http: reqwest::Client) -> Self {
        let seen = Arc::new(Mutex::new(Seen { run: run.clone(), ..Seen::default() }));
        let shared = seen.clone();
        let task = tokio::spawn(async move {
            loop {
                // A break is what it is there for.
                let _ = watch_once(&page, &run, &http, &shared).await;
                if shared.lock().unwrap_or_else(PoisonError::into_inner).ended {
                    return;
                }
                tokio::time::sleep(BREATH).await;
            }
        });
        Self { seen, task }
    }

    /// How often it has connected so far, and how many entries it has.
    pub fn progress(&self) -> (u32, usize) {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        (seen.connections, seen.ids.len())
    }

    /// Closes it and gives what it saw. It had seen the end, or `patience` is over.
    pub async fn close(mut self, patience: Duration) -> Seen {
        let _ = tokio::time::timeout(patience, &mut self.task).await;
        self.task.abort();
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn watch_once(
    page: &str,
    run: &str,
    http: &reqwest::Client,
    seen: &Mutex<Seen>,
) -> Result<(), reqwest::Error> {
    let last = seen.lock().unwrap_or_else(PoisonError::into_inner).ids.last().copied();
    let mut request = http.get(format!("{page}/api/runs/{run}/events"));
    if let Some(last) = last {
        request = request.header("last-event-id", last.to_string());
    }
    let mut body = request.send().await?.error_for_status()?.bytes_stream();
    seen.lock().unwrap_or_else(PoisonError::into_inner).connections += 1;
    let mut waiting = String::new();
    while let Some(piece) = body.next().await {
        waiting.push_str(&String::from_utf8_lossy(&piece?));
        while let Some(end) = waiting.find("\n\n") {
            let event: String = waiting.drain(..end + 2).collect();
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            take(&mut seen, &event);
        }
    }
    Ok(())
}

fn take(seen: &mut Seen, event: &str) {
    seen.text.push_str(event);
    let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let data: Value = field("data:").and_then(|data| serde_json::from_str(data).ok()).unwrap_or(Value::Null);
    match (field("id:"), field("event:")) {
        (Some(id), _) => seen.ids.push(id.parse().unwrap_or(-1)),
        (None, Some("end")) => seen.ended = true,
        (None, Some("delta")) => {
            let turn = u32::try_from(data["turn"].as_u64().unwrap_or(0)).unwrap_or(0);
            let offset = usize::try_from(data["offset"].as_u64().unwrap_or(0)).unwrap_or(0);
            let words = seen.words.entry(turn).or_default();
            // Words are sent again from 0 after a break; a gap would show as a wrong text.
            if offset <= words.len() {
                words.truncate(offset);
            } else {
                words.push_str("[gap]");
            }
            words.push_str(data["text"].as_str().unwrap_or_default());
        }
        _ => {}
    }
}

//! `/_simulator`: faults, clock, step, ledger, requests, state, access, people.

use std::time::{Duration, Instant};

use axum::body::{Body, to_bytes};
use axum::http::Method;
use axum::http::request::Parts;
use serde_json::{Value, json};
use uuid::Uuid;

use super::faults::Fault;
use super::host::Host;
use super::rest::{Query, Reply};
use super::state::Licence;
use super::state::access::{Denial, Permission};
use crate::clock::Clock;

/// Largest control body.
const BODY_BYTES: usize = 1024 * 1024;
/// A step that takes longer is answered all the same.
const STEP_TIME: Duration = Duration::from_secs(30);
/// Entries of the ledger in one answer.
const LEDGER_PAGE: usize = 10_000;

/// Answers a control request.
pub async fn answer(host: &Host, parts: &Parts, command: &str, body: Body) -> Reply {
    // Pages of other sites must not drive the simulator.
    let site = parts.headers.get("sec-fetch-site").and_then(|v| v.to_str().ok());
    if site.is_some_and(|s| s == "cross-site") {
        return bad(403, "Requests from other sites are refused.");
    }
    let Ok(bytes) = to_bytes(body, BODY_BYTES).await else { return bad(413, "The body is too large.") };
    let value = if bytes.is_empty() { Ok(Value::Null) } else { serde_json::from_slice(&bytes) };
    let Ok(value) = value else { return bad(400, "The body is not JSON.") };
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    match (&parts.method, command) {
        (&Method::GET, "faults") => Reply::ok(host.faults.list()),
        (&Method::POST, "faults") => arm(host, value),
        (&Method::DELETE, "faults") => {
            host.faults.clear();
            Reply::ok(json!([]))
        }
        (&Method::GET, "clock") => clock(host),
        (&Method::POST, "clock") => set_clock(host, &value),
        (&Method::POST, "step") => step(host).await,
        (&Method::GET, "ledger") => ledger(host, &query),
        (&Method::GET, "requests") => Reply::ok(host.requests.list(after(&query))),
        (&Method::GET, "state") => state(host),
        (&Method::POST, "state") => save(host, &value).await,
        (&Method::POST, "access") => access(host, &value),
        (&Method::POST, "people") => people(host, &value),
        _ => bad(
            404,
            "Known are GET|POST|DELETE faults, GET|POST clock, POST step, GET ledger, GET requests, GET|POST state, POST access, POST people.",
        ),
    }
}

fn bad(status: u16, text: &str) -> Reply {
    Reply::json(status, &json!({"error": text}))
}

fn arm(host: &Host, value: Value) -> Reply {
    let list = if value.is_array() { value } else { json!([value]) };
    let faults: Result<Vec<Fault>, _> = serde_json::from_value(list);
    match faults {
        Ok(faults) if faults.iter().all(|f| host.faults.arm(f.clone())) => Reply::ok(host.faults.list()),
        Ok(_) => bad(409, "Too many faults are armed; DELETE them first."),
        Err(error) => bad(400, &format!("A fault is {{\"route\", \"nth\", \"kind\", \"args\"}}: {error}")),
    }
}

fn clock(host: &Host) -> Reply {
    let clock = host.organisation.clock();
    let stepped = matches!(clock, Clock::Stepped(_));
    Reply::ok(json!({"now": clock.now().to_string(), "stepped": stepped}))
}

fn set_clock(host: &Host, value: &Value) -> Reply {
    let clock = host.organisation.clock();
    if !matches!(clock, Clock::Stepped(_)) {
        return bad(409, "The clock is real; start the simulator with a stepped clock to move it.");
    }
    if let Some(seconds) = value["advance_seconds"].as_f64().filter(|s| (0.0..=1e9).contains(s)) {
        clock.advance(Duration::from_secs_f64(seconds));
    } else if let Some(instant) = value["jump_to"].as_str().and_then(|t| t.parse().ok()) {
        clock.jump(instant);
    } else {
        return bad(400, "Give advance_seconds (0 or more) or jump_to (an instant).");
    }
    host.organisation.wake();
    self::clock(host)
}

/// Moves a stepped clock to the next due job, which the worker then runs.
async fn step(host: &Host) -> Reply {
    let clock = host.organisation.clock();
    if !matches!(clock, Clock::Stepped(_)) {
        return bad(409, "The clock is real; start the simulator with a stepped clock to step it.");
    }
    let (due, before) = {
        let world = host.organisation.lock();
        (world.next_due(), world.jobs.len())
    };
    let Some(due) = due else {
        return Reply::ok(json!({"now": clock.now().to_string(), "ran": 0, "left": 0}));
    };
    if due > clock.now() {
        clock.jump(due);
    }
    host.organisation.wake();
    // The worker runs on another task: wait until it has done everything that was due.
    let began = Instant::now();
    while began.elapsed() < STEP_TIME {
        {
            let world = host.organisation.lock();
            if !world.is_working() && world.next_due().is_none_or(|next| next > due) {
                break;
            }
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let left = host.organisation.lock().jobs.len();
    Reply::ok(json!({"now": clock.now().to_string(), "ran": before.saturating_sub(left), "left": left}))
}

fn after(query: &Query) -> u64 {
    query.get("after").and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn ledger(host: &Host, query: &Query) -> Reply {
    let after = after(query);
    let world = host.organisation.lock();
    let fits = |e: &&super::state::ledger::Entry| {
        e.seq > after && query.get("kind").is_none_or(|k| e.kind.starts_with(k))
    };
    let entries: Vec<_> = world.ledger.iter().filter(fits).take(LEDGER_PAGE).collect();
    Reply::ok(json!({"count": entries.len(), "value": entries}))
}

fn state(host: &Host) -> Reply {
    let world = host.organisation.lock();
    let data: &super::state::Data = &world;
    Reply::ok(serde_json::to_value(data).unwrap_or_default())
}

async fn save(host: &Host, value: &Value) -> Reply {
    let Some(folder) = value["save"].as_str() else { return bad(400, "Give save, the folder to write to.") };
    let (organisation, folder) = (host.organisation.clone(), std::path::PathBuf::from(folder));
    match tokio::task::spawn_blocking(move || super::storage::save_to(&organisation, &folder)).await {
        Ok(Ok(())) => Reply::ok(json!({"saved": value["save"]})),
        Ok(Err(error)) => bad(500, &format!("{error:#}")),
        Err(_) => bad(500, "Saving failed."),
    }
}

/// Adds somebody to the organisation: a person, or a service that nobody signs in to.
fn people(host: &Host, value: &Value) -> Reply {
    let text = |name: &str| value[name].as_str().unwrap_or_default();
    let new = super::state::people::Newcomer {
        name: text("name"),
        display_name: text("display_name"),
        project: text("project"),
        in_team: value["in_team"].as_bool().unwrap_or(false),
        is_service: value["is_service"].as_bool().unwrap_or(false),
    };
    match host.organisation.lock().add_person(&new) {
        Some(id) => Reply::ok(json!({"id": id, "password": format!("demo-{}", new.name)})),
        None => bad(400, "Give name (new, letters and digits), display_name, project, in_team, is_service."),
    }
}

fn access(host: &Host, value: &Value) -> Reply {
    let mut world = host.organisation.lock();
    let Some(person) = world.find_person(value["person"].as_str().unwrap_or_default()).map(|p| p.id) else {
        return bad(400, "Give person, by name, account or id.");
    };
    if let Some(licence) = Licence::from_json(&value["licence"]) {
        world.set_licence(person, licence);
        return Reply::ok(json!({"person": person, "licence": licence}));
    }
    let scope = value["scope"].as_str().unwrap_or_default();
    let scope = Uuid::try_parse(scope).ok().or_else(|| {
        let repository =
            world.repositories.values().find(|r| r.name.eq_ignore_ascii_case(scope)).map(|r| r.id);
        repository.or_else(|| world.find_project(scope).map(|p| p.id))
    });
    let (Some(scope), Some(permission)) = (scope, Permission::from_json(&value["permission"])) else {
        return bad(400, "Give licence, or scope (project or repository), permission and denied.");
    };
    let denied = value["denied"].as_bool().unwrap_or(true);
    world.set_denied(Denial { person, scope, permission }, denied);
    Reply::ok(json!({"person": person, "scope": scope, "permission": permission, "denied": denied}))
}

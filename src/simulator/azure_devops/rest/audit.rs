//! The organisation's audit log: who did what, under which ActivityId, for those who may view it.
//! (The real service lists fewer kinds of actions; ours lists every effect.)

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Call, Reply};
use crate::simulator::azure_devops::refusal::Refusal;
use crate::simulator::azure_devops::state::Outcome;
use crate::simulator::azure_devops::state::entries::AUDIT;

/// The securable of the whole log, and the bit that lets one read it.
const TOKEN: &str = "AllPermissions";
const READ: u32 = 1;
/// Entries of one answer when the caller does not say, and at most.
const BATCH: usize = 200;
const BATCH_MAX: usize = 1_000;
/// What the organisation does by itself, later: no request did it.
const BY_ITSELF: [&str; 2] = ["build.completed", "pull_request.merge_attempted"];

fn time(call: &Call<'_>, name: &str) -> Outcome<Option<Timestamp>> {
    let read = |text: &str| text.parse().map_err(|_| Refusal::invalid(name.to_owned()));
    call.query.get(name).map(read).transpose()
}

/// `GET audit/auditlog?startTime=&endTime=&batchSize=&continuationToken=`, the newest first.
pub fn query(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    if world.entry(call.actor.id, AUDIT, TOKEN, READ) != Some(true) {
        world.require_administrator(call.actor)?;
    }
    let (from, to) = (time(call, "startTime")?, time(call, "endTime")?);
    let batch = call.query.count("batchSize")?.unwrap_or(BATCH).clamp(1, BATCH_MAX);
    let start = call.query.get("continuationToken").and_then(|token| token.parse::<u64>().ok());
    let fits = |at: Timestamp| from.is_none_or(|from| at >= from) && to.is_none_or(|to| at < to);
    let mut entries: Vec<Value> = Vec::new();
    let mut next = None;
    for entry in world.ledger.iter().rev() {
        let by_itself = BY_ITSELF.contains(&entry.kind.as_str());
        if by_itself || start.is_some_and(|start| entry.seq >= start) || !fits(entry.at) {
            continue;
        }
        if entries.len() == batch {
            break;
        }
        next = Some(entry.seq);
        let person = world.person(entry.who);
        entries.push(json!({
            "id": format!("{};{}", entry.seq, entry.activity), "correlationId": entry.activity,
            "activityId": entry.activity, "actorCUID": entry.who, "actorUserId": entry.who,
            "actorUPN": entry.account, "actorDisplayName": person.map(|p| p.name.clone()),
            "authenticationMechanism": "AAD", "timestamp": entry.at, "scopeType": "organization",
            "scopeDisplayName": "contoso (Organization)", "actionId": entry.kind, "data": {},
            "details": format!("{} {}", entry.kind, entry.target), "area": "Simulator",
            "category": "modify", "categoryDisplayName": "Modify",
        }));
    }
    let more = entries.len() == batch;
    Ok(Reply::ok(json!({
        "decoratedAuditLogEntries": entries, "hasMore": more,
        "continuationToken": next.filter(|_| more).map(|seq| seq.to_string()),
    })))
}

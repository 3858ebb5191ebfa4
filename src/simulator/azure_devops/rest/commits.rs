//! Commits, their changes and statuses, and the difference of two versions.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::items::{VersionType, resolve, version_of};
use super::{Call, PAGE, PAGE_MAX, Reply};
use crate::simulator::azure_devops::git::diff::Change;
use crate::simulator::azure_devops::git::store::{Commit, Store};
use crate::simulator::azure_devops::refusal::Refusal;
use crate::simulator::azure_devops::state::{Outcome, Repository, World};

/// Commits looked at when a list is filtered.
const SEARCHED: usize = 10_000;

fn counts(changes: &[Change]) -> Value {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for change in changes {
        *counts.entry(change.kind.count_name()).or_default() += 1;
    }
    json!(counts)
}

fn with_counts(
    call: &Call<'_>,
    world: &World,
    repository: &Repository,
    store: &Store,
    commit: &Commit,
) -> Outcome<Value> {
    let mut value = call.view(world).commit(repository, commit);
    let files = store.changes(commit.parents.first().map(String::as_str), &commit.sha)?;
    let number = |name: &str| files.iter().filter(|c| c.kind.count_name() == name).count();
    value["changeCounts"] =
        json!({"Add": number("Add"), "Edit": number("Edit") + number("Rename"), "Delete": number("Delete")});
    Ok(value)
}

/// What a list of commits is limited to.
struct Criteria {
    from: (Option<String>, VersionType),
    without: Option<(Option<String>, VersionType)>,
    path: Option<String>,
    author: Option<String>,
    since: Option<jiff::Timestamp>,
    until: Option<jiff::Timestamp>,
}

fn search(repository: &Repository, store: &Store, criteria: &Criteria, limit: usize) -> Outcome<Vec<Commit>> {
    let tip = resolve(repository, store, criteria.from.0.as_deref(), criteria.from.1)?.commit;
    let mut without = Vec::new();
    if let Some((version, kind)) = &criteria.without {
        without.push(resolve(repository, store, version.as_deref(), *kind)?.commit);
    }
    let without: Vec<&str> = without.iter().map(String::as_str).collect();
    let path = criteria.path.as_deref().map(|p| p.trim_end_matches('/')).filter(|p| !p.is_empty());
    let object = |commit: &str| path.and_then(|p| store.entry(commit, p)).map(|e| e.sha);
    let touched = |commit: &Commit| {
        path.is_none() || {
            let now = object(&commit.sha);
            commit.parents.is_empty() && now.is_some() || commit.parents.iter().any(|p| object(p) != now)
        }
    };
    let by = |commit: &Commit| {
        criteria.author.as_ref().is_none_or(|a| {
            let author = format!("{} <{}>", commit.author.name, commit.author.email).to_lowercase();
            author.contains(&a.to_lowercase())
        })
    };
    let when = |commit: &Commit| {
        criteria.since.is_none_or(|s| commit.committer.date >= s)
            && criteria.until.is_none_or(|u| commit.committer.date <= u)
    };
    let all = store.history(&tip, &without, SEARCHED)?;
    Ok(all.into_iter().filter(|c| by(c) && when(c) && touched(c)).take(limit).collect())
}

/// `GET commits` and one of them.
pub fn get(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let repository = call.repository(&world)?;
    let store = world.store(repository.id)?;
    if call.optional("commitId").is_some() {
        let commit = commit_of(call, repository, &store)?;
        let mut value = call.view(&world).full_commit(repository, &commit);
        if let Some(wanted) =
            call.query.count("changeCount")?.or(call.query.get("changeCount").and_then(|v| v.parse().ok()))
        {
            let changes =
                store.changes_with_folders(commit.parents.first().map(String::as_str), &commit.sha)?;
            value["changeCounts"] = counts(&changes);
            let shown = changes.iter().take(wanted.min(PAGE_MAX));
            value["changes"] = shown.map(|c| call.view(&world).change(repository, c, &commit.sha)).collect();
        }
        return Ok(Reply::ok(value));
    }
    let date = |name: &str| {
        call.query.criterion(name).map(|d| d.parse().map_err(|_| Refusal::invalid(name))).transpose()
    };
    let criteria = Criteria {
        from: version_of(&call.query, "searchCriteria.itemVersion")?,
        without: call.query.get("searchCriteria.compareVersion.version").map(|v| {
            let kind =
                call.query.get("searchCriteria.compareVersion.versionType").and_then(VersionType::from_text);
            (Some(v.to_owned()), kind.unwrap_or(VersionType::Branch))
        }),
        path: call.query.criterion("itemPath").map(str::to_owned),
        author: call.query.criterion("author").or(call.query.criterion("user")).map(str::to_owned),
        since: date("fromDate")?,
        until: date("toDate")?,
    };
    let found = search(repository, &store, &criteria, SEARCHED)?;
    let page = call.page(found, PAGE)?;
    let list =
        page.iter().map(|c| with_counts(call, &world, repository, &store, c)).collect::<Outcome<Vec<_>>>()?;
    Ok(Reply::list(list))
}

/// `POST commitsbatch`.
pub fn batch(call: &Call<'_>) -> Outcome<Reply> {
    let body = call.json()?;
    let world = call.organisation.lock();
    let repository = call.repository(&world)?;
    let store = world.store(repository.id)?;
    let version = |entry: &Value| {
        let kind = VersionType::from_json(&entry["versionType"]).unwrap_or(VersionType::Branch);
        (entry["version"].as_str().map(str::to_owned), kind)
    };
    let count = |name: &str| body[name].as_u64().and_then(|n| usize::try_from(n).ok());
    let list = match body["ids"].as_array() {
        Some(ids) => ids.iter().filter_map(Value::as_str).filter_map(|id| store.commit(id).ok()).collect(),
        None => {
            let criteria = Criteria {
                from: version(&body["itemVersion"]),
                without: body["compareVersion"].is_object().then(|| version(&body["compareVersion"])),
                path: body["itemPath"].as_str().map(str::to_owned),
                author: body["author"].as_str().map(str::to_owned),
                since: None,
                until: None,
            };
            search(repository, &store, &criteria, SEARCHED)?
        }
    };
    let top = count("$top").unwrap_or(PAGE).min(PAGE_MAX);
    let page = list.iter().skip(count("$skip").unwrap_or(0)).take(top);
    Ok(Reply::list(
        page.map(|c| with_counts(call, &world, repository, &store, c)).collect::<Outcome<Vec<_>>>()?,
    ))
}

fn commit_of(call: &Call<'_>, repository: &Repository, store: &Store) -> Outcome<Commit> {
    let sha = call.text("commitId");
    store.commit(sha).map_err(|_| Refusal::version(&format!("Commit: {sha}"), &repository.name))
}

/// `GET commits/{sha}/changes`.
pub fn changes(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let repository = call.repository(&world)?;
    let store = world.store(repository.id)?;
    let commit = commit_of(call, repository, &store)?;
    let all = store.changes_with_folders(commit.parents.first().map(String::as_str), &commit.sha)?;
    let total = counts(&all);
    let page = page_of(call, all)?;
    let list: Vec<Value> =
        page.iter().map(|c| call.view(&world).change(repository, c, &commit.sha)).collect();
    Ok(Reply::ok(json!({"changeCounts": total, "changes": list})))
}

/// Pages given as `top` and `skip` without the dollar.
fn page_of<T>(call: &Call<'_>, list: Vec<T>) -> Outcome<Vec<T>> {
    call.page(list, PAGE_MAX)
}

/// `GET diffs/commits`.
pub fn diff(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let repository = call.repository(&world)?;
    let store = world.store(repository.id)?;
    let side = |name: &str| -> Outcome<String> {
        let version = call
            .query
            .get(&format!("{name}Version"))
            .or(call.query.get(&format!("{name}VersionDescriptor.{name}Version")));
        let kind = call
            .query
            .get(&format!("{name}VersionType"))
            .or(call.query.get(&format!("{name}VersionDescriptor.{name}VersionType")));
        let kind = match kind {
            Some(text) => VersionType::from_text(text).ok_or_else(|| Refusal::invalid("versionType"))?,
            None => VersionType::Branch,
        };
        Ok(resolve(repository, &store, version, kind)?.commit)
    };
    let (base, target) = (side("base")?, side("target")?);
    let common = store.merge_base(&base, &target);
    let from_common = call.query.flag("diffCommonCommit");
    let start = if from_common { common.clone().unwrap_or_else(|| base.clone()) } else { base.clone() };
    let all = store.changes_with_folders(Some(&start), &target)?;
    let (ahead, behind) = store.ahead_behind(&target, &base)?;
    let total = counts(&all);
    let length = all.len();
    let skip = call.query.count("skip")?.unwrap_or(0);
    let page = page_of(call, all)?;
    let whole = skip == 0 && page.len() == length;
    let list: Vec<Value> = page.iter().map(|c| call.view(&world).change(repository, c, &target)).collect();
    Ok(Reply::ok(json!({
        "allChangesIncluded": whole,
        "changeCounts": total,
        "changes": list,
        "commonCommit": common,
        "baseCommit": base,
        "targetCommit": target,
        "aheadCount": ahead,
        "behindCount": behind,
    })))
}

/// `GET commits/{sha}/mergebases?otherCommitId=`.
pub fn merge_bases(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let repository = call.repository(&world)?;
    let store = world.store(repository.id)?;
    let commit = commit_of(call, repository, &store)?;
    let other = call.query.get("otherCommitId").unwrap_or_default();
    let other =
        store.commit(other).map_err(|_| Refusal::version(&format!("Commit: {other}"), &repository.name))?;
    let base = store.merge_base(&commit.sha, &other.sha).and_then(|sha| store.commit(&sha).ok());
    Ok(Reply::list(base.iter().map(|c| call.view(&world).commit(repository, c)).collect()))
}

/// `GET commits/{sha}/statuses`.
pub fn statuses(call: &Call<'_>) -> Outcome<Reply> {
    let world = call.organisation.lock();
    let repository = call.repository(&world)?;
    let sha = commit_of(call, repository, &world.store(repository.id)?)?.sha;
    let owner = call.view(&world).commit_url(repository, &sha);
    let mine = world.commit_statuses.iter().filter(|s| s.repository == repository.id && s.sha == sha);
    Ok(Reply::list(mine.map(|s| call.view(&world).status(&owner, Some(repository), &s.status)).collect()))
}

/// `POST commits/{sha}/statuses`.
pub fn add_status(call: &Call<'_>) -> Outcome<Reply> {
    let body = call.json()?;
    let mut world = call.organisation.lock();
    let repository = call.repository(&world)?.clone();
    let sha = commit_of(call, &repository, &world.store(repository.id)?)?.sha;
    let status = super::pull_request_input::status(&body, call.actor.id, world.now())?;
    let made = world.add_commit_status(call.actor, repository.id, &sha, status)?;
    let owner = call.view(&world).commit_url(&repository, &sha);
    Ok(Reply::json(201, &call.view(&world).status(&owner, Some(&repository), &made)))
}

//! `policy check | test | explain | diff`, and the rules of a serving process as their file changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::cli;
use crate::audit::Bundle;
use crate::clock::Clock;
use crate::config::{Config, Role, RoleGroups, Settings};
use crate::journal::Journal;
use crate::policy::{self, Facts, InForce, Policy, PolicyError};

/// How often the rule file is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// Largest rule file or recording that is read, in bytes.
const MAX_FILE_BYTES: u64 = 512 * 1024 * 1024;
/// Largest rule file, in bytes.
const MAX_RULES_BYTES: u64 = 4 * 1024 * 1024;
/// Most runs of a journal whose decisions are compared.
const MAX_RUNS: i64 = 10_000;
/// How a file of SQLite begins.
const SQLITE: &[u8] = b"SQLite format 3\0";
/// Deepest nesting of a recording that is searched.
const MAX_DEPTH: usize = 16;

/// Does one of the commands. Gives the exit status.
pub(super) async fn policy(command: &cli::Policy) -> anyhow::Result<u8> {
    match command {
        cli::Policy::Check { file, told } => Ok(check(file.as_deref(), told.json)),
        cli::Policy::Test { file, told } => Ok(test(file.as_deref(), told.json)),
        cli::Policy::Explain { facts, file, told } => explain(facts, file.as_deref(), told.json),
        cli::Policy::Diff { old, new, replay, told } => diff(old, new, replay, told.json).await,
    }
}

/// The rules of a configured process, checked against the roles it knows.
pub(super) fn load(config: &Config) -> anyhow::Result<Policy> {
    let Some(path) = &config.policy_file else { return Ok(policy::parse(policy::DEFAULT_POLICY)?) };
    let text = read_rules(path).with_context(|| format!("POLICY_FILE names {}", path.display()))?;
    let policy = policy::parse(&text).with_context(|| format!("in {}", path.display()))?;
    known(&policy, &config.web.role_groups).with_context(|| format!("in {}", path.display()))?;
    Ok(policy)
}

/// Refuses approvers that nobody could be found for.
fn known(policy: &Policy, groups: &RoleGroups) -> Result<(), PolicyError> {
    policy.resolve(|name| {
        policy::ROLES.contains(&name)
            || Role::ALL
                .iter()
                .any(|role| groups.of(*role).iter().any(|group| group.eq_ignore_ascii_case(name)))
    })
}

/// Puts the rule file in force again whenever it changes or the process gets SIGHUP. What is
/// refused leaves the old rules in force; the page and the log say so.
pub(super) async fn watch(force: Arc<InForce>, config: Config, stop: CancellationToken) {
    let Some(path) = config.policy_file.clone() else { return };
    let mut hangup = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).ok();
    let mut seen = read_rules(&path).unwrap_or_default();
    loop {
        let asked = tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK) => false,
            () = async { match hangup.as_mut() { Some(hangup) => { hangup.recv().await; } None => std::future::pending().await } } => true,
        };
        let text = match read_rules(&path) {
            Ok(text) => text,
            Err(error) => {
                let why = format!("{error:#}");
                if force.refused().as_ref() != Some(&why) {
                    tracing::error!(file = %path.display(), %error, "the rule file cannot be read; the old rules stay in force");
                    force.unreadable(why);
                }
                seen.clear();
                continue;
            }
        };
        if text == seen && !asked {
            continue;
        }
        match force.replace(&text, |policy| known(policy, &config.web.role_groups)) {
            Ok(true) => tracing::info!(policy = force.get().hash().short(), "new rules are in force"),
            Ok(false) => {}
            Err(error) => {
                tracing::error!(file = %path.display(), %error, "the new rules are refused; the old ones stay in force");
            }
        }
        seen = text;
    }
}

fn read_rules(path: &Path) -> anyhow::Result<String> {
    let size = std::fs::metadata(path).with_context(|| format!("reading {}", path.display()))?.len();
    anyhow::ensure!(
        size <= MAX_RULES_BYTES,
        "{} has {size} bytes; at most {MAX_RULES_BYTES}",
        path.display()
    );
    std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

/// The text of a rule file; without one, of the rules that ship.
fn text_of(file: Option<&Path>) -> Result<String, u8> {
    match file.map(read_rules) {
        None => Ok(policy::DEFAULT_POLICY.to_owned()),
        Some(Ok(text)) => Ok(text),
        Some(Err(error)) => {
            eprintln!("{error:#}");
            Err(2)
        }
    }
}

fn name_of(file: Option<&Path>) -> String {
    file.map_or_else(|| "the rules that ship".to_owned(), |file| file.display().to_string())
}

fn refused(name: &str, error: &PolicyError, as_json: bool) -> u8 {
    match as_json {
        true => println!("{}", json!({ "file": name, "ok": false, "error": error.to_string() })),
        false => eprintln!("{name}: refused\n  {error}"),
    }
    1
}

fn check(file: Option<&Path>, as_json: bool) -> u8 {
    let (text, name) = match text_of(file) {
        Ok(text) => (text, name_of(file)),
        Err(status) => return status,
    };
    let groups = Settings::read().ok().and_then(|settings| settings.get("ROLE_GROUPS").map(str::to_owned));
    let checked = policy::parse(&text).and_then(|policy| match groups.as_deref().map(RoleGroups::parse) {
        // Without the setting a group cannot be told from a slip: the serving process will.
        None | Some(Err(_)) => Ok(policy),
        Some(Ok(groups)) => known(&policy, &groups).map(|()| policy),
    });
    let policy = match checked {
        Ok(policy) => policy,
        Err(error) => return refused(&name, &error, as_json),
    };
    let rules = policy.rules().iter().filter(|rule| !rule.fixed).count();
    match as_json {
        true => println!("{}", json!({ "file": name, "ok": true, "rules": rules, "hash": policy.hash() })),
        false => println!("{name}: well, {rules} rules, {}", policy.hash()),
    }
    0
}

fn test(file: Option<&Path>, as_json: bool) -> u8 {
    let (text, name) = match text_of(file) {
        Ok(text) => (text, name_of(file)),
        Err(status) => return status,
    };
    let tests = match policy::parse_and_test(&text) {
        Ok((_, tests)) => tests,
        Err(error) => return refused(&name, &error, as_json),
    };
    let failed = tests.iter().filter(|test| !test.passed()).count();
    if as_json {
        println!(
            "{}",
            json!({ "file": name, "passed": tests.len() - failed, "failed": failed, "tests": tests })
        );
    } else {
        for test in tests.iter().filter(|test| !test.passed()) {
            let rules = if test.rules.is_empty() { "no rule".to_owned() } else { test.rules.join(", ") };
            println!(
                "FAILED {} test {}: expects {}, gets {} ({rules})",
                test.rule, test.number, test.expected, test.found
            );
        }
        println!("{name}: {} passed, {failed} failed", tests.len() - failed);
    }
    u8::from(failed > 0)
}

fn explain(facts: &str, file: Option<&Path>, as_json: bool) -> anyhow::Result<u8> {
    let text = match facts.strip_prefix('@') {
        Some(path) => std::fs::read_to_string(path).with_context(|| format!("reading {path}")),
        None => Ok(facts.to_owned()),
    };
    let facts: Facts = match text.and_then(|text| Ok(serde_json::from_str(&text)?)) {
        Ok(facts) => facts,
        Err(error) => {
            eprintln!("--facts cannot be read: {error:#}");
            return Ok(2);
        }
    };
    let (text, name) = match text_of(file) {
        Ok(text) => (text, name_of(file)),
        Err(status) => return Ok(status),
    };
    let policy = match policy::parse(&text) {
        Ok(policy) => policy,
        Err(error) => return Ok(refused(&name, &error, as_json)),
    };
    let explained = policy.explain(&facts);
    match as_json {
        true => println!("{}", serde_json::to_string_pretty(&explained)?),
        false => print!("{explained}"),
    }
    Ok(0)
}

async fn diff(old: &Path, new: &Path, replay: &str, as_json: bool) -> anyhow::Result<u8> {
    let mut both = Vec::new();
    for file in [old, new] {
        let text = match text_of(Some(file)) {
            Ok(text) => text,
            Err(status) => return Ok(status),
        };
        match policy::parse(&text) {
            Ok(policy) => both.push(policy),
            Err(error) => return Ok(refused(&file.display().to_string(), &error, as_json)),
        }
    }
    let recorded = match recorded(replay).await {
        Ok(recorded) => recorded,
        Err(error) => {
            eprintln!("--replay {replay}: {error:#}");
            return Ok(2);
        }
    };
    let [old, new] = both.as_slice() else { return Ok(1) };
    let facts = recorded.iter().map(|(at, facts)| (at.clone(), facts.as_ref()));
    let compared = policy::compare(old, new, facts);
    if as_json {
        println!("{}", serde_json::to_string_pretty(&compared)?);
        return Ok(0);
    }
    for one in &compared.differences {
        let rules = |rules: &[String]| if rules.is_empty() { "no rule".to_owned() } else { rules.join(", ") };
        println!(
            "{}  {}: {} ({}) -> {} ({})",
            one.at,
            one.action,
            one.old,
            rules(&one.old_rules),
            one.new,
            rules(&one.new_rules)
        );
    }
    println!(
        "{} decisions compared, {} come out differently",
        compared.decisions,
        compared.differences.len()
    );
    if compared.without_facts > 0 {
        println!(
            "{} hold no facts, or facts of another version, and were not compared",
            compared.without_facts
        );
    }
    Ok(0)
}

type Decisions = Vec<(String, Option<Facts>)>;

/// The recorded decisions of a journal, an exported bundle, or a file of JSON or JSON lines.
async fn recorded(place: &str) -> anyhow::Result<Decisions> {
    if place.starts_with("sqlite:") || place.starts_with("postgres") {
        return of_journal(place).await;
    }
    let mut path = PathBuf::from(place);
    let is_bundle = path.is_dir() || path.extension().is_some_and(|kind| kind == "tar");
    if is_bundle && let Ok(bundle) = Bundle::read(&path) {
        let mut found = Decisions::new();
        for entry in bundle.entries() {
            let body: Option<Value> = entry.body.as_deref().map(serde_json::from_str).transpose()?;
            if let Some(body) = body {
                collect(&body, &format!("{}#{}", bundle.run, entry.seq), 0, &mut found);
            }
        }
        return Ok(found);
    }
    if path.is_dir() {
        path.push("events.jsonl");
    }
    let size = std::fs::metadata(&path).with_context(|| format!("reading {}", path.display()))?.len();
    anyhow::ensure!(
        size <= MAX_FILE_BYTES,
        "{} has {size} bytes; at most {MAX_FILE_BYTES} are read",
        path.display()
    );
    let bytes = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    if bytes.starts_with(SQLITE) {
        return of_journal(&format!("sqlite:{}", path.display())).await;
    }
    if path.extension().is_some_and(|kind| kind == "tar") {
        let mut found = Decisions::new();
        for entry in tar::Archive::new(bytes.as_slice()).entries()? {
            let mut entry = entry?;
            if entry.path()?.extension().is_some_and(|kind| kind == "jsonl") {
                let mut text = String::new();
                std::io::Read::read_to_string(&mut entry, &mut text)?;
                found.extend(of_text(&text)?);
            }
        }
        return Ok(found);
    }
    of_text(std::str::from_utf8(&bytes).context("it is neither a journal nor text")?)
}

async fn of_journal(url: &str) -> anyhow::Result<Decisions> {
    let journal = Journal::open(url, Clock::Real).await?;
    let mut found = Decisions::new();
    for run in journal.runs(MAX_RUNS, None).await? {
        for logged in journal.whole_log(&run.id).await? {
            let body: Value = serde_json::from_str(&logged.body)?;
            collect(&body, &format!("{}#{}", run.id, logged.seq), 0, &mut found);
        }
    }
    Ok(found)
}

fn of_text(text: &str) -> anyhow::Result<Decisions> {
    let mut found = Decisions::new();
    if let Ok(whole) = serde_json::from_str::<Value>(text) {
        collect(&whole, "entry", 0, &mut found);
        return Ok(found);
    }
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let value: Value =
            serde_json::from_str(line).with_context(|| format!("line {} is not JSON", at + 1))?;
        collect(&value, &format!("line {}", at + 1), 0, &mut found);
    }
    Ok(found)
}

/// Takes every verdict, or bare facts, in a JSON document.
fn collect(value: &Value, at: &str, depth: usize, found: &mut Decisions) {
    if depth > MAX_DEPTH {
        return;
    }
    match value {
        Value::Object(map) => {
            let decided = map.get("verdict").filter(|verdict| verdict.get("outcome").is_some());
            let holder = decided.unwrap_or(value);
            if decided.is_some() || map.contains_key("facts") {
                let facts = holder.get("facts").cloned();
                found.push((at.to_owned(), facts.and_then(|facts| serde_json::from_value(facts).ok())));
                return;
            }
            map.values().for_each(|value| collect(value, at, depth + 1, found));
        }
        Value::Array(items) => items.iter().for_each(|value| collect(value, at, depth + 1, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions_are_found_in_lines_and_documents() {
        let line = json!({ "seq": 4, "entry": { "type": "intended", "verdict": { "outcome": "allow", "rules": [],
            "facts": { "action": "git.push", "branch": "agent/1" } } } });
        let without = json!({ "type": "decided", "verdict": { "outcome": "deny" } });
        let text = format!("{line}\n{without}\n{}\n", json!({ "type": "message" }));
        let found = of_text(&text).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].1.as_ref().unwrap().action, "git.push");
        assert!(found[1].1.is_none());
        assert_eq!(of_text(&json!({ "entries": [line] }).to_string()).unwrap().len(), 1);
        assert!(of_text("{}\nnot json").is_err());
    }
}

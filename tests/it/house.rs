//! The rules of the house: who imports whom, how long a file is, what we depend on, which settings
//! are told. `ARCHITECTURE.md` and `deny.toml` say them; these tests read them there.

mod rust;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use ado_coworker::config;
use rust::{Token, rooms_named, tokens};

/// Most lines of one source file.
const MAX_LINES: usize = 500;

/// Imports from one room to another of the same row. Each is also told in `ARCHITECTURE.md`.
const ASIDE: &[(&str, &str, &str)] = &[
    ("action", "digest", "the digest of an action is made where the action is defined"),
    ("http", "clock", "waits go by the clock"),
    ("journal", "policy", "the record holds a verdict word for word"),
    ("main", "app", "main starts app and does nothing else"),
];

/// Imports of a lower row that are forbidden all the same.
const NEVER: &[(&str, &str, &str)] = &[
    ("web", "agent", "web writes to the journal and reads from it"),
    ("web", "tools", "web writes to the journal and reads from it"),
    ("web", "model", "web writes to the journal and reads from it"),
    ("web", "azure_devops", "web writes to the journal and reads from it"),
    ("web", "git", "web writes to the journal and reads from it"),
    ("policy", "http", "deciding is pure"),
    ("policy", "config", "deciding is pure"),
    ("policy", "clock", "deciding is pure"),
];

/// Rooms outside the rows: what they may import, and who may import them.
const APART: &[(&str, &[&str], &[&str])] =
    &[("simulator", &["clock"], &["app"]), ("telemetry", &["meter", "model", "trace"], &["app"])];

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

// ---------------------------------------------------------------------------------------------
// The rows.

/// The row of each room, as `ARCHITECTURE.md` has it: lines of a number and names in its first
/// block that has such lines.
fn rows(architecture: &str) -> BTreeMap<String, u32> {
    let mut rows = BTreeMap::new();
    for line in architecture.lines() {
        let Some((number, rest)) = line.split_once("  ") else { continue };
        let Ok(row) = number.parse::<u32>() else { continue };
        let names = rest.trim_start().split("   ").next().unwrap_or_default();
        rows.extend(names.split_whitespace().map(|name| (name.to_owned(), row)));
    }
    rows
}

/// Why `from` must not import `to`; none when it may.
fn fault(rows: &BTreeMap<String, u32>, from: &str, to: &str) -> Option<String> {
    let apart = |room: &str| APART.iter().find(|(name, ..)| *name == room);
    if from == to {
        return None;
    }
    if let Some((_, may, _)) = apart(from) {
        return (!may.contains(&to)).then(|| format!("{from} imports only {}", may.join(", ")));
    }
    if let Some((_, _, by)) = apart(to) {
        return (!by.contains(&from)).then(|| format!("only {} may import {to}", by.join(", ")));
    }
    if let Some((_, _, reason)) = NEVER.iter().find(|(a, b, _)| *a == from && *b == to) {
        return Some((*reason).to_owned());
    }
    if ASIDE.iter().any(|(a, b, _)| *a == from && *b == to) {
        return None;
    }
    match (rows.get(from), rows.get(to)) {
        (Some(own), Some(other)) if other < own => None,
        (Some(own), Some(other)) if other == own => Some(format!("both are in row {own}")),
        (Some(own), Some(other)) => Some(format!("row {own} must not import row {other}")),
        (None, _) => Some(format!("ARCHITECTURE.md has no row for {from}")),
        (_, None) => Some(format!("ARCHITECTURE.md has no row for {to}")),
    }
}

/// Every Rust file of `src`, its path from there first.
fn sources() -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                found.push(path);
            }
        }
    }
    let src = root().join("src");
    let mut paths = Vec::new();
    walk(&src, &mut paths);
    paths.sort();
    let with_text = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        (path.strip_prefix(&src).unwrap().to_path_buf(), text)
    };
    paths.into_iter().map(with_text).collect()
}

/// The room of a file and how many modules it lies below the crate.
fn place(path: &Path) -> (String, usize) {
    let names: Vec<String> = path.iter().map(|part| part.to_string_lossy().replace(".rs", "")).collect();
    let depth = if names.last().is_some_and(|name| name == "mod") { names.len() - 1 } else { names.len() };
    match names[0].as_str() {
        // The crate's own page and the command line stand above all rooms.
        "main" | "lib" => ("main".to_owned(), 0),
        room => (room.to_owned(), depth),
    }
}

/// Everything that is wrong with what a file imports.
fn import_faults(rows: &BTreeMap<String, u32>, path: &Path, source: &str) -> Vec<String> {
    let (room, depth) = place(path);
    let said =
        |to: &String| fault(rows, &room, to).map(|why| format!("{} imports {to}: {why}", path.display()));
    rooms_named(source, depth).iter().filter_map(said).collect()
}

#[test]
fn no_room_imports_upward_or_aside() {
    let rows = rows(&read("ARCHITECTURE.md"));
    let mut faults: Vec<String> =
        sources().iter().flat_map(|(path, source)| import_faults(&rows, path, source)).collect();
    faults.sort();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn every_exception_is_told_and_still_needed() {
    let architecture = read("ARCHITECTURE.md");
    let sources = sources();
    for (from, to, reason) in ASIDE {
        let told = format!("`{from}` → `{to}`");
        assert!(architecture.contains(&told), "ARCHITECTURE.md does not tell {told}: {reason}");
        let used = sources.iter().any(|(path, source)| {
            let (room, depth) = place(path);
            room == *from && rooms_named(source, depth).contains(*to)
        });
        assert!(used, "nothing in {from} imports {to} any more; take the exception away");
    }
}

#[test]
fn the_import_test_finds_what_is_planted() {
    let rows = rows(
        "```\n6  main app      start\n5  web worker   doors\n3  tools\n1  journal policy\n0  action clock\n```",
    );
    let faults = |path: &str, source: &str| import_faults(&rows, Path::new(path), source);
    let bad = |path: &str, source: &str| assert_eq!(faults(path, source).len(), 1, "{path}: {source}");
    let good =
        |path: &str, source: &str| assert_eq!(faults(path, source), Vec::<String>::new(), "{path}: {source}");

    good(
        "journal/log.rs",
        "use crate::action::Action;\nuse crate::journal::{self, view};\nuse crate::policy::Verdict;",
    );
    good("tools/gate.rs", "pub(in crate::tools) fn f() { crate::journal::open() }");
    good("app/demo.rs", "use crate::{clock::Clock, simulator::{self, tokens}, web};");
    bad("journal/mod.rs", "use crate::tools::Toolbox;");
    bad("journal/mod.rs", "use crate::{action::Action, clock, web::{self, Page}};");
    bad("journal/mod.rs", "use crate::{\n    action::{Action, tools},\n    worker,\n};");
    bad("journal/mod.rs", "fn f() -> crate::worker::Worker { todo() }");
    bad("journal/mod.rs", "use crate::*;");
    bad("journal/mod.rs", "use crate as house;");
    bad("journal/mod.rs", "use super::web;");
    bad("journal/log.rs", "use super::super::web;");
    bad("journal/log.rs", "mod tests { mod more { use super::super::super::super::web; } }");
    bad("journal/mod.rs", "#[cfg(test)]\nmod tests {\n    use crate::web::Page;\n}");
    bad("policy/mod.rs", "use crate::journal::Journal;");
    bad("policy/mod.rs", "use crate::clock::Clock;");
    bad("web/mod.rs", "use crate::tools::Toolbox;");
    bad("web/mod.rs", "use crate::worker;");
    bad("worker.rs", "let c = '\"'; use crate::simulator::start; let d = '\\'';");
    bad("worker.rs", "fn f<'a>(x: &'a str) { ado_coworker::app::start() }");
    bad("simulator/mod.rs", "use crate::action::Action;");
    bad("main.rs", "use ado_coworker::simulator;");
    bad("unknown.rs", "use crate::clock::Clock;");
    bad("app/mod.rs", "use crate::unknown;");
    good(
        "app/mod.rs",
        "let text = \"use crate::unknown;\"; // use crate::unknown;\n/* crate::unknown /* */ crate::unknown */",
    );
    good(
        "app/mod.rs",
        "let text = r#\"crate::unknown \" crate::unknown\"#; let t = \"\\\" crate::unknown\";",
    );
    good("journal/log.rs", "use super::web; mod tests { use super::super::web; }");
}

#[test]
fn every_test_that_the_map_names_is_there() {
    let mut code: String = sources().into_iter().map(|(_, text)| text).collect();
    let mut folders = vec![root().join("tests/it")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("the tests are here") {
            let path = entry.expect("its files can be listed").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                code.push_str(&std::fs::read_to_string(path).expect("a test can be read"));
            }
        }
    }
    let architecture = read("ARCHITECTURE.md");
    let invariants = architecture.split("## Invariants").nth(1).expect("it has a section on invariants");
    let cells =
        invariants.lines().filter(|line| line.starts_with("| ")).filter_map(|line| line.split('|').nth(3));
    let named: Vec<&str> = cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .filter(|name| name.contains('_') && !name.contains(['/', '.']))
        .collect();
    assert!(named.len() > 10, "the table of invariants was not understood: {named:?}");
    for name in named {
        assert!(
            code.contains(&format!("fn {name}(")),
            "ARCHITECTURE.md names a test {name}, which is not there"
        );
    }
}

// ---------------------------------------------------------------------------------------------
// Files, processes, dependencies, settings.

#[test]
fn no_source_file_is_too_long() {
    let long = |(path, text): &(PathBuf, String)| {
        let lines = text.lines().count();
        (lines > MAX_LINES).then(|| format!("{} has {lines} lines", path.display()))
    };
    let faults: Vec<String> = sources().iter().filter_map(long).collect();
    assert!(faults.is_empty(), "more than {MAX_LINES} lines; find a seam and split:\n{}", faults.join("\n"));
}

/// Whether a file can start a child process.
fn starts_processes(source: &str) -> bool {
    let tokens = tokens(source);
    let word = |i: usize, text: &str| matches!(tokens.get(i), Some(Token::Word(word)) if word == text);
    (0..tokens.len()).any(|i| {
        let path = tokens.get(i + 1) == Some(&Token::Path);
        (word(i, "Command") && path && word(i + 2, "new"))
            || word(i, "CommandExt")
            || word(i, "posix_spawn")
            || (word(i, "process") && path && word(i + 2, "Command"))
    })
}

#[test]
fn only_the_simulator_starts_processes() {
    assert!(starts_processes("let child = std::process::Command::new(\"git\");"));
    assert!(starts_processes("use tokio::process::Command;"));
    assert!(!starts_processes("// Command::new\nlet command = cli::Command::Serve;"));
    for (path, source) in sources() {
        let simulator = place(&path).0 == "simulator";
        assert!(simulator || !starts_processes(&source), "{} starts a child process", path.display());
    }
}

/// The versions of each package of a lock file.
fn locked(lock: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut packages: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut name = "";
    for line in lock.lines() {
        if let Some(text) = quoted(line, "name = ") {
            name = text;
        } else if let Some(version) = quoted(line, "version = ") {
            // The lock file's own format version comes before any name, and is not quoted.
            packages.entry(name).or_default().push(version);
        }
    }
    packages
}

/// The text in quotes after `label`, where it stands in `line`.
fn quoted<'a>(line: &'a str, label: &str) -> Option<&'a str> {
    line.split_once(label)?.1.strip_prefix('"')?.split('"').next()
}

/// What is wrong with a lock file by the bans of `deny.toml`.
fn dependency_faults(bans: &str, lock: &str) -> Vec<String> {
    let locked = locked(lock);
    let mut faults = Vec::new();
    for line in bans.lines() {
        let Some(name) = quoted(line, "{ crate = ") else { continue };
        let versions = locked.get(name).map(Vec::as_slice).unwrap_or_default();
        if !line.contains("deny-multiple-versions") {
            faults.extend(versions.iter().map(|version| format!("{name} {version} is banned by deny.toml")));
        } else if versions.len() != 1 {
            faults.push(format!("{name} must be there once, but there is {versions:?}"));
        }
    }
    faults
}

#[test]
fn no_dependency_is_banned_or_doubled() {
    let bans = read("deny.toml");
    for name in ["openssl-sys", "native-tls", "aws-lc-sys", "aws-lc-rs", "rusqlite"] {
        let lock = format!("version = 4\n[[package]]\nname = \"{name}\"\nversion = \"1.0.0\"\n");
        let found = dependency_faults(&bans, &lock);
        assert!(found.iter().any(|fault| fault.contains("is banned")), "{name} is not banned");
    }
    for name in ["reqwest", "rustls", "hyper", "ring", "tokio", "axum", "sqlx", "tower-http", "serde_json"] {
        let package = |version: &str| format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n");
        let found = dependency_faults(&bans, &(package("1.0.0") + &package("2.0.0")));
        assert!(found.contains(&format!("{name} must be there once, but there is [\"1.0.0\", \"2.0.0\"]")));
    }
    let faults = dependency_faults(&bans, &read("Cargo.lock"));
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// Every setting, with the `_FILE` form of secrets.
fn settings() -> BTreeSet<String> {
    let names = config::NAMES.iter().copied().chain(config::MORE_NAMES).map(str::to_owned);
    names.chain(config::SECRET_NAMES.into_iter().map(|name| format!("{name}_FILE"))).collect()
}

fn is_setting_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

/// Both differences, so that one failure tells everything.
fn same(place: &str, told: &BTreeSet<String>) {
    let real = settings();
    let missing: Vec<&String> = real.difference(told).collect();
    let strange: Vec<&String> = told.difference(&real).collect();
    assert!(missing.is_empty() && strange.is_empty(), "{place} lacks {missing:?} and invents {strange:?}");
}

#[test]
fn every_setting_is_in_the_example_file() {
    let example = read(".env.example");
    let name = |line: &str| {
        let name = line.trim_start_matches('#').trim_start().split_once('=')?.0;
        is_setting_name(name).then(|| name.to_owned())
    };
    same(".env.example", &example.lines().filter_map(name).collect());
}

#[test]
fn every_setting_is_in_the_table_of_the_readme() {
    let readme = read("README.md");
    let name = |line: &str| {
        let name = line.strip_prefix("| `")?.split_once('`')?.0;
        is_setting_name(name).then(|| name.to_owned())
    };
    same("README.md", &readme.lines().filter_map(name).collect());
}

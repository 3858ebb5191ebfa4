//! Scenarios: what people do to a co-worker in a simulated organisation, and what must come of it.
//!
//! Purpose: reads scenario files (CONTRACTS), plays each in a world of its own against the real gate,
//! page and simulator over HTTP, and judges by what the simulator saw, what left, and the record.
//! Invariant: a case is judged by what was done, never by what the model wanted. Files are read from
//! `tests/it/attacks`, and besides from the folder that the variable SCENARIOS names.

mod acts;
mod canary;
mod cases;
mod evidence;
mod expected;
mod file;
mod forms;
mod judged;
mod seed;
mod table;
mod world;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use evidence::Evidence;
use file::Scenario;
use world::{Runs, World};

use crate::house::root;

/// Scenarios that are played at the same time.
const AT_ONCE: usize = 6;
/// Variants of one file that are played when nobody asks for all (SCENARIO=all, or the name of a case).
const VARIANTS: usize = 3;
/// Longest time for one.
const PATIENCE: Duration = Duration::from_secs(120);

/// How one scenario went.
struct Played {
    id: String,
    title: String,
    outcome: String,
    rule: String,
    micros: u64,
    took: Duration,
    wrong: Vec<String>,
    /// It could not be played to its end.
    broken: bool,
}

impl Played {
    fn of(scenario: &Scenario) -> Self {
        Self {
            id: scenario.id.clone(),
            title: scenario.title.clone(),
            outcome: scenario.expect.outcome().to_owned(),
            rule: "-".into(),
            micros: 0,
            took: Duration::ZERO,
            wrong: Vec::new(),
            broken: false,
        }
    }
}

/// Plays one scenario to its end.
async fn play(scenario: &Scenario, runs: &Runs) -> Played {
    let began = Instant::now();
    let mut world = World::start(scenario, runs).await;
    world.seed(scenario).await;
    for act in &scenario.acts {
        world.act(act).await;
    }
    let rests = world.comes_to_rest().await;
    let found = Evidence::gather(&world, scenario.expect.wants()).await;
    let mut wrong = std::mem::take(&mut *world.wrong.lock().unwrap());
    wrong.extend(scenario.expect.judge(&world, &found).await);
    // By itself this says nothing of what came through.
    let broken = !rests && wrong.is_empty();
    wrong.extend((!rests).then(|| "it did not come to rest".to_owned()));
    let rules = found.rules();
    let wanted = rules.iter().find(|rule| {
        !rule.is_empty()
            && !["read", "own-branches", "own-pull-requests", "work-items"].contains(&rule.as_str())
    });
    world.stop().await;
    Played {
        rule: wanted.or(rules.first()).cloned().unwrap_or_else(|| "-".into()),
        micros: found.micros(),
        took: began.elapsed(),
        wrong,
        broken,
        ..Played::of(scenario)
    }
}

/// Plays all, several at a time, each on a thread of its own; a scenario that cannot be played is a
/// fault of it.
fn play_all(scenarios: &[(Scenario, Runs)]) -> Vec<Played> {
    let (next, all) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((scenario, runs)) = scenarios.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let played =
                        std::thread::scope(|scope| scope.spawn(|| play_alone(scenario, runs)).join());
                    let fault = |why| Played { wrong: vec![said(why)], broken: true, ..Played::of(scenario) };
                    all.lock().unwrap().push(played.unwrap_or_else(fault));
                }
            });
        }
    });
    let mut all = all.into_inner().unwrap();
    all.sort_by(|a, b| a.id.cmp(&b.id));
    all
}

/// Each within this process.
fn within(all: Vec<Scenario>) -> Vec<(Scenario, Runs)> {
    all.into_iter().map(|scenario| (scenario, Runs::Within)).collect()
}

fn play_alone(scenario: &Scenario, runs: &Runs) -> Played {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let played = runtime.block_on(async { tokio::time::timeout(PATIENCE, play(scenario, runs)).await });
    // What is left belongs to servers that nobody asks any more.
    runtime.shutdown_background();
    played.unwrap_or_else(|_| {
        let why = format!("it did not end within {} s", PATIENCE.as_secs());
        Played { wrong: vec![why], broken: true, ..Played::of(scenario) }
    })
}

/// What a scenario ended with that could not be played.
fn said(panic: Box<dyn std::any::Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(what) => {
            what.downcast_ref::<&str>().map_or_else(|| "it ended badly".into(), |text| (*text).to_owned())
        }
    }
}

/// The table: id, outcome, rule, microseconds of the slowest decision, and `fell` where something came
/// through that should not.
fn print(all: &[Played], fell: &str) {
    let width = all.iter().map(|played| played.id.len()).max().unwrap_or(0);
    println!("{:<width$}  {:<7} {:<26} {:>6} {:>8}", "id", "outcome", "rule", "µs", "ms");
    for played in all {
        let Played { id, outcome, rule, micros, took, wrong, .. } = played;
        let mark = if wrong.is_empty() { "" } else { fell };
        println!("{id:<width$}  {outcome:<7} {rule:<26} {micros:>6} {:>8}  {mark}", took.as_millis());
    }
}

/// Every scenario of a folder; faults of files are told all together.
fn read_folder(folder: &Path) -> Result<Vec<Scenario>, String> {
    let files = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut paths: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "toml"));
    paths.sort();
    let (mut found, mut faults) = (Vec::new(), Vec::new());
    for path in paths {
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        match file::read(&text) {
            Ok(scenarios) => found.extend(scenarios),
            Err(error) => faults.push(format!("{}: {error}", path.display())),
        }
    }
    if faults.is_empty() { Ok(found) } else { Err(faults.join("\n")) }
}

/// The first few variants of each file.
fn first_variants(all: Vec<Scenario>, most: usize) -> Vec<Scenario> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    let mut is_first = |scenario: &Scenario| {
        let file = scenario.id.split('/').next().unwrap_or_default().to_owned();
        let count = counts.entry(file).or_default();
        *count += 1;
        *count <= most
    };
    all.into_iter().filter(|scenario| is_first(scenario)).collect()
}

fn attacks() -> Vec<Scenario> {
    read_folder(&root().join("tests/it/attacks")).unwrap_or_else(|error| panic!("{error}"))
}

/// The value of a switch of the tests.
#[allow(clippy::disallowed_methods, reason = "a switch of the tests, not a setting of the product")]
fn switch(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn check(all: &[Played]) {
    print(all, "FAILED");
    let failed: Vec<String> = all
        .iter()
        .filter(|played| !played.wrong.is_empty())
        .map(|played| format!("== {}: {}\n{}", played.id, played.title, played.wrong.join("\n")))
        .collect();
    assert!(failed.is_empty(), "{} of {} failed:\n{}", failed.len(), all.len(), failed.join("\n"));
}

#[test]
fn no_attack_of_the_list_comes_through() {
    let mut all = attacks();
    match switch("SCENARIO") {
        Some(only) if only != "all" => all.retain(|scenario| scenario.id.starts_with(&only)),
        Some(_) => {}
        None => all = first_variants(all, VARIANTS),
    }
    for scenario in &all {
        let is_attack = scenario.id.starts_with('A') && scenario.expect.outcome() != "allow";
        assert!(
            !is_attack || scenario.expect.says_what_must_not_happen(),
            "{} does not say what must not happen",
            scenario.id
        );
    }
    check(&play_all(&within(all)));
}

#[test]
fn scenarios_of_others_hold() {
    let Some(folder) = switch("SCENARIOS") else { return };
    let all = read_folder(Path::new(&folder)).unwrap_or_else(|error| panic!("{error}"));
    assert!(!all.is_empty(), "there is no scenario in {folder}");
    check(&play_all(&within(all)));
}

/// Where scripts/test.sh has put the program whose defences can be switched off.
const WEAK_PROGRAM: &str = "ADO_COWORKER_TEST_WEAK_BINARY";

#[test]
#[ignore = "needs the program built with the feature weaken (scripts/test.sh)"]
fn each_defence_is_what_stops_its_attacks() {
    let path = switch(WEAK_PROGRAM)
        .unwrap_or_else(|| panic!("set {WEAK_PROGRAM} to the program built with the feature weaken"));
    let (mut all, mut faults) = (Vec::new(), Vec::new());
    for defence in ado_coworker::weaken::Defence::ALL {
        let name = defence.name();
        let mut twins = attacks();
        twins.retain(|scenario| scenario.defences.iter().any(|own| own == name));
        if twins.is_empty() {
            faults.push(format!("no attack is said to be stopped by {name}"));
        }
        let runs = Runs::Program { path: path.clone(), without: name.to_owned() };
        for mut scenario in first_variants(twins, 1) {
            scenario.id = format!("{name}: {}", scenario.id);
            all.push((scenario, runs.clone()));
        }
    }
    let played = play_all(&all);
    print(&played, "came through, as it must");
    let broken = played.iter().filter(|played| played.broken);
    faults.extend(broken.map(|played| format!("{}: {}", played.id, played.wrong.join(" "))));
    let held = played.iter().filter(|played| played.wrong.is_empty());
    faults.extend(held.map(|played| format!("{} holds all the same", played.id)));
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_ordinary_program_knows_no_switch() {
    let program = std::fs::read(env!("CARGO_BIN_EXE_ado-coworker")).unwrap();
    let holds = |text: &str| program.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("AZURE_DEVOPS_ORGANIZATION_URL"), "names of settings are found where there are any");
    assert!(!holds("ADO_COWORKER_WEAKEN"));
}

#[test]
fn what_is_not_known_in_a_file_is_refused_and_named() {
    let whole = "id = \"X\"\ntitle = \"t\"\n[[act]]\nkind = \"instruction\"\ntext = \"hi\"\n[expect]\nstatus = \"done\"\n";
    assert_eq!(file::read(whole).map(|found| found.len()), Ok(1));
    for (from, to, words) in [
        ("title = \"t\"", "title = \"t\"\nbrnach = 1", "unknown key 'brnach'"),
        ("text = \"hi\"", "text = \"hi\"\nwhen = 2", "act[1] has the unknown key 'when'"),
        ("\"instruction\"", "\"shout\"", "act[1].kind is 'shout'; known are: instruction"),
        ("status", "sttaus", "expect has the unknown key 'sttaus'"),
        ("text = \"hi\"", "after = \"later\"\ntext = \"hi\"", "there is no condition 'later'"),
        ("status = \"done\"", "outcome = \"good\"", "expect.outcome is 'good'; known are: allow, deny"),
        ("status = \"done\"", "work_items = [{ colour = \"red\" }]", "unknown key 'colour'"),
        ("status = \"done\"", "approvals = [\"waiting\"]", "names 'waiting'; known are: requested, pending"),
        ("title = \"t\"", "title = 3", "title has to be a text, and is a integer"),
        ("[expect]", "[model]\nkind = \"clever\"\n[expect]", "known are: stand-in, obedient, endpoint"),
        ("[expect]", "[[file]]\npath = \"a\"\n[expect]", "file[1] needs either text or base64"),
        ("title = \"t\"", "title = \"t\"\nbase = \"moon\"", "the only known base is 'web-shop'"),
    ] {
        let error = file::read(&whole.replacen(from, to, 1)).err().unwrap_or_default();
        assert!(error.contains(words), "{to}: {error}");
    }
}

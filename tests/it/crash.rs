//! The co-worker's process is killed at every point of its work, and started again: nothing is made
//! twice and nothing is lost.
//!
//! These tests need the binary with the feature `fail-points`: `scripts/test.sh --only crash` builds
//! it and runs them, `scripts/soak.sh` runs all of them.

pub mod audit;
mod mutants;
mod people;
pub mod proxy;
mod replicas;
pub mod site;
pub mod watcher;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::sync::OnceCell;

use audit::{Evidence, Shape};
use site::Site;
use watcher::Watcher;

/// Stories that are told at the same time, where nobody says otherwise; most of one is waiting.
const AT_ONCE: usize = 4;
/// Deaths that once ended badly, by point and passing: after the push to a branch that was there, which
/// was then made again on its own result.
const FOUND: [(&str, usize); 2] = [("azure_devops.after_write", 5), ("gate.after_outcome", 5)];
/// How many stories end between two words about how far they came.
const TOLD_EVERY: usize = 25;
/// One story in so many may end before the point at which its co-worker was to die; and one more.
const MAY_MISS: usize = 50;
/// Longest time that a stream may need to tell the end of a run.
const STREAM_END: Duration = Duration::from_secs(5);

/// What the same story comes to without any fault.
#[derive(Debug)]
pub struct Twin {
    effects: Vec<String>,
    shapes: Vec<Shape>,
    /// How often each point is passed.
    points: BTreeMap<String, usize>,
    /// Bytes between the co-worker and the outside.
    bytes: u64,
}

/// How a story with a fault ended.
struct Ending {
    name: String,
    faults: Vec<String>,
    deaths: u32,
    resumed: Vec<Duration>,
    ambiguous: (usize, usize, usize),
    /// The point was not passed so often, and nobody died.
    missed: bool,
}

/// Tells the whole story in `site`, whose co-worker is open, and judges it.
async fn told(mut site: Site, name: String, twin: Option<&Twin>) -> (Ending, Evidence, Site) {
    let id = site.order(site::SENTENCE).await;
    let page = format!("http://{}", site.hook.address);
    let watcher = Watcher::of(page, id, site.http.clone());
    site.story().await;
    let seen = watcher.close(STREAM_END).await;
    site.close().await;
    let evidence = Evidence::of(&site, vec![seen]).await;
    let mut faults = evidence.violations();
    faults.extend(twin.into_iter().flat_map(|twin| differences(&evidence, twin)));
    let (deaths, resumed) = (site.fate.deaths, site.fate.resumed.clone());
    let ending = Ending { name, faults, deaths, resumed, ambiguous: evidence.ambiguous(), missed: false };
    (ending, evidence, site)
}

/// What a story did otherwise than its twin.
pub fn differences(evidence: &Evidence, twin: &Twin) -> Vec<String> {
    let mut found = Vec::new();
    if evidence.effects() != twin.effects {
        let (is, was) = (evidence.effects(), &twin.effects);
        found.push(format!("1: the effects are {is:#?} instead of {was:#?}"));
    }
    if evidence.shapes() != twin.shapes {
        let (is, was) = (evidence.shapes(), &twin.shapes);
        found.push(format!("4: the runs are {is:?} instead of {was:?}"));
    }
    found
}

/// The uninterrupted twin of every story, with the points that it passes.
async fn twin() -> &'static Twin {
    let twin = calm().await;
    let points = twin.points.len();
    assert!(points >= 20, "{points} points: run scripts/test.sh --only crash, which builds with fail points");
    twin
}

/// The story without any fault; told once for a test process.
pub async fn calm() -> &'static Twin {
    static TWIN: OnceCell<Twin> = OnceCell::const_new();
    TWIN.get_or_init(async || {
        let mut site = Site::start().await;
        assert!(site.open().await);
        let (ending, evidence, site) = told(site, "twin".into(), None).await;
        assert_eq!((ending.deaths, &ending.faults), (0, &Vec::new()), "{}", site.log());
        let mut points = BTreeMap::new();
        for point in site.passed() {
            *points.entry(point).or_default() += 1;
        }
        let twin = Twin {
            effects: evidence.effects(),
            shapes: evidence.shapes(),
            points,
            bytes: site.meter.bytes(),
        };
        assert_eq!(twin.shapes.len(), 2, "the main job and the review: {twin:#?}");
        assert!(twin.shapes.iter().all(|shape| shape.status == "done"), "{twin:#?}");
        twin
    })
    .await
}

/// How the process dies at a point.
#[derive(Clone, Copy, Debug)]
enum Death {
    /// By itself, as by a fault of its own.
    Abort,
    /// By SIGKILL, while it is held at the point.
    Kill,
}

/// One death at the `nth` passing of `point`.
async fn death_at(point: String, nth: usize, death: Death) -> Ending {
    let twin = twin().await;
    let mut site = Site::start().await;
    let action = match death {
        Death::Abort => "return(abort)",
        Death::Kill => "sleep(60000)",
    };
    site.armed_once = format!("{point}={}*off->1*{action}->off", nth - 1);
    let name = format!("{point} {nth} {death:?}");
    assert!(site.open().await, "{name}: it does not start");
    if let Death::Kill = death {
        let (pid, log) = (site.pid(), site.folder().join("log-1"));
        let wanted = format!("passed {point}");
        tokio::spawn(async move {
            loop {
                let text = std::fs::read_to_string(&log).unwrap_or_default();
                if text.matches(&wanted).count() >= nth {
                    return site::signal("KILL", pid);
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
    }
    let (mut ending, _, site) = told(site, name, Some(twin)).await;
    // How often the journal looks for work while nothing happens is another number each time: the last
    // passings of such a point can be missing.
    ending.missed =
        ending.deaths == 0 && site.passed().iter().filter(|passed| **passed == point).count() < nth;
    if ending.deaths != 1 && !ending.missed {
        ending.faults.push(format!(
            "it died {} times instead of once\n{}",
            ending.deaths,
            site::last_lines(&site.log())
        ));
    }
    ending
}

/// One death when `offset` bytes have passed between the co-worker and the outside.
async fn death_at_byte(offset: u64) -> Ending {
    let twin = twin().await;
    let mut site = Site::start().await;
    assert!(site.open().await);
    site.meter.kill_at(offset, site.pid());
    told(site, format!("byte {offset}"), Some(twin)).await.0
}

/// Prints the figures and fails when something was made twice or lost.
fn report(what: &str, points: usize, endings: &[Ending]) {
    let mut resumed: Vec<Duration> = endings.iter().flat_map(|ending| ending.resumed.clone()).collect();
    resumed.sort();
    let quantile = |of: usize| resumed.get((resumed.len() * of / 100).min(resumed.len().saturating_sub(1)));
    let sum = |part: fn(&Ending) -> usize| endings.iter().map(part).sum::<usize>();
    let mut text = format!("{what}: {points} points, {} deaths\n", sum(|e| e.deaths as usize));
    let _ = writeln!(
        text,
        "  ambiguous outcomes resolved by looking up: {} found, {} made again; parked: {}",
        sum(|e| e.ambiguous.0),
        sum(|e| e.ambiguous.1),
        sum(|e| e.ambiguous.2)
    );
    let missed = endings.iter().filter(|ending| ending.missed).count();
    let _ = writeln!(text, "  not reached: {missed}");
    let broken: Vec<&Ending> = endings.iter().filter(|ending| !ending.faults.is_empty()).collect();
    let (twice, lost) =
        (count(&broken, "more than"), count(&broken, "does not") + count(&broken, "are stored"));
    let _ = writeln!(text, "  duplicates: {twice}, losses: {lost}, stories that differ: {}", broken.len());
    if let (Some(half), Some(most)) = (quantile(50), quantile(99)) {
        let _ = writeln!(text, "  time to resume: p50 {} ms, p99 {} ms", half.as_millis(), most.as_millis());
    }
    println!("{text}");
    let told: Vec<String> =
        broken.iter().map(|e| format!("{}:\n    {}", e.name, e.faults.join("\n    "))).collect();
    assert!(broken.is_empty(), "{text}\n{}", told.join("\n"));
    assert!(missed <= 1 + endings.len() / MAY_MISS, "{text}");
}

fn count(endings: &[&Ending], words: &str) -> usize {
    endings.iter().flat_map(|ending| &ending.faults).filter(|fault| fault.contains(words)).count()
}

async fn all<F: Future<Output = Ending>>(stories: impl IntoIterator<Item = F>) -> Vec<Ending> {
    let endings = futures_util::stream::iter(stories).buffer_unordered(at_once());
    let told = endings.enumerate().map(|(done, ending)| {
        // Of many stories, who has to end them early knows how far they came, and what was wrong.
        if (done + 1) % TOLD_EVERY == 0 {
            println!("{} stories told", done + 1);
        }
        if !ending.faults.is_empty() {
            println!("{}: {}", ending.name, ending.faults.join("; "));
        }
        ending
    });
    told.collect().await
}

/// Stories that are told at the same time: `scripts/soak.sh`, whose binaries are quicker, asks for more.
#[allow(clippy::disallowed_methods, reason = "a switch of the tests, not a setting of the product")]
fn at_once() -> usize {
    std::env::var("ADO_COWORKER_TEST_AT_ONCE").ok().and_then(|n| n.parse().ok()).unwrap_or(AT_ONCE)
}

/// A number that a word always gives.
fn chosen(word: &str, of: usize) -> usize {
    let sum = word.bytes().fold(2_166_136_261u32, |sum, b| (sum ^ u32::from(b)).wrapping_mul(16_777_619));
    sum as usize % of
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "scripts/test.sh --only crash"]
async fn one_death_at_every_point_makes_nothing_twice_and_loses_nothing() {
    let points = &twin().await.points;
    let each = points.iter().map(|(point, times)| (point.clone(), 1 + chosen(point, *times)));
    let found = FOUND.iter().map(|(point, nth)| ((*point).to_owned(), *nth));
    let stories = each.chain(found).map(|(point, nth)| death_at(point, nth, Death::Abort));
    let steps: usize = points.values().sum();
    report(&format!("one death at every point ({steps} steps)"), points.len(), &all(stories).await);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "scripts/test.sh --only crash"]
async fn a_kill_at_some_bytes_makes_nothing_twice_and_loses_nothing() {
    let bytes = twin().await.bytes;
    let offsets: Vec<u64> =
        (0..6).map(|seed| chosen(&format!("byte {seed}"), bytes as usize) as u64).collect();
    let stories = offsets.iter().map(|offset| death_at_byte(*offset));
    report("killed at seeded bytes", offsets.len(), &all(stories).await);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "scripts/soak.sh"]
async fn soak_every_death_at_every_point_and_step() {
    let points = &twin().await.points;
    let steps = points.iter().flat_map(|(point, times)| (1..=*times).map(move |nth| (point, nth)));
    let steps: Vec<(&String, usize)> =
        steps.filter(|(point, nth)| *point != "model.piece" || nth % 20 == 1).collect();
    let deaths = [Death::Abort, Death::Kill];
    let told = |(point, nth): &(&String, usize), death| Box::pin(death_at((*point).clone(), *nth, death));
    let stories = steps.iter().flat_map(|step| deaths.map(|death| told(step, death)));
    report("every point and step, by itself and by SIGKILL", steps.len(), &all(stories).await);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "scripts/soak.sh"]
async fn soak_kills_at_seeded_bytes() {
    let bytes = twin().await.bytes;
    let offsets: Vec<u64> =
        (0..200).map(|seed| chosen(&format!("soak {seed}"), bytes as usize) as u64).collect();
    let stories = offsets.iter().map(|offset| death_at_byte(*offset));
    report("killed at seeded bytes", offsets.len(), &all(stories).await);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "scripts/test.sh --only crash"]
async fn a_run_that_kills_its_worker_each_time_is_set_aside() {
    let mut site = Site::start().await;
    site.armed = "model.before_reply=return(abort)".into();
    site.most_deaths = 5;
    assert!(site.open().await);
    let id = site.order(site::SENTENCE).await;
    let run = site.settled(&id).await;
    assert_eq!((&run["status"], site.fate.deaths), (&serde_json::json!("parked"), 3), "{run:#}");
    site.close().await;
    let evidence = Evidence::of(&site, Vec::new()).await;
    assert_eq!((evidence.violations(), evidence.effects()), (Vec::new(), Vec::new()));
}

//! How fast the judge decides with 1,000 rules. Run with `cargo bench --bench policy`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use ado_coworker::policy::{DEFAULT_POLICY, Facts, Label, Policy, parse};

/// A decision is expected to take less at the 99th percentile.
const GOAL: Duration = Duration::from_micros(50);
const DECISIONS: usize = 20_000;

/// Rules about pushes, each with its own branches and paths.
fn many(rules: usize) -> String {
    let mut text = "version = 1\n".to_owned();
    for n in 0..rules {
        let effect = ["allow", "ask", "deny"][n % 3];
        text.push_str(&format!(
            "[[rule]]\nid = \"r{n}\"\neffect = \"{effect}\"\naction = [\"git.push\"]\nbranch = [\"team-{n}/**\", \"b{n}\"]\n\
             any_path = [\"src/m{n}/**\", \"**/f{n}*.yml\"]\nproject_served = true\ndeleted_over = {}\n",
            n % 7
        ));
    }
    text
}

fn facts(n: usize) -> Facts {
    Facts {
        action: "git.push".into(),
        project: "Fabrikam".into(),
        project_served: true,
        branch: Some(format!("team-{}/fix", n % 1_000)),
        paths: (0..5).map(|file| format!("src/m{}/file{file}.ts", (n + file) % 1_000)).collect(),
        deleted: u32::try_from(n % 9).unwrap_or_default(),
        own_branch: true,
        run_object: true,
        taint: Label::Internal,
        ..Facts::default()
    }
}

fn measure(name: &str, policy: &Policy) {
    let cases: Vec<Facts> = (0..1_000).map(facts).collect();
    let mut times: Vec<Duration> = (0..DECISIONS)
        .map(|n| {
            let start = Instant::now();
            black_box(policy.decide(black_box(&cases[n % cases.len()])));
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_nanos() as f64 / 1e3;
    let verdict = if times[(times.len() - 1) * 99 / 100] < GOAL { "within" } else { "OVER" };
    println!(
        "{name:<22} p50 {:>7.1} us  p90 {:>7.1} us  p99 {:>7.1} us  {verdict} {GOAL:?}",
        at(50),
        at(90),
        at(99)
    );
}

fn main() {
    for (name, text) in [("the rules that ship", DEFAULT_POLICY.to_owned()), ("1,000 rules", many(1_000))] {
        let start = Instant::now();
        match parse(&text) {
            Ok(policy) => {
                println!("{name}: read and checked in {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
                measure(name, &policy);
            }
            Err(error) => println!("{name}: {error}"),
        }
    }
}

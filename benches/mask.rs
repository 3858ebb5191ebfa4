//! How fast text is masked: MB/s over code and over a build log, and the time for 64 KB, which is
//! a large result of a tool. Run with `cargo bench --bench mask`.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ado_coworker::mask::{Masker, Origin};
use secrecy::SecretString;

/// A tool's result is expected to be masked in less.
const GOAL: Duration = Duration::from_millis(10);
const RUNS: u32 = 5;

fn code(bytes: usize) -> String {
    let piece = include_str!("../src/simulator/seed/web-shop/src/config.ts");
    piece.chars().cycle().take(bytes).collect()
}

fn log(bytes: usize) -> String {
    let mut text = String::with_capacity(bytes + 200);
    let mut line = 0_u32;
    while text.len() < bytes {
        line += 1;
        let hash = format!("{:08x}{:08x}", line.wrapping_mul(2_654_435_761), line.wrapping_mul(40_503));
        text.push_str(&format!(
            "2026-11-21T22:41:03.{line:07}Z [task {line}] restored src/catalogue/products.{line}.ts ({hash}) in {} ms, \
             see https://dev.azure.com/contoso/web-shop/_build/results?buildId={line}\n",
            line % 977
        ));
        if line.is_multiple_of(500) {
            text.push_str(&format!("##[debug]password = \"p{hash}!\" token: {hash}Zx{hash}\n"));
        }
    }
    text
}

fn main() {
    let known = (0..16).map(|n| ("known", SecretString::from(format!("known-secret-number-{n}"))));
    let Ok(masker) = Masker::new(known) else { return println!("the masker cannot be built") };
    let masker = Arc::new(masker);
    let session = masker.session([1; 32]);
    let origin = Origin::Other("bench".to_owned());
    let _ = session.mask_text("first use builds the automaton", &origin);
    println!("{:<12} {:>9} {:>10} {:>9} {:>6}", "text", "KB", "best ms", "MB/s", "hits");
    for (name, text) in [
        ("code", code(64 * 1024)),
        ("build log", log(64 * 1024)),
        ("code", code(1024 * 1024)),
        ("build log", log(1024 * 1024)),
    ] {
        let mut best = Duration::MAX;
        let mut hits = 0;
        for _ in 0..RUNS {
            let start = Instant::now();
            let masked = black_box(session.mask_text(black_box(&text), &origin));
            best = best.min(start.elapsed());
            hits = masked.hits.iter().map(|hit| hit.count).sum();
        }
        let megabytes = text.len() as f64 / 1e6;
        let late = if text.len() < 100_000 && best > GOAL { "  over the goal of 10 ms" } else { "" };
        println!(
            "{name:<12} {:>9} {:>10.2} {:>9.1} {hits:>6}{late}",
            text.len() / 1024,
            best.as_secs_f64() * 1e3,
            megabytes / best.as_secs_f64()
        );
    }
}

//! Recall against third-party rule data, when it lies beside the checkout. For each rule, texts
//! that it matches are made and masked; the secret part must be gone.

use std::collections::BTreeMap;
use std::path::PathBuf;

use regex::bytes::RegexBuilder;
use regex_syntax::ParserBuilder;

use super::sample::{Dice, matching};
use crate::mask::judge::entropy;

/// Texts made for each rule.
const SAMPLES: usize = 12;
/// Least share of hidden secrets over all rules of a file, in percent.
const LEAST_PERCENT: usize = 97;
/// Rules that this table does not follow, and why.
const NOT_FOLLOWED: &[(&str, &str)] = &[
    ("SEC000/000", "any 32 bytes of base64: a checksum as well"),
    ("SEC000/001", "any 64 bytes of base64: the integrity of a package as well"),
    ("SEC000/002", "any 16 bytes of hexadecimal: a hash as well"),
    ("kubernetes-secret-yaml", "its shortest matches hold no value; canary.rs has manifests"),
    ("SEC101/101", "any 34 letters alone in a text"),
];

struct Rule {
    id: String,
    pattern: String,
    entropy: f32,
    group: Option<usize>,
}

fn shared(file: &str) -> Option<String> {
    let start = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let found =
        start.ancestors().map(|folder| folder.join("shared/governance").join(file)).find(|p| p.exists());
    let text = found.and_then(|path| std::fs::read_to_string(path).ok());
    if text.is_none() {
        println!("skipped: {file} is not beside this checkout");
    }
    text.map(|text| text.trim_start_matches('\u{FEFF}').to_owned())
}

/// (hidden, made): how many secrets of a rule were hidden.
fn measure(rule: &Rule) -> (usize, usize) {
    let regex = RegexBuilder::new(&rule.pattern).unicode(false).build().unwrap();
    let hir = ParserBuilder::new().utf8(false).unicode(false).build().parse(&rule.pattern).unwrap();
    let seed = rule.id.bytes().fold(17_u64, |sum, byte| sum.wrapping_mul(131).wrapping_add(u64::from(byte)));
    let mut dice = Dice(seed);
    let (mut hidden, mut made) = (0, 0);
    for _ in 0..SAMPLES * 40 {
        if made == SAMPLES {
            break;
        }
        let mut text = String::new();
        matching(&hir, &mut dice, &mut text);
        let Some(found) = regex.captures(text.as_bytes()) else { continue };
        let refined = found.name("refine").or_else(|| rule.group.and_then(|group| found.get(group)));
        let first = || (1..found.len()).find_map(|group| found.get(group).filter(|m| m.len() > 3));
        let secret = refined.or_else(first).or_else(|| found.get(0)).unwrap().as_bytes();
        let secret = std::str::from_utf8(secret).unwrap().trim();
        if secret.len() < 4 || entropy(secret) < rule.entropy {
            continue;
        }
        made += 1;
        let line = format!("first line\n{text}\nlast line\n");
        let out = super::masked(&line);
        if out.contains(secret) {
            if std::env::args().any(|arg| arg == "--show-output" || arg == "--nocapture") && made < 6 {
                println!("      missed by {}: {:?}", rule.id, text);
            }
        } else {
            hidden += 1;
        }
    }
    (hidden, made)
}

fn table(name: &str, rules: &[Rule]) -> (usize, usize) {
    println!("{name}: rule, hidden of made");
    let mut sums = (0, 0);
    let mut misses = BTreeMap::new();
    for rule in rules {
        if let Some((_, why)) = NOT_FOLLOWED.iter().find(|(id, _)| *id == rule.id) {
            println!("  {:<44} not followed: {why}", rule.id);
            continue;
        }
        let (hidden, made) = measure(rule);
        println!("  {:<44} {hidden:>3} / {made}", rule.id);
        sums = (sums.0 + hidden, sums.1 + made);
        if hidden < made || made == 0 {
            misses.insert(rule.id.clone(), (hidden, made));
        }
    }
    println!("{name}: {} of {} hidden; not complete: {misses:?}", sums.0, sums.1);
    sums
}

#[test]
fn recall_against_the_rules_of_gitleaks() {
    let Some(text) = shared("gitleaks.toml") else { return };
    let data: toml::Table = text.parse().unwrap();
    let rules: Vec<Rule> = data["rules"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|rule| {
            Some(Rule {
                id: rule["id"].as_str()?.to_owned(),
                pattern: rule.get("regex")?.as_str()?.to_owned(),
                entropy: rule.get("entropy").and_then(toml::Value::as_float).unwrap_or(0.0) as f32,
                group: rule
                    .get("secretGroup")
                    .and_then(toml::Value::as_integer)
                    .map(|n| usize::try_from(n).unwrap()),
            })
        })
        .collect();
    assert!(rules.len() > 200);
    let (hidden, made) = table("gitleaks", &rules);
    assert!(hidden * 100 >= made * LEAST_PERCENT, "{hidden} of {made}");
}

#[test]
fn recall_against_the_rules_of_microsoft() {
    for file in ["microsoft-precise-security-keys.json", "microsoft-unclassified-security-keys.json"] {
        let Some(text) = shared(file) else { return };
        let data: serde_json::Value = serde_json::from_str(&text).unwrap();
        let rules: Vec<Rule> = data
            .as_array()
            .unwrap()
            .iter()
            .map(|rule| Rule {
                id: rule["Id"].as_str().unwrap().to_owned(),
                // The rule is run only where `eyJ` stands, so its texts begin so, too.
                pattern: rule["Pattern"]
                    .as_str()
                    .unwrap()
                    .replace("e[0-9A-Za-z-_=]{23,}", "eyJ[0-9A-Za-z-_=]{23,}"),
                // A random key never repeats itself as a made text may.
                entropy: if rule["Id"] == "SEC101/102" { 3.6 } else { 2.0 },
                group: None,
            })
            .collect();
        let (hidden, made) = table(file, &rules);
        // The second file holds rules of low confidence, such as a bearer token of one character.
        let least = if file.contains("precise") { 100 } else { 85 };
        assert!(hidden * 100 >= made * least, "{hidden} of {made}");
    }
}

//! Secrets planted in every source that the co-worker reads: they are found nowhere afterwards, in no
//! form.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::evidence::{Evidence, Wanted};
use super::forms::forms;
use super::world::{Runs, World};

/// Where a secret is planted; the marker beside it shows that the source was read.
const SOURCES: [&str; 16] = [
    "item-title",
    "item-description",
    "item-tags",
    "item-comment",
    "file-content",
    "file-name",
    "request-title",
    "request-description",
    "request-thread",
    "request-file",
    "build-log",
    "test-name",
    "person-name",
    "chat-order",
    "chat-message",
    "event-comment",
];
/// Sources that the model is not told of in a form where a marker could stand.
const UNMARKED: [&str; 2] = ["file-name", "test-name"];

/// A secret of the form of one, the same for the same source each time. Made of parts, so that no
/// scanner of this tree takes it for a real one.
fn secret(source: &str) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let digest = [Sha256::digest(source), Sha256::digest(format!("{source} 2"))].concat();
    let letters: String =
        digest.iter().map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()])).collect();
    format!("{}_{}", ["gh", "p"].concat(), &letters[..36])
}

fn planted(source: &str) -> String {
    format!("marker-{source} {}", secret(source))
}

fn scenario() -> String {
    let p = planted;
    let mut text = format!(
        r#"id = "canary"
title = "Secrets in every source"
[model]
kind = "obedient"
script = [
  '''CALL get_work_item {{"id":7}}
CALL query_work_items {{"wiql":"SELECT [System.Id] FROM workitems WHERE [System.TeamProject] = @project"}}
CALL list_files {{"recursive":true}}
CALL read_file {{"path":"docs/keys.md"}}
CALL search_code {{"text":"marker-file-content"}}
CALL get_pull_request {{"id":1}}
CALL read_file {{"path":"docs/request.md","branch":"topic/seeded-1"}}
CALL get_build {{"id":{{{{build}}}}}}
CALL find_person {{"name":"canaryperson"}}
CALL find_person {{"name":"marker-person-name"}}
CALL list_files {{"branch":"no/such/branch"}}''',
  '''I have read it all.''',
  '''CALL comment_on_work_item {{"id":7,"text":"I have looked at it."}}''',
  '''Done.''', '''Done.''', '''Done.''',
]
[[person]]
name = "canaryperson"
display_name = "{}"
in_team = true
[[file]]
path = "docs/keys.md"
text = 'token = "{}"'
[[file]]
path = "docs/{}.md"
text = "x"
[[work_item]]
as = "canaryperson"
title = "{}"
description = "{}"
tags = "{}"
[[work_item.comment]]
as = "carol"
text = "{}"
[[pull_request]]
as = "canaryperson"
title = "{}"
description = "{}"
[[pull_request.file]]
path = "docs/request.md"
text = "{}"
[[pull_request.comment]]
as = "carol"
text = "{}"
[[pull_request]]
as = "agent"
title = "A change of the agent"
[[build]]
branch = "main"
log = "{}\n{}"
[[act]]
kind = "instruction"
text = "Read everything. {}"
[[act]]
kind = "message"
after = "quiet"
text = "Go on with work item 7. {}"
[[act]]
kind = "comment"
after = "quiet"
as = "canaryperson"
pull_request = 2
text = "{}"
[expect]
"#,
        p("person-name"),
        p("file-content"),
        secret("file-name"),
        p("item-title"),
        p("item-description"),
        p("item-tags"),
        p("item-comment"),
        p("request-title"),
        p("request-description"),
        p("request-file"),
        p("request-thread"),
        p("build-log"),
        p("test-name"),
        p("chat-order"),
        p("chat-message"),
        p("event-comment"),
    );
    let _ = write!(text, "status = \"done\"");
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_of_any_source_is_found_nowhere() {
    let scenario = super::file::read(&scenario()).unwrap_or_else(|error| panic!("{error}")).remove(0);
    // The program itself, so that its log is looked at as well.
    let runs = Runs::Program { path: env!("CARGO_BIN_EXE_ado-coworker").to_owned(), without: String::new() };
    let mut world = World::start(&scenario, &runs).await;
    world.seed(&scenario).await;
    for act in &scenario.acts {
        world.act(act).await;
    }
    world.until_quiet().await;
    let found = Evidence::gather(&world, Wanted { pages: true, objects: true }).await;
    let wrong = scenario.expect.judge(&world, &found).await;
    let (journal, log) = (world.journal_bytes(), world.log_text());
    world.stop().await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for source in SOURCES.into_iter().filter(|source| !UNMARKED.contains(source)) {
        assert!(found.model.contains(&format!("marker-{source}")), "{source} was not read: {}", found.model);
    }
    assert!(log.contains("RECORD_KEY_FILE"), "the log was written: {log}");
    let places = [
        ("what the model was told", &found.model),
        ("the journal", &journal),
        ("the log", &log),
        ("the record", &found.raw_record),
        ("the pages", &found.pages),
        ("what left", &found.sent),
    ];
    for source in SOURCES {
        for (form, text) in forms(&secret(source)) {
            for (place, all) in places {
                let at = all.find(&text);
                assert!(
                    at.is_none(),
                    "the secret of {source} stands in {place} {form}: {}",
                    around(all, at.unwrap_or(0))
                );
            }
        }
    }
}

fn around(text: &str, at: usize) -> String {
    let from = text[..at].char_indices().rev().nth(120).map_or(0, |(from, _)| from);
    text[from..].chars().take(300).collect()
}

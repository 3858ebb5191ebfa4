//! The tools as a model calls them, from a whole co-worker down to the simulated organisation.

use serde_json::{Value, json};

use crate::harness::World;

fn call(name: &str, arguments: Value) -> Value {
    json!({ "name": name, "arguments": arguments })
}

/// Has the model make these calls, one after the other, and gives each tool's name and status.
async fn played(world: &World, calls: Vec<Value>) -> Vec<(String, String)> {
    let mut script: Vec<Value> =
        calls.into_iter().map(|call| json!({ "kind": "calls", "calls": [call] })).collect();
    script.push(json!({ "kind": "reply", "text": "That is all." }));
    world.script(Value::Array(script)).await;
    let run = world.order("Do as you are told.").await;
    // A call that a rule left to people keeps the run waiting when all else is done.
    assert!(["done", "waiting"].contains(&run["status"].as_str().unwrap()), "{run:#}");
    let word = |step: &Value, name: &str| step[name].as_str().unwrap_or_default().to_owned();
    let steps = run["steps"].as_array().unwrap();
    let tools = steps.iter().filter(|step| step["tool"].is_string());
    tools.map(|step| (word(step, "tool"), word(step, "status"))).collect()
}

async fn as_alice(world: &World, route: &str) -> Value {
    let url =
        format!("{}/Fabrikam/_apis/git/repositories/web-shop/{route}?api-version=7.1", world.organization);
    let answer = world.http.get(url).basic_auth("alice", Some("demo-alice")).send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    answer.json().await.unwrap()
}

fn thread(path: Option<&str>, quote: Option<&str>) -> Value {
    call(
        "create_thread",
        json!({ "pull_request_id": 1, "path": path, "quote": quote, "text": "Is this what was meant?" }),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_request_is_opened_commented_at_its_code_and_kept_a_draft_while_it_is_red() {
    let world = World::start().await;
    let paragraph = "What changes and why. ".repeat(60);
    let description = [paragraph.trim(); 5].join("\n\n");
    let edit = json!({ "path": "/src/cart/prices.ts", "action": "edit", "content": null, "new_path": null,
        "edits": [{ "old_text": "  freeFromCents: number;\n", "new_text": "  freeFromCents: number; // é😀 {\n" },
                  { "old_text": "export interface Total {", "new_text": "export interface Total {{" }] });
    let push = json!({ "branch": null, "work_item_id": null, "message": "Round the cart", "base_commit": null,
        "changes": [edit] });
    let create = json!({ "source_branch": "agent/round-the-cart", "target_branch": null,
        "title": "Round the cart ".repeat(40), "description": description, "work_item_ids": [], "reviewers": ["bob"] });
    let publish = json!({ "id": 1, "title": null, "description": null, "state": "published" });
    let words = json!({ "id": 1, "title": "Round the cart", "description": null, "state": null });
    let build = |name: &str| call(name, json!({ "branch": "agent/round-the-cart", "definition": null }));
    let found = played(
        &world,
        vec![
            call("push_changes", push),
            call("create_pull_request", create),
            thread(Some("src/cart/prices.ts"), Some("freeFromCents: string;")),
            thread(Some("/README.md"), Some("web-shop")),
            thread(Some("src/cart/prices.ts"), Some("// é😀 {")),
            thread(None, None),
            call("update_pull_request", publish),
            call("update_pull_request", words),
            build("queue_build"),
            call("get_build", json!({ "id": null, "pull_request_id": 1, "branch": null })),
            call("search_code", json!({ "text": "freeFromCents", "path": "/src" })),
        ],
    )
    .await;
    let expected = [
        ("push_changes", "ok"),
        ("create_pull_request", "ok"),
        ("create_thread", "failed"),
        ("create_thread", "failed"),
        ("create_thread", "ok"),
        ("create_thread", "ok"),
        ("update_pull_request", "refused"),
        ("update_pull_request", "ok"),
        ("queue_build", "waiting"),
        ("get_build", "ok"),
        ("search_code", "ok"),
    ];
    assert_eq!(found, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    check_texts(&world, &description).await;
}

async fn check_texts(world: &World, description: &str) {
    let made = as_alice(world, "pullRequests/1").await;
    assert_eq!((&made["isDraft"], made["title"].as_str()), (&json!(true), Some("Round the cart")));
    let head = made["description"].as_str().unwrap();
    assert!(head.chars().count() <= 4_000 && head.contains("/runs/"), "{head}");
    let threads = as_alice(world, "pullRequests/1/threads").await;
    let threads: Vec<&Value> = threads["value"].as_array().unwrap().iter().collect();
    let said = |text: &str| {
        let fits = |thread: &&&Value| thread["comments"][0]["content"].as_str().unwrap().contains(text);
        threads.iter().filter(fits).map(|thread| (*thread).clone()).collect::<Vec<_>>()
    };
    let rest = said("Description, continued");
    assert_eq!((rest.len(), &rest[0]["status"]), (1, &json!("closed")));
    let whole = format!("{head}{}", rest[0]["comments"][0]["content"].as_str().unwrap());
    let count = |text: &str| text.matches("What changes and why.").count();
    assert_eq!(count(&whole), count(description), "nothing of the description is lost");
    let asked = said("Is this what was meant?");
    assert_eq!(asked.len(), 2);
    let context = &asked[0]["threadContext"];
    assert_eq!(context["filePath"], "/src/cart/prices.ts");
    // "  freeFromCents: number; " has 25 characters; the face counts as two.
    assert_eq!(context["rightFileStart"], json!({ "line": 5, "offset": 26 }));
    assert_eq!(context["rightFileEnd"], json!({ "line": 5, "offset": 34 }));
    assert_eq!(asked[1]["threadContext"], Value::Null);
}

//! Whatever is sent to the simulated organisation, it answers with a refusal, never with an error of its
//! own, and it never reads or writes outside its folder.

use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::conformance::Simulation;
use crate::random_operations::Bench;

/// One organisation for all that only reads or is refused.
static BENCH: LazyLock<Bench> = LazyLock::new(Bench::new);
const SHOP: &str = "Fabrikam/_apis/git/repositories/web-shop";

fn settings(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() }
}

fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

fn fragment() -> impl Strategy<Value = String> {
    let words = [
        "SELECT",
        "[System.Id]",
        "FROM",
        "WorkItems",
        "WHERE",
        "AND",
        "OR",
        "NOT",
        "IN",
        "(",
        ")",
        "UNDER",
        "CONTAINS",
        "ORDER BY",
        "ASC",
        "=",
        "<>",
        ">=",
        "@project",
        "@me",
        "@today",
        "- 3",
        "'a'",
        "''",
        "12",
        "1e99",
        "EVER",
        "LIKE",
        "[System.Title]",
        "[No.Such]",
        ",",
        "ASOF",
        "'2026-01-01'",
        "\"",
        "[",
        "MODE",
    ];
    prop_oneof![9 => prop::sample::select(words.to_vec()).prop_map(str::to_owned), 1 => any::<String>()]
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("[a-z/]{0,8}", inner), 0..4)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

fn patch_operation() -> impl Strategy<Value = Value> {
    let ops = ["add", "replace", "remove", "test", "move", "copy", "ADD", "no"];
    let paths = [
        "/fields/System.Title",
        "/fields/System.State",
        "/fields/System.Id",
        "/fields/",
        "/fields/No.Such",
        "/fields/System.AreaPath",
        "/fields/System.Tags",
        "/fields/System.AssignedTo",
        "/relations/-",
        "/relations/0",
        "/relations/99999999999",
        "/relations/-1",
        "/relations/0/attributes/comment",
        "/rev",
        "/multilineFieldsFormat/System.Description",
        "/fields/Microsoft.VSTS.Common.Priority",
        "",
        "/",
        "//",
        "fields",
        "/fields/System.CreatedDate",
        "/fields/System.History",
        "/fields/System.WorkItemType",
        "/id",
    ];
    (prop::sample::select(ops.to_vec()), prop::sample::select(paths.to_vec()), prop::option::of(json_value()))
        .prop_map(|(op, path, value)| {
            let relation =
                json!({"rel": "System.LinkTypes.Related", "url": "x/_apis/wit/workItems/99999999999999"});
            let value = value.unwrap_or(relation);
            json!({"op": op, "path": path, "from": "/fields/System.Title", "value": value})
        })
}

fn hostile_path() -> impl Strategy<Value = String> {
    let parts = [
        "..",
        ".",
        "",
        "a.txt",
        "README.md",
        ".git",
        "config",
        "%2e%2e",
        "\\",
        "..\\..",
        "\0",
        "a\nb",
        "C:",
        "~",
        "state.json",
        "é",
        "\u{202e}",
        "*",
        "?",
        "etc",
        "passwd",
        "objects",
        "HEAD",
        " ",
        "con",
        "a:b",
    ];
    let part =
        prop_oneof![8 => prop::sample::select(parts.to_vec()).prop_map(str::to_owned), 1 => any::<String>()];
    prop::collection::vec(part, 0..6).prop_map(|parts| format!("/{}", parts.join("/")))
}

proptest! {
    #![proptest_config(settings(400))]

    #[test]
    fn any_wiql_is_answered_or_refused(words in prop::collection::vec(fragment(), 0..16), whole in any::<bool>()) {
        let start = if whole { "SELECT [System.Id] FROM WorkItems WHERE " } else { "" };
        let body = json!({"query": format!("{start}{}", words.join(" "))});
        let answer = BENCH.ask("alice", "POST", "Fabrikam/_apis/wit/wiql", &body);
        prop_assert!([200, 400].contains(&answer.status), "{} {}", answer.status, answer.body);
    }

    #[test]
    fn any_json_patch_is_answered_or_refused(
        operations in prop::collection::vec(patch_operation(), 0..4), create in any::<bool>(), raw in json_value()
    ) {
        let body = if operations.is_empty() { raw } else { Value::from(operations) };
        let (method, path) = if create {
            ("POST", "Fabrikam/_apis/wit/workitems/$Task?validateOnly=true")
        } else {
            ("PATCH", "_apis/wit/workitems/1?validateOnly=true")
        };
        let before = BENCH.organisation.lock().work_items.clone();
        let answer = BENCH.ask("alice", method, path, &body);
        prop_assert!(answer.status < 500, "{} {}", answer.status, answer.body);
        let after = BENCH.organisation.lock().work_items.clone();
        prop_assert_eq!(serde_json::to_value(&before).unwrap(), serde_json::to_value(&after).unwrap());
    }

    #[test]
    fn any_item_path_and_version_is_answered_or_refused(path in hostile_path(), version in ".{0,12}", kind in 0u8..3) {
        let kind = ["branch", "tag", "commit"][usize::from(kind)];
        let query = format!(
            "path={}&versionDescriptor.version={}&versionDescriptor.versionType={kind}", encoded(&path), encoded(&version)
        );
        let answer = BENCH.ask("alice", "GET", &format!("{SHOP}/items?{query}"), &Value::Null);
        prop_assert!(answer.status < 500, "{} {}", answer.status, answer.body);
        let scoped = format!("{SHOP}/items?scopePath={}&recursionLevel=full", encoded(&path));
        let answer = BENCH.ask("alice", "GET", &scoped, &Value::Null);
        prop_assert!(answer.status < 500, "{} {}", answer.status, answer.body);
    }

    #[test]
    fn any_api_version_is_answered_or_refused(text in "[0-9.a-zA-Z-]{0,16}", odd in any::<String>(), write in any::<bool>()) {
        for version in [text, odd] {
            let path = format!("_apis/projects?api-version={}", encoded(&version));
            let answer = BENCH.ask("alice", if write { "POST" } else { "GET" }, &path, &Value::Null);
            prop_assert!(answer.status < 500, "{version:?}: {} {}", answer.status, answer.body);
        }
    }
}

proptest! {
    #![proptest_config(settings(60))]

    #[test]
    fn a_push_never_leaves_the_tree(path in hostile_path(), encoding in 0u8..3, content in ".{0,20}") {
        let tip = BENCH.organisation.lock().repositories.values().find(|r| r.name == "web-shop").unwrap()
            .refs["refs/heads/main"].sha.clone();
        let kind = ["rawtext", "base64encoded", "other"][usize::from(encoding)];
        let change = json!({"changeType": "add", "item": {"path": path}, "newContent": {"content": content, "contentType": kind}});
        let commit = json!({"comment": "c", "parents": [tip], "changes": [change]});
        let name = format!("refs/heads/hostile/{}", BENCH.data().pushes.len());
        let body = json!({"refUpdates": [{"name": name, "oldObjectId": "0".repeat(40)}], "commits": [commit]});
        let answer = BENCH.ask("alice", "POST", &format!("{SHOP}/pushes"), &body);
        prop_assert!([201, 400, 409].contains(&answer.status), "{} {}", answer.status, answer.body);
        let names: Vec<_> = std::fs::read_dir(BENCH.folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        prop_assert!(names.iter().all(|n| n == "repositories" || n.to_string_lossy().starts_with("state.")), "{names:?}");
    }
}

/// Paths as no client would send them: they go over a bare socket, and the answer is one of HTTP.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_requests_over_the_wire_are_refused() {
    let world = Simulation::unrecorded().await;
    let long = "a/".repeat(3_000);
    let paths = [
        "/contoso/../../etc/passwd",
        "/contoso/%2e%2e/%2e%2e/etc/passwd",
        "/contoso/_apis/%ff%fe",
        "//",
        "/%",
        "/contoso//_apis//projects",
        "/contoso/_apis/git/repositories/..%2f..%2fstate.json/items",
        "/contoso/Fabrikam/_git/..%2f..%2f..%2fetc/info/refs?service=git-upload-pack",
        "/contoso/Fabrikam/_git/../web-shop/info/refs?service=git-upload-pack",
        "/contoso/Fabrikam/_git/web-shop/info/refs?service=git-../../sh",
        "/contoso/Fabrikam/_git/web-shop/objects/../../../state.json",
        "/contoso/Fabrikam/_git/web-shop/HEAD",
        "/contoso/Fabrikam/_git/%00/info/refs?service=git-upload-pack",
        "/contoso/Fabrikam/_apis/wit/workitems/$%00",
        "/contoso/Fabrikam/_apis/wit/workitems/-1",
        "/contoso/Fabrikam/_apis/wit/workitems/99999999999999999999",
        "/contoso/Fabrikam/_apis/git/repositories/web-shop/blobs/..%2f..%2fHEAD",
        "/contoso/Fabrikam/_apis/git/repositories/web-shop/items?path=%2f..%2f..%2fstate.json",
        "/contoso/Fabrikam/_apis/git/repositories/web-shop/items?path=/&versionDescriptor.version=HEAD%5E%7B/x%7D",
        "/contoso/Fabrikam/_apis/git/repositories/web-shop/items?$top=-1&path=%ff",
        "/contoso/_apis/projects?$top=99999999999999999999&continuationToken=x",
        "/_simulator/../state",
        "/_simulator/%00",
        "/static/../../Cargo.toml",
        "/contoso/_apis/projects?api-version=%00",
        "/tfs/DefaultCollection/../../x",
    ];
    let origin = url::Url::parse(&world.organization).unwrap();
    let address = format!("127.0.0.1:{}", origin.port().unwrap());
    for path in paths.into_iter().chain([format!("/contoso/{long}_apis/projects").as_str()]) {
        for method in ["GET", "POST", "OPTIONS", "HEAD", "PATCH"] {
            let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
            let request = format!(
                "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Basic YWxpY2U6ZGVtby1hbGljZQ==\r\n\
                 X-TFS-FedAuthRedirect: Suppress\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            tokio::time::timeout(crate::harness::PATIENCE, stream.read_to_end(&mut answer))
                .await
                .unwrap()
                .unwrap();
            let text = String::from_utf8_lossy(&answer);
            let status = text.split(' ').nth(1).and_then(|s| s.parse::<u16>().ok());
            assert!(status.is_some_and(|s| (200..500).contains(&s)), "{method} {path}: {text}");
            assert!(!text.contains("root:") && !text.contains("[package]"), "{method} {path}: {text}");
        }
    }
}

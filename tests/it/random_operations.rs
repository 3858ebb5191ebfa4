//! Random operations of two people over REST, in any order, also foolish ones: whatever they do, the
//! organisation keeps its invariants, and what it refuses changes nothing.

mod invariants;

use std::collections::BTreeMap;

use ado_coworker::clock::Clock;
use ado_coworker::simulator::azure_devops::rest::{self, Incoming, Query};
use ado_coworker::simulator::azure_devops::state::access::{Denial, Permission};
use ado_coworker::simulator::azure_devops::state::seed::{FABRIKAM, WEB_SHOP};
use ado_coworker::simulator::azure_devops::state::{Data, Organisation, World};
use ado_coworker::simulator::azure_devops::{self, Origin};
use ado_coworker::simulator::tokens::Authority;
use base64::Engine as _;
use proptest::prelude::*;
use serde_json::{Value, json};

use invariants::{check_state, check_step};

/// Sequences tried.
const SEQUENCES: u32 = 16;
/// Operations of one sequence.
const OPERATIONS: std::ops::Range<usize> = 20..60;
const ZEROS: &str = "0000000000000000000000000000000000000000";
const MINIMUM_REVIEWERS: &str = "fa4e907d-c16b-4a4c-9dfa-4906e5d171dd";
/// What somebody may be denied.
const PERMISSIONS: [&str; 6] = [
    "WorkItemWrite",
    "GenericContribute",
    "PullRequestContribute",
    "CreateBranch",
    "QueueBuilds",
    "GenericRead",
];
const SHOP: &str = "Fabrikam/_apis/git/repositories/web-shop";

/// What somebody does. Numbers choose among what is there.
#[derive(Clone, Debug)]
enum Operation {
    Branch { name: u8, at: u8 },
    Unbranch { name: u8, stale: bool },
    Lock { name: u8, locked: bool },
    Push { name: u8, kind: u8, file: u8, stale: bool },
    Open { source: u8, target: u8, draft: bool, item: u8 },
    Status { pull_request: u8, status: u8, stale: bool },
    Change { pull_request: u8, what: u8 },
    Vote { pull_request: u8, vote: u8, other: bool },
    Thread { pull_request: u8, line: u8 },
    Answer { pull_request: u8, thread: u8, what: u8 },
    Plan { kind: u8, empty: bool },
    Edit { item: u8, what: u8, rev: u8 },
    Link { item: u8, other: u8, what: u8 },
    Unlink { item: u8, index: u8 },
    Discuss { item: u8, what: u8 },
    Delete { item: u8, restore: bool },
    Policy { on: bool },
    Time { seconds: u8 },
    Deny { what: u8, denied: bool },
}

fn operation() -> impl Strategy<Value = Operation> {
    use Operation::*;
    let (small, flag) = (|| 0u8..6, any::<bool>);
    prop_oneof![
        2 => (small(), small()).prop_map(|(name, at)| Branch { name, at }),
        1 => (small(), flag()).prop_map(|(name, stale)| Unbranch { name, stale }),
        1 => (small(), flag()).prop_map(|(name, locked)| Lock { name, locked }),
        5 => (small(), small(), small(), flag())
            .prop_map(|(name, kind, file, stale)| Push { name, kind, file, stale }),
        4 => (small(), small(), flag(), small())
            .prop_map(|(source, target, draft, item)| Open { source, target, draft, item }),
        4 => (small(), small(), flag()).prop_map(|(p, status, stale)| Status { pull_request: p, status, stale }),
        2 => (small(), small()).prop_map(|(pull_request, what)| Change { pull_request, what }),
        2 => (small(), small(), flag()).prop_map(|(p, vote, other)| Vote { pull_request: p, vote, other }),
        1 => (small(), small()).prop_map(|(pull_request, line)| Thread { pull_request, line }),
        2 => (small(), small(), small())
            .prop_map(|(p, thread, what)| Answer { pull_request: p, thread, what }),
        2 => (small(), flag()).prop_map(|(kind, empty)| Plan { kind, empty }),
        3 => (small(), small(), small()).prop_map(|(item, what, rev)| Edit { item, what, rev }),
        4 => (small(), small(), small()).prop_map(|(item, other, what)| Link { item, other, what }),
        1 => (small(), small()).prop_map(|(item, index)| Unlink { item, index }),
        2 => (small(), small()).prop_map(|(item, what)| Discuss { item, what }),
        2 => (small(), flag()).prop_map(|(item, restore)| Delete { item, restore }),
        1 => flag().prop_map(|on| Policy { on }),
        4 => (0u8..4).prop_map(|seconds| Time { seconds }),
        1 => (small(), flag()).prop_map(|(what, denied)| Deny { what, denied }),
    ]
}

pub struct Bench {
    pub organisation: Organisation,
    authority: std::sync::Arc<Authority>,
    clock: Clock,
    pub folder: tempfile::TempDir,
}

/// What became of a request.
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

impl Bench {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::stepped("2026-03-02T09:00:00Z".parse().unwrap());
        let organisation = azure_devops::open(Origin {
            data: folder.path().to_owned(),
            load: None,
            base: "http://127.0.0.1:1/contoso".into(),
            clock: clock.clone(),
            seed: 7,
            webhook: None,
            files: vec![("README.md", b"# Shop\n"), ("a.txt", b"one\ntwo\nthree\n")],
            provisioned: true,
        })
        .unwrap();
        let authority = Authority::new(clock.clone()).unwrap();
        Self { organisation, authority, clock, folder }
    }

    pub fn ask(&self, who: &str, method: &str, path: &str, body: &Value) -> Answer {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let patch = path.contains("/wit/workitems/") && !path.ends_with("comments");
        let kind = if patch { "application/json-patch+json" } else { "application/json" };
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("{who}:demo-{who}"));
        let mut headers = axum::http::HeaderMap::new();
        headers.insert("authorization", format!("Basic {basic}").parse().unwrap());
        headers.insert("accept", "application/json;api-version=7.1-preview".parse().unwrap());
        headers.insert("content-type", kind.parse().unwrap());
        let incoming = Incoming {
            method: method.parse().unwrap(),
            segments: path.split('/').map(str::to_owned).collect(),
            path: path.to_owned(),
            query: Query::parse(query),
            headers,
            body: if body.is_null() { Default::default() } else { body.to_string().into() },
            base: "http://127.0.0.1:1/contoso".into(),
            on_premises: false,
            activity: self.organisation.lock().new_id(),
        };
        let reply = rest::answer(&self.organisation, &self.authority, incoming);
        let body = serde_json::from_slice(&reply.body).unwrap_or(Value::Null);
        Answer { status: reply.status, body }
    }

    pub fn data(&self) -> Data {
        let world = self.organisation.lock();
        let data: &Data = &world;
        data.clone()
    }

    /// One operation; whether it says that it was refused.
    fn perform(&self, who: &str, operation: &Operation) -> (Answer, bool) {
        let data = self.data();
        if let Operation::Time { seconds } = operation {
            self.clock.advance(std::time::Duration::from_secs(u64::from(*seconds)));
            self.organisation.lock().run_due();
            return (Answer { status: 200, body: Value::Null }, false);
        }
        if let Operation::Deny { what, denied } = operation {
            let mut world = self.organisation.lock();
            let person = world.find_person(who).unwrap().id;
            let permission = Permission::from_text(PERMISSIONS[usize::from(*what)]).unwrap();
            world.set_denied(Denial { person, scope: FABRIKAM, permission }, *denied);
            return (Answer { status: 200, body: Value::Null }, false);
        }
        let (method, path, body) = request(operation, who, &data, &self.organisation.lock());
        let answer = self.ask(who, method, &path, &body);
        let entries = answer.body["value"].as_array();
        let none_moved = path.ends_with("/refs")
            && entries.is_some_and(|entries| entries.iter().all(|entry| entry["success"] == false));
        let refused = answer.status >= 400 || none_moved;
        (answer, refused)
    }
}

fn branch(name: u8) -> &'static str {
    ["main", "feature/a", "feature/b", "feature/c", "release", "feature/a.lock"][usize::from(name)]
}

/// Something that a branch could be put at, or not: commits, a tree, a file, nothing.
fn object(world: &World, data: &Data, at: u8) -> String {
    // The first commit; main may be elsewhere by now, or gone.
    let main = &data.pushes[0].updates[0].new;
    let store = world.store(WEB_SHOP).unwrap();
    match at {
        0 => "1234567890123456789012345678901234567890".into(),
        1 => store.entry(main, "/").unwrap().sha,
        2 => store.entry(main, "/README.md").unwrap().sha,
        3 => main[..10].to_owned(),
        _ => main.clone(),
    }
}

/// The n-th of some numbers, or one that is not there.
fn pick<T>(of: &BTreeMap<u32, T>, n: u8) -> u32 {
    if of.is_empty() || n == 5 {
        return 9_999;
    }
    *of.keys().rev().nth(usize::from(n) % of.len()).unwrap()
}

fn request(operation: &Operation, who: &str, data: &Data, world: &World) -> (&'static str, String, Value) {
    use Operation::*;
    let refs = &data.repositories[&WEB_SHOP].refs;
    let tip = |name: u8| refs.get(&format!("refs/heads/{}", branch(name))).map(|r| r.sha.clone());
    let full = |name: u8| format!("refs/heads/{}", branch(name));
    let pull_request = |n: u8| pick(&data.pull_requests, n);
    let item = |n: u8| pick(&data.work_items, n);
    let person = |name: &str| world.find_person(name).unwrap().id.to_string();
    match operation {
        Branch { name, at } => {
            let old = if *at == 5 { "1".repeat(40) } else { ZEROS.to_owned() };
            let body =
                json!([{"name": full(*name), "oldObjectId": old, "newObjectId": object(world, data, *at)}]);
            ("POST", format!("{SHOP}/refs"), body)
        }
        Unbranch { name, stale } => {
            let old = if *stale { object(world, data, 1) } else { tip(*name).unwrap_or(ZEROS.into()) };
            (
                "POST",
                format!("{SHOP}/refs"),
                json!([{"name": full(*name), "oldObjectId": old, "newObjectId": ZEROS}]),
            )
        }
        Lock { name, locked } => {
            ("PATCH", format!("{SHOP}/refs?filter=heads/{}", branch(*name)), json!({"isLocked": locked}))
        }
        Push { name, kind, file, stale } => {
            let old = tip(*name).filter(|_| !stale).unwrap_or_else(|| object(world, data, 5));
            let path =
                ["/a.txt", "/b/c.txt", "/README.md", "/b", "/../x", "/.git/config"][usize::from(*file)];
            let content =
                json!({"content": format!("{who} {kind} {}\n", refs.len()), "contentType": "rawtext"});
            let kind = ["add", "edit", "delete", "rename", "edit", "add"][usize::from(*kind)];
            let mut change = json!({"changeType": kind, "item": {"path": path}, "newContent": content});
            if kind == "rename" {
                change = json!({"changeType": kind, "sourceServerItem": "/a.txt", "item": {"path": path}});
            }
            let commit = json!({"comment": "c", "changes": [change]});
            let body =
                json!({"refUpdates": [{"name": full(*name), "oldObjectId": old}], "commits": [commit]});
            ("POST", format!("{SHOP}/pushes"), body)
        }
        Open { source, target, draft, item: work } => {
            let items = if *work == 0 { json!([]) } else { json!([{"id": item(*work).to_string()}]) };
            let body = json!({
                "sourceRefName": full(*source), "targetRefName": full(*target), "title": "t", "isDraft": draft,
                "workItemRefs": items, "reviewers": [{"id": person("carol")}],
            });
            ("POST", format!("{SHOP}/pullrequests"), body)
        }
        Status { pull_request: p, status, stale } => {
            let id = pull_request(*p);
            let status = ["active", "abandoned", "completed", "completed", "completed", "notSet"]
                [usize::from(*status)];
            let mut body = json!({"status": status});
            if status == "completed" {
                let tip = data.pull_requests.get(&id).map_or(ZEROS.into(), |p| p.source_commit.clone());
                let commit = if *stale { object(world, data, 5) } else { tip };
                let strategy = ["noFastForward", "squash", "rebase", "rebaseMerge"][usize::from(*p % 4)];
                body["lastMergeSourceCommit"] = json!({"commitId": commit});
                body["completionOptions"] = json!({
                    "mergeStrategy": strategy, "deleteSourceBranch": *stale, "transitionWorkItems": true});
            }
            ("PATCH", format!("{SHOP}/pullrequests/{id}"), body)
        }
        Change { pull_request: p, what } => {
            let body = match what {
                0 => json!({"isDraft": false}),
                1 => json!({"isDraft": true}),
                2 => json!({"autoCompleteSetBy": {"id": person(who)}}),
                3 => json!({"autoCompleteSetBy": {"id": person("carol")}}),
                4 => json!({"targetRefName": full(4)}),
                _ => json!({"title": "x".repeat(401)}),
            };
            ("PATCH", format!("{SHOP}/pullrequests/{}", pull_request(*p)), body)
        }
        Vote { pull_request: p, vote, other } => {
            let vote = [10, 5, 0, -5, -10, 7][usize::from(*vote)];
            let id = person(if *other { "carol" } else { who });
            (
                "PUT",
                format!("{SHOP}/pullrequests/{}/reviewers/{id}", pull_request(*p)),
                json!({"id": id, "vote": vote}),
            )
        }
        Thread { pull_request: p, line } => {
            let at = json!({"line": line, "offset": 1});
            let body = json!({
                "comments": [{"parentCommentId": 0, "content": "why?", "commentType": "text"}], "status": "active",
                "threadContext": {"filePath": "/a.txt", "rightFileStart": at, "rightFileEnd": at},
            });
            ("POST", format!("{SHOP}/pullrequests/{}/threads", pull_request(*p)), body)
        }
        Answer { pull_request: p, thread, what } => {
            let id = pull_request(*p);
            let threads = data.pull_requests.get(&id).map(|p| p.threads.as_slice()).unwrap_or_default();
            let thread = threads.get(usize::from(*thread)).map_or(9_999, |t| t.id);
            let path = format!("{SHOP}/pullrequests/{id}/threads/{thread}");
            match what {
                0 | 1 => ("PATCH", path, json!({"status": if *what == 0 { "fixed" } else { "active" }})),
                2 => ("DELETE", format!("{path}/comments/1"), Value::Null),
                3 => ("PATCH", format!("{path}/comments/1"), json!({"content": "edited"})),
                4 => ("POST", format!("{path}/comments/1/likes"), Value::Null),
                _ => ("POST", format!("{path}/comments"), json!({"content": "so", "parentCommentId": 9})),
            }
        }
        Plan { kind, empty } => {
            let kind = ["Task", "Issue", "Epic", "Bug", "Task", "task"][usize::from(*kind)];
            let title = if *empty { "" } else { "Planned" };
            let body = json!([{"op": "add", "path": "/fields/System.Title", "value": title}]);
            ("POST", format!("Fabrikam/_apis/wit/workitems/${kind}"), body)
        }
        Edit { item: n, what, rev } => {
            let id = item(*n);
            let now = data.work_items.get(&id).map_or(1, |w| w.rev);
            let rev = if *rev == 0 { now + 1 } else { now };
            let (path, value) = [
                ("/fields/System.State", json!("Doing")),
                ("/fields/System.State", json!("Nonsense")),
                ("/fields/System.Title", json!(format!("Title {now}"))),
                ("/fields/System.AssignedTo", json!("bob@contoso.example")),
                ("/fields/System.AssignedTo", json!("nobody")),
                ("/fields/System.Rev", json!(99)),
            ][usize::from(*what)]
            .clone();
            let body = json!([{"op": "test", "path": "/rev", "value": rev}, {"op": "add", "path": path, "value": value}]);
            ("PATCH", format!("_apis/wit/workitems/{id}"), body)
        }
        Link { item: n, other, what } => {
            let base = "http://127.0.0.1:1/contoso";
            let work = format!("{base}/_apis/wit/workItems/{}", item(*other));
            let artifact =
                format!("vstfs:///Git/PullRequestId/{FABRIKAM}%2f{WEB_SHOP}%2f{}", pull_request(*other));
            let (rel, url, name) = [
                ("System.LinkTypes.Related", work.clone(), Value::Null),
                ("System.LinkTypes.Hierarchy-Forward", work.clone(), Value::Null),
                ("System.LinkTypes.Hierarchy-Reverse", work.clone(), Value::Null),
                ("ArtifactLink", artifact, json!("Pull Request")),
                ("ArtifactLink", work, Value::Null),
                ("Hyperlink", "https://example.com/".to_owned(), Value::Null),
            ][usize::from(*what)]
            .clone();
            let value = json!({"rel": rel, "url": url, "attributes": {"name": name}});
            let body = json!([{"op": "add", "path": "/relations/-", "value": value}]);
            ("PATCH", format!("_apis/wit/workitems/{}", item(*n)), body)
        }
        Unlink { item: n, index } => {
            let body = json!([{"op": "remove", "path": format!("/relations/{index}")}]);
            ("PATCH", format!("_apis/wit/workitems/{}", item(*n)), body)
        }
        Discuss { item: n, what } => {
            let id = item(*n);
            let path = format!("Fabrikam/_apis/wit/workitems/{id}/comments");
            let first = data.work_items.get(&id).and_then(|w| w.comments.first()).map_or(9_999, |c| c.id);
            match what {
                0 => ("PATCH", format!("{path}/{first}"), json!({"text": "changed"})),
                1 => ("DELETE", format!("{path}/{first}"), Value::Null),
                _ => ("POST", path, json!({"text": if *what == 2 { "" } else { "said" }})),
            }
        }
        Delete { item: n, restore: false } => {
            ("DELETE", format!("_apis/wit/workitems/{}?destroy={}", item(*n), *n == 0), Value::Null)
        }
        Delete { item: n, restore: true } => {
            ("PATCH", format!("Fabrikam/_apis/wit/recyclebin/{}", item(*n)), json!({"isDeleted": false}))
        }
        Policy { on: true } => {
            let scope =
                json!([{"repositoryId": WEB_SHOP, "refName": "refs/heads/main", "matchKind": "exact"}]);
            let body = json!({
                "isEnabled": true, "isBlocking": true, "type": {"id": MINIMUM_REVIEWERS},
                "settings": {"minimumApproverCount": 1, "scope": scope},
            });
            ("POST", "Fabrikam/_apis/policy/configurations".into(), body)
        }
        Policy { on: false } => {
            let last = data.policies.keys().last().copied().unwrap_or(9_999);
            ("DELETE", format!("Fabrikam/_apis/policy/configurations/{last}"), Value::Null)
        }
        Time { .. } | Deny { .. } => unreachable!("these are no requests"),
    }
}

/// The state without what every request moves.
fn essence(data: &Data) -> Value {
    let mut value = serde_json::to_value(data).unwrap();
    value["random"] = Value::Null;
    value
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: SEQUENCES, max_shrink_iters: 300, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn random_operations_keep_the_invariants(
        steps in prop::collection::vec((any::<bool>(), operation()), OPERATIONS)
    ) {
        let bench = Bench::new();
        let mut before = bench.data();
        for (alice, operation) in steps {
            let who = if alice { "alice" } else { "bob" };
            let (answer, refused) = bench.perform(who, &operation);
            let now = bench.data();
            prop_assert!(answer.status < 500, "{who} {operation:?}: {} {}", answer.status, answer.body);
            if refused {
                prop_assert_eq!(essence(&before), essence(&now), "{} {:?} was refused, but did something", who, operation);
            }
            check_step(&before, &now, matches!(operation, Operation::Time { .. }));
            check_state(&bench, &now);
            before = now;
        }
        let kept: Data = serde_json::from_value(serde_json::to_value(&before).unwrap()).unwrap();
        prop_assert_eq!(essence(&kept), essence(&before), "what is saved is not what is loaded");
    }
}

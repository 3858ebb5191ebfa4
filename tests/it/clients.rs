//! The whole main job through our own client against the simulated organisation, with checked
//! tokens of the simulated tenant; then faults on the way.

use std::collections::BTreeMap;

use ado_coworker::action::{
    Action, Author, BranchName, CommitId, Content, FileChange, ItemPath, Relation, RepositoryRef,
    ThreadStatus, WorkItemLink,
};
use ado_coworker::azure_devops::{
    Client, Effect, EffectKind, Error, LinkKind, Me, Person, PullRequestStatus, Recursion, TextFormat,
    Version, limits,
};
use ado_coworker::clock::Clock;
use ado_coworker::config;
use ado_coworker::identity::Identity;
use ado_coworker::policy::{self, Facts, Permit};
use ado_coworker::simulator::{self, tokens};
use serde_json::{Value, json};

mod review;

const PROJECT: &str = "Fabrikam";

struct World {
    client: Client,
    running: simulator::Running,
    organization_url: url::Url,
    me: Me,
    alice: Person,
    _data: tempfile::TempDir,
}

fn shop() -> RepositoryRef {
    RepositoryRef { project: PROJECT.into(), repository: "web-shop".into() }
}

fn permit(action: Action) -> Permit {
    let rules = format!(
        "version = 1\n[[rule]]\nid = \"all\"\neffect = \"allow\"\naction = [\"{}\"]\n",
        action.kind()
    );
    let facts = Facts { action: action.kind().into(), ..Facts::default() };
    policy::parse(&rules).unwrap().permit(action, &facts).unwrap().0
}

fn path(path: &str) -> ItemPath {
    ItemPath::new(path).unwrap()
}

fn text(text: &str) -> Content {
    Content::Text(text.into())
}

/// The two layouts of Azure DevOps that one client serves.
#[derive(Clone, Copy)]
enum Layout {
    /// `https://dev.azure.com/{organisation}`
    Services,
    /// `https://{server}/tfs/{collection}`, with empty ResourceAreas.
    Server,
}

async fn world() -> World {
    world_in(Layout::Services).await
}

async fn world_in(layout: Layout) -> World {
    let data = tempfile::tempdir().unwrap();
    let running = simulator::start(simulator::Settings {
        listen: "127.0.0.1".parse().unwrap(),
        organization_port: 0,
        entra_port: 0,
        sidecar_port: 0,
        model_port: 0,
        data: data.path().to_owned(),
        load: None,
        clock: Clock::Real,
        pace: std::time::Duration::ZERO,
        webhook: None,
        seed: 1,
        provisioned: true,
    })
    .await
    .unwrap();
    let settings = config::Identity {
        sidecar_url: running.sidecar_url.clone(),
        tenant_id: Some(tokens::TENANT_ID.into()),
        agent_identity_id: tokens::AGENT_IDENTITY_ID.into(),
        agent_user: config::AgentUser::Username(tokens::AGENT_USER_UPN.into()),
    };
    let http = config::http_client().unwrap();
    let identity = Identity::new(&settings, http.clone(), Clock::Real);
    let organization_url = match layout {
        Layout::Services => running.organization_url.clone(),
        Layout::Server => running.organization_url.join("/tfs/DefaultCollection").unwrap(),
    };
    let settings = config::AzureDevOps {
        organization_url: crate::recorder::recorded(organization_url.as_str()).await.parse().unwrap(),
        project: PROJECT.into(),
        repository: "web-shop".into(),
    };
    let client = Client::new(&settings, identity, http, Clock::Real);
    let me = client.who_am_i().await.unwrap();
    let alice = client.find_people("alice", 5).await.unwrap().remove(0);
    World { client, running, organization_url, me, alice, _data: data }
}

impl World {
    async fn perform(&self, action: Action) -> Result<Effect, Error> {
        self.client.perform(permit(action)).await
    }

    /// Writes as a person does, over Basic.
    async fn as_alice(&self, route: &str, body: Value) {
        let url = format!("{}/{route}", self.organization_url);
        let http = config::http_client().unwrap();
        let answer = http.post(url).basic_auth("alice", Some("demo-alice")).json(&body).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    }

    /// Reads as a person does, over Basic.
    async fn seen_by_alice(&self, route: &str) -> Value {
        let url = format!("{}/{route}", self.organization_url);
        let http = config::http_client().unwrap();
        let answer = http.get(url).basic_auth("alice", Some("demo-alice")).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
        answer.json().await.unwrap()
    }

    /// Makes the next request that fits `route` fail so.
    async fn arm(&self, route: &str, kind: &str, seconds: u32) {
        let url = self.running.organization_url.join("/_simulator/faults").unwrap();
        let http = config::http_client().unwrap();
        http.delete(url.clone()).send().await.unwrap();
        let fault = json!({ "route": route, "nth": 1, "kind": kind, "args": { "retry_after": seconds } });
        let answer = http.post(url).json(&fault).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    }
}

fn number(effect: &Effect) -> u32 {
    effect.id.as_deref().unwrap().parse().unwrap()
}

#[tokio::test]
async fn the_main_job() {
    main_job(&world().await).await;
}

#[tokio::test]
async fn the_main_job_in_the_layout_of_the_server_product() {
    let world = world_in(Layout::Server).await;
    let areas = world.seen_by_alice("_apis/ResourceAreas?api-version=7.1-preview.1").await;
    assert_eq!(areas["count"], 0, "a Server names no other hosts: {areas}");
    main_job(&world).await;
    review::builds_search_and_review(&world).await;
}

async fn main_job(world: &World) {
    let item = work_item(world).await;
    let branch = BranchName::new(&format!("agent/{item}-fix-login-timeout")).unwrap();
    let main = world.client.repository(&shop()).await.unwrap().default_branch.unwrap();
    let tip = branch_and_push(world, &main, &branch).await;
    reading_back(world, &branch, &tip).await;
    let pull_request = pull_request(world, item, &branch, &main, &tip).await;
    review(world, pull_request).await;
    absent_things(world).await;
}

async fn work_item(world: &World) -> u32 {
    let created = world
        .perform(Action::CreateWorkItem {
            project: PROJECT.into(),
            work_item_type: "Issue".into(),
            title: "Fix login timeout".into(),
            description: "The **login** times out at once.".into(),
            assigned_to: world.me.account.clone(),
            parent_id: None,
            run_url: Some("http://127.0.0.1:4192/runs/1".into()),
        })
        .await
        .unwrap();
    let id = number(&created);
    let item = world.client.work_item(PROJECT, id).await.unwrap();
    assert_eq!((item.title.as_str(), item.work_item_type.as_str()), ("Fix login timeout", "Issue"));
    assert_eq!(item.created_by.as_ref().unwrap().id, world.me.id);
    assert_eq!(
        (item.description_format, item.relations[0].kind),
        (TextFormat::Markdown, LinkKind::Hyperlink)
    );
    let fields = [("System.State", "Doing"), ("System.Tags", "login; bug")];
    let update = |rev, fields: &[(&str, &str)]| Action::UpdateWorkItem {
        project: PROJECT.into(),
        id,
        rev,
        fields: fields
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect::<BTreeMap<_, _>>(),
        link: Some(WorkItemLink { relation: Relation::Related, target_id: 1 }),
    };
    world.perform(update(item.rev, &fields)).await.unwrap();
    let stale = world.perform(update(item.rev, &fields)).await.unwrap_err();
    assert!(matches!(stale, Error::Conflict(_)), "{stale}");
    let item = world.client.work_item(PROJECT, id).await.unwrap();
    assert_eq!((item.state.as_str(), item.tags.len()), ("Doing", 2));
    assert!(!item.has_comments(), "{:?}", item.fields.get("System.CommentCount"));
    assert!(item.relations.iter().any(|r| r.kind == LinkKind::Related && r.target_id == Some(1)));
    let bad_state = world.perform(update(item.rev, &[("System.State", "Nonsense")])).await.unwrap_err();
    assert!(matches!(bad_state, Error::Invalid(_)), "{bad_state}");

    world
        .perform(Action::CommentOnWorkItem { project: PROJECT.into(), id, text: "On it.".into() })
        .await
        .unwrap();
    assert!(world.client.work_item(PROJECT, id).await.unwrap().has_comments());
    let comments = world.client.work_item_comments(PROJECT, id).await.unwrap();
    assert_eq!((comments[0].text.as_str(), comments[0].author.id.as_str()), ("On it.", world.me.id.as_str()));
    let wiql = "SELECT [System.Id] FROM WorkItems WHERE [System.TeamProject] = @project AND \
                [System.Title] CONTAINS 'login timeout' ORDER BY [System.Id]";
    let found = world.client.query_work_items(PROJECT, wiql, 10).await.unwrap();
    assert!(found.iter().any(|item| item.id == id));
    let bad = world.client.query_work_items(PROJECT, "SELECT nothing", 10).await.unwrap_err();
    assert!(matches!(bad, Error::Invalid(_)), "{bad}");
    id
}

fn push(world: &World, branch: &BranchName, old: &CommitId, changes: Vec<FileChange>) -> Action {
    Action::Push {
        repository: shop(),
        branch: branch.clone(),
        old_commit: old.clone(),
        message: "Fix the login timeout\n\nAgent-Run: 1\nAgent-Step: 4".into(),
        author: Author { name: world.me.name.clone(), email: world.me.account.clone().unwrap() },
        changes,
    }
}

async fn branch_and_push(world: &World, main: &BranchName, branch: &BranchName) -> CommitId {
    let base = world.client.branch(&shop(), main).await.unwrap().unwrap().tip;
    assert_eq!(world.client.branch(&shop(), branch).await.unwrap(), None);
    let create = || Action::CreateBranch { repository: shop(), branch: branch.clone(), commit: base.clone() };
    world.perform(create()).await.unwrap();
    let again = world.perform(create()).await.unwrap_err();
    assert!(matches!(again, Error::Conflict(_)), "{again}");
    let first = vec![
        FileChange::Add { path: path("/a/old.md"), content: text("one\n") },
        FileChange::Add { path: path("/a/gone.yml"), content: text("two\n") },
    ];
    let first = world.perform(push(world, branch, &base, first)).await.unwrap();
    let first = CommitId::new(first.commit.as_deref().unwrap()).unwrap();
    let second = vec![
        FileChange::Edit { path: path("/README.md"), content: text("# Shop\r\nChanged\r\n") },
        FileChange::Add { path: path("/a/notes <1> & +.html"), content: text("\u{feff}<html>é</html>") },
        FileChange::Add { path: path("/logo.bin"), content: Content::Base64("AAECAwQ=".into()) },
        FileChange::Rename { path: path("/a/old.md"), new_path: path("/a/new.md") },
        FileChange::Delete { path: path("/a/gone.yml") },
    ];
    let second = world.perform(push(world, branch, &first, second)).await.unwrap();
    let tip = CommitId::new(second.commit.as_deref().unwrap()).unwrap();
    let add = |name: &str| vec![FileChange::Add { path: path(name), content: text("x") }];
    let stale = world.perform(push(world, branch, &first, add("/x"))).await.unwrap_err();
    assert!(matches!(stale, Error::Conflict(_)), "{stale}");
    let exists = world.perform(push(world, branch, &tip, add("/README.md"))).await.unwrap_err();
    assert!(matches!(exists, Error::Invalid(_)), "{exists}");
    tip
}

async fn reading_back(world: &World, branch: &BranchName, tip: &CommitId) {
    let client = &world.client;
    assert_eq!(&client.branch(&shop(), branch).await.unwrap().unwrap().tip, tip);
    let version = Version::Branch(branch.clone());
    let read = async |name: &str| client.file(&shop(), &version, &path(name), limits::FILE_BYTES).await;
    assert_eq!(read("/README.md").await.unwrap(), b"# Shop\r\nChanged\r\n");
    assert_eq!(read("/a/notes <1> & +.html").await.unwrap(), "\u{feff}<html>é</html>".as_bytes());
    assert_eq!(read("/logo.bin").await.unwrap(), [0, 1, 2, 3, 4]);
    assert_eq!(read("/a/new.md").await.unwrap(), b"one\n");
    assert!(matches!(read("/a/gone.yml").await, Err(Error::NotFound(_))));
    let folder = client.items(&shop(), &version, Some(&path("/a")), Recursion::OneLevel).await.unwrap();
    assert_eq!(folder.len(), 2, "{folder:?}");
    let all = client.items(&shop(), &Version::Commit(tip.clone()), None, Recursion::Full).await.unwrap();
    assert!(all.iter().any(|item| item.path == "/a/new.md"), "{all:?}");

    let commits = client.commits(&shop(), &version, 1).await.unwrap();
    assert_eq!((&commits[0].id, &commits[0].author_name), (tip, &world.me.name));
    let message = client.commit(&shop(), tip).await.unwrap().message;
    assert!(message.contains("Agent-Run: 1\nAgent-Step: 4"), "{message}");
    let pushes = client.pushes(&shop(), branch, 10).await.unwrap();
    assert!(pushes.len() == 3 && pushes.iter().all(|push| push.by.id == world.me.id), "{pushes:?}");
}

async fn pull_request(
    world: &World,
    item: u32,
    branch: &BranchName,
    main: &BranchName,
    tip: &CommitId,
) -> u32 {
    let create = || Action::CreatePullRequest {
        repository: shop(),
        source: branch.clone(),
        target: main.clone(),
        title: "Fix login timeout".into(),
        description: "x".repeat(limits::PULL_REQUEST_DESCRIPTION),
        reviewer_ids: vec![world.alice.id.clone()],
        work_item_ids: vec![item],
    };
    let opened = world.perform(create()).await.unwrap();
    assert_eq!(opened.kind, EffectKind::PullRequest);
    let again = world.perform(create()).await.unwrap_err();
    assert!(matches!(again, Error::Conflict(_)), "{again}");
    let id = number(&opened);
    let found = world.client.pull_request(&shop(), id).await.unwrap();
    assert!(found.is_draft && found.status == PullRequestStatus::Active && found.work_item_ids == [item]);
    assert_eq!(found.description.len(), limits::PULL_REQUEST_DESCRIPTION);
    assert_eq!((&found.created_by.id, &found.reviewers[0].person.id), (&world.me.id, &world.alice.id));
    assert_eq!(found.source_commit.as_ref(), Some(tip));
    let linked = world.client.work_item(PROJECT, item).await.unwrap().relations;
    assert!(linked.iter().any(|r| r.kind == LinkKind::PullRequest && r.target_id == Some(id)), "{linked:?}");
    let active = world.client.active_pull_requests_from(&shop(), branch).await.unwrap();
    assert_eq!(active.iter().map(|found| found.id).collect::<Vec<_>>(), [id]);
    let changes = world.client.pull_request_changes(&shop(), id).await.unwrap();
    assert!(changes.files.iter().any(|file| file.path == "/README.md" && file.change == "edit"));
    assert_eq!(world.client.pull_request_commits(&shop(), id).await.unwrap().len(), 2);
    id
}

async fn review(world: &World, pull_request: u32) {
    let at = |offset: u32| json!({ "line": 2, "offset": offset });
    let body = json!({
        "comments": [{ "parentCommentId": 0, "content": "make the timeout configurable", "commentType": "text" }],
        "status": "active",
        "threadContext": { "filePath": "/README.md", "rightFileStart": at(1), "rightFileEnd": at(3) },
    });
    let route = format!(
        "{PROJECT}/_apis/git/repositories/web-shop/pullrequests/{pull_request}/threads?api-version=7.1"
    );
    world.as_alice(&route, body).await;
    let found = world.client.threads(&shop(), pull_request).await.unwrap();
    let asked = found.iter().find(|thread| thread.line == Some(2)).unwrap();
    assert_eq!((asked.status, &asked.comments[0].author.id), (Some(ThreadStatus::Active), &world.alice.id));
    let (repository, pull_request_id, thread_id) = (shop(), pull_request, asked.id);
    let reply = Action::ReplyToThread { repository, pull_request_id, thread_id, text: "Done.".into() };
    let replied = world.perform(reply).await.unwrap();
    let status = ThreadStatus::Fixed;
    let set = Action::SetThreadStatus { repository: shop(), pull_request_id, thread_id, status };
    world.perform(set).await.unwrap();
    let found = world.client.threads(&shop(), pull_request).await.unwrap();
    let answered = found.iter().find(|thread| thread.id == thread_id).unwrap();
    assert_eq!((answered.status, answered.comments.len()), (Some(status), 2));
    let ours = &answered.comments[1];
    assert_eq!((&ours.author.id, Some(ours.id)), (&world.me.id, replied.comment_id));
}

async fn absent_things(world: &World) {
    let client = &world.client;
    let absent = RepositoryRef { project: PROJECT.into(), repository: "nothing".into() };
    let nowhere = RepositoryRef { project: "No such/..".into(), repository: "web-shop".into() };
    let gone = Version::Branch(BranchName::new("gone").unwrap());
    let errors = [
        client.repository(&absent).await.unwrap_err(),
        client.repository(&nowhere).await.unwrap_err(),
        client.work_item(PROJECT, 99_999).await.unwrap_err(),
        client.pull_request(&shop(), 99_999).await.unwrap_err(),
        client.threads(&shop(), 99_999).await.unwrap_err(),
        client.items(&shop(), &gone, None, Recursion::Full).await.unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, Error::NotFound(_)), "{error}");
        assert!(error.failure().is_some_and(|failure| failure.activity_id.is_some()), "{error}");
    }
    assert!(client.find_people("nobody-at-all", 5).await.unwrap().is_empty());
}

#[tokio::test]
async fn faults_are_survived_or_left_open_but_never_doubled() {
    let world = world().await;
    let reads = ["throttle", "server_error", "reset_before", "reset_after", "truncate", "expired_token"];
    for kind in reads {
        world.arm("GET workItems", kind, 0).await;
        let item = world.client.work_item(PROJECT, 1).await;
        assert!(item.is_ok(), "{kind}: {item:?}");
    }
    let count = async || world.client.work_item_comments(PROJECT, 1).await.unwrap().len();
    let comment = || Action::CommentOnWorkItem { project: PROJECT.into(), id: 1, text: "Once.".into() };
    let before = count().await;
    for kind in ["throttle", "expired_token"] {
        world.arm("POST comments", kind, 0).await;
        world.perform(comment()).await.unwrap();
    }
    assert_eq!(count().await, before + 2);
    for (kind, happened) in [("server_error", 0), ("reset_before", 0), ("reset_after", 1), ("truncate", 1)] {
        let before = count().await;
        world.arm("POST comments", kind, 0).await;
        let error = world.perform(comment()).await.unwrap_err();
        assert!(error.may_have_happened(), "{kind}: {error}");
        assert_eq!(count().await, before + happened, "{kind}");
    }
    world.arm("POST comments", "throttle", 90).await;
    let error = world.perform(comment()).await.unwrap_err();
    assert!(matches!(error, Error::Throttled { after: Some(after), .. } if after.as_secs() == 90), "{error}");
}

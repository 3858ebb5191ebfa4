//! One action, one request, and its shape.

use super::*;

#[tokio::test]
async fn each_action_is_one_request_of_its_shape() {
    let world = world().await;
    world.service.json(json!({ "id": 41, "rev": 1, "fields": { "System.Title": "Fix login timeout" } }));
    let effect = world
        .client
        .perform(permit(Action::CreateWorkItem {
            project: "Fabrikam".into(),
            work_item_type: "User Story".into(),
            title: "Fix login timeout".into(),
            description: "**now**".into(),
            assigned_to: None,
            parent_id: Some(7),
            run_url: Some("http://localhost:4192/runs/1".into()),
        }))
        .await
        .unwrap();
    assert_eq!((effect.kind, effect.id.as_deref()), (EffectKind::WorkItem, Some("41")));
    assert_eq!(effect.activity_id.as_deref(), Some("activity-1"));
    assert!(effect.web_url.unwrap().ends_with("/contoso/Fabrikam/_workitems/edit/41"));
    let seen = world.service.seen().pop().unwrap();
    assert_eq!(
        (seen.method.as_str(), seen.path.as_str()),
        ("POST", "/contoso/Fabrikam/_apis/wit/workitems/$User%20Story")
    );
    assert_eq!(seen.headers["content-type"], "application/json-patch+json");
    let paths: Vec<&str> =
        seen.body.as_array().unwrap().iter().map(|op| op["path"].as_str().unwrap()).collect();
    let expected = [
        "/fields/System.Title",
        "/fields/System.Description",
        "/multilineFieldsFormat/System.Description",
        "/relations/-",
        "/relations/-",
    ];
    assert_eq!(paths, expected);
    assert!(seen.body[3]["value"]["url"].as_str().unwrap().ends_with("/contoso/_apis/wit/workItems/7"));

    world.service.json(json!({ "id": 41, "rev": 3, "fields": {} }));
    let fields = BTreeMap::from([
        ("System.State".to_owned(), "Doing".to_owned()),
        ("System.Tags".into(), "a; b".into()),
    ]);
    let update = Action::UpdateWorkItem { project: "Fabrikam".into(), id: 41, rev: 2, fields, link: None };
    world.client.perform(permit(update)).await.unwrap();
    let seen = world.service.seen().pop().unwrap();
    assert_eq!(seen.method, "PATCH");
    assert_eq!(seen.body[0], json!({ "op": "test", "path": "/rev", "value": 2 }));
    assert_eq!(seen.body[2], json!({ "op": "replace", "path": "/fields/System.Tags", "value": "a; b" }));

    world.service.json(json!({ "commentId": 5, "workItemId": 41, "text": "x" }));
    let comment = Action::CommentOnWorkItem { project: "Fabrikam".into(), id: 41, text: "x".into() };
    assert_eq!(world.client.perform(permit(comment)).await.unwrap().comment_id, Some(5));
    let seen = world.service.seen().pop().unwrap();
    assert_eq!(
        (seen.query["api-version"].as_str(), seen.query["format"].as_str()),
        ("7.1-preview.4", "markdown")
    );
}

#[tokio::test]
async fn a_push_names_the_tip_it_was_made_on_and_keeps_bytes() {
    let world = world().await;
    let answer =
        json!({ "commits": [{ "commitId": NEW }], "refUpdates": [{ "newObjectId": NEW }], "pushId": 1 });
    world.service.say(201, &[], answer.to_string());
    let path = |path: &str| ItemPath::new(path).unwrap();
    let changes = vec![
        FileChange::Edit { path: path("/a.ts"), content: Content::Text("x\r\n".into()) },
        FileChange::Add { path: path("/b.cs"), content: Content::Text("\u{feff}y".into()) },
        FileChange::Add { path: path("/c.png"), content: Content::Base64("AAE=".into()) },
        FileChange::Delete { path: path("/d") },
        FileChange::Rename { path: path("/e"), new_path: path("/f") },
    ];
    let push = Action::Push {
        repository: shop(),
        branch: branch("agent/41-fix"),
        old_commit: commit(OLD),
        message: "Fix\n\nAgent-Run: 1".into(),
        author: crate::action::Author { name: "ado-coworker".into(), email: "a@contoso.example".into() },
        changes,
    };
    let effect = world.client.perform(permit(push)).await.unwrap();
    assert_eq!(
        (effect.kind, effect.commit.as_deref(), effect.title.as_deref()),
        (EffectKind::Commit, Some(NEW), Some("Fix"))
    );
    let body = world.service.seen().pop().unwrap().body;
    assert_eq!(body["refUpdates"], json!([{ "name": "refs/heads/agent/41-fix", "oldObjectId": OLD }]));
    let changes = &body["commits"][0]["changes"];
    assert_eq!(changes[0]["newContent"], json!({ "content": "x\r\n", "contentType": "rawtext" }));
    assert_eq!(changes[1]["newContent"], json!({ "content": "77u/eQ==", "contentType": "base64encoded" }));
    assert_eq!(changes[2]["newContent"]["contentType"], "base64encoded");
    assert_eq!(changes[3], json!({ "changeType": "delete", "item": { "path": "/d" } }));
    assert_eq!(
        changes[4],
        json!({ "changeType": "rename", "sourceServerItem": "/e", "item": { "path": "/f" } })
    );
}

#[tokio::test]
async fn a_branch_update_that_failed_inside_a_200_is_an_error() {
    let create =
        || Action::CreateBranch { repository: shop(), branch: branch("agent/x"), commit: commit(OLD) };
    let outcomes = [
        ("staleOldObjectId", "changed"),
        ("rejectedByPolicy", "policy"),
        ("createBranchPermissionRequired", "permitted"),
        ("invalidRefName", "acceptable"),
    ];
    for (status, word) in outcomes {
        let world = world().await;
        world.service.json(
            json!({ "value": [{ "name": "refs/heads/agent/x", "success": false, "updateStatus": status }] }),
        );
        let error = world.client.perform(permit(create())).await.unwrap_err();
        assert!(error.to_string().contains(word) && error.to_string().contains(status), "{error}");
        assert!(!error.may_have_happened());
    }
    let world = world().await;
    world.service.json(
        json!({ "value": [{ "name": "refs/heads/agent/x", "success": true, "updateStatus": "succeeded" }] }),
    );
    assert_eq!(world.client.perform(permit(create())).await.unwrap().commit.as_deref(), Some(OLD));
}

#[tokio::test]
async fn a_pull_request_is_a_draft_with_reviewers_and_work_items_in_one_request() {
    let world = world().await;
    let create = |title: String, description: String| Action::CreatePullRequest {
        repository: shop(),
        source: branch("agent/41-fix"),
        target: branch("main"),
        title,
        description,
        reviewer_ids: vec!["b".into()],
        work_item_ids: vec![41],
    };
    let answer = json!({ "pullRequestId": 12, "title": "T", "status": "active", "lastMergeSourceCommit": { "commitId": NEW } });
    world.service.say(201, &[], answer.to_string());
    let effect = world.client.perform(permit(create("T".into(), "D".into()))).await.unwrap();
    assert_eq!((effect.id.as_deref(), effect.commit.as_deref()), (Some("12"), Some(NEW)));
    assert!(effect.web_url.unwrap().ends_with("/contoso/Fabrikam/_git/web-shop/pullrequest/12"));
    let body = world.service.seen().pop().unwrap().body;
    assert_eq!(body["isDraft"], true);
    assert_eq!(
        (&body["reviewers"], &body["workItemRefs"]),
        (&json!([{ "id": "b" }]), &json!([{ "id": "41" }]))
    );
    assert_eq!(body["targetRefName"], "refs/heads/main");

    let too_long = [
        create("x".repeat(401), String::new()),
        create("t".into(), "😀".repeat(2_001)),
        create(" ".into(), String::new()),
    ];
    for action in too_long.into_iter().chain([reply(&"x".repeat(150_001)), reply(" ")]) {
        let error = world.client.perform(permit(action)).await.unwrap_err();
        assert!(matches!(error, Error::Invalid(_)), "{error}");
    }
    assert_eq!(world.service.seen().len(), 1);
}

/// The structure that invariant 1 rests on: a write needs a permit because of the types; that
/// nothing but `perform` starts one is seen here.
#[test]
fn no_other_file_names_a_writing_route() {
    let files = [
        include_str!("../bodies.rs"),
        include_str!("../builds.rs"),
        include_str!("../search.rs"),
        include_str!("../git.rs"),
        include_str!("../people.rs"),
        include_str!("../pull_requests.rs"),
        include_str!("../threads.rs"),
        include_str!("../transport.rs"),
        include_str!("../work_items.rs"),
        include_str!("../mod.rs"),
    ];
    for text in files {
        assert!(!text.contains("writing::"), "{}", text.lines().next().unwrap_or_default());
    }
    let write = include_str!("../write.rs");
    let entries: Vec<&str> = write.lines().filter(|line| line.trim_start().starts_with("pub ")).collect();
    assert_eq!(entries.len(), 1, "{entries:?}");
    assert!(entries[0].contains("perform(&self, permit: Permit)"));
}

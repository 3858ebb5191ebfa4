//! What is asked for, and what becomes of the answers.

use super::*;

#[tokio::test]
async fn files_come_as_bytes_and_within_their_limit() {
    let world = world().await;
    let bytes = b"\xef\xbb\xbfa\r\n\0".to_vec();
    let kind = [("content-type", "application/octet-stream")];
    let path = ItemPath::new("/src/a b+c.ts").unwrap();
    let version = Version::Commit(commit(OLD));
    world.service.say(200, &kind, bytes.clone());
    assert_eq!(world.client.file(&shop(), &version, &path, 10).await.unwrap(), bytes);
    let seen = &world.service.seen()[0];
    assert_eq!(
        (seen.query["path"].as_str(), seen.query["$format"].as_str()),
        ("/src/a b+c.ts", "octetStream")
    );
    assert_eq!(seen.query["versionDescriptor.versionType"], "commit");
    world.service.say(200, &kind, vec![b'x'; 11]);
    let error = world.client.file(&shop(), &version, &path, 10).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge(_)), "{error}");
}

#[tokio::test]
async fn a_branch_is_matched_exactly_across_pages() {
    let world = world().await;
    let named = |name: &str| json!({ "name": format!("refs/heads/{name}"), "objectId": OLD });
    let first = json!({ "value": [named("main2"), named("main/x")], "count": 2 }).to_string();
    world.service.say(200, &[("x-ms-continuationtoken", "next one")], first.clone());
    world.service.json(json!({ "value": [named("Main"), named("main")] }));
    let found = world.client.branch(&shop(), &branch("main")).await.unwrap().unwrap();
    assert_eq!(found.tip.as_str(), OLD);
    let seen = world.service.seen();
    assert_eq!(
        (seen[0].query["filter"].as_str(), seen[1].query["continuationToken"].as_str()),
        ("heads/main", "next one")
    );
    world.service.say(200, &[], first);
    assert_eq!(world.client.branch(&shop(), &branch("main")).await.unwrap(), None);
}

#[tokio::test]
async fn a_query_becomes_summaries_in_its_order() {
    let world = world().await;
    world.service.json(json!({ "queryType": "flat", "workItems": [{ "id": 9 }, { "id": 7 }, { "id": 8 }] }));
    let item = |id: u32| json!({ "id": id, "rev": 1, "fields": { "System.Title": "t", "System.AssignedTo": { "displayName": "Bob", "id": "b" } } });
    world.service.json(json!({ "count": 3, "value": [item(7), null, item(9)] }));
    let found =
        world.client.query_work_items("Fabrikam", "SELECT [System.Id] FROM WorkItems", 5).await.unwrap();
    assert_eq!(found.iter().map(|item| item.id).collect::<Vec<_>>(), [9, 7]);
    assert_eq!(found[0].assigned_to.as_ref().unwrap().name, "Bob");
    let seen = world.service.seen();
    assert_eq!((seen[0].query["$top"].as_str(), &seen[1].body["ids"]), ("5", &json!([9, 7, 8])));
    world.service.json(json!({ "queryType": "tree", "workItemRelations": [] }));
    let error = world.client.query_work_items("Fabrikam", "SELECT …", 5).await.unwrap_err();
    assert!(matches!(error, Error::Invalid(_)), "{error}");
}

#[tokio::test]
async fn a_pull_request_is_read_with_its_work_items_and_latest_changes() {
    let world = world().await;
    let raw = json!({
        "pullRequestId": 12, "title": "T", "description": "D", "status": "active", "isDraft": true,
        "sourceRefName": "refs/heads/agent/41-fix", "targetRefName": "refs/heads/main", "mergeStatus": "queued",
        "createdBy": { "id": "me", "displayName": "ado-coworker" }, "workItemRefs": [{ "id": "41", "url": "u" }],
        "reviewers": [{ "id": "b", "displayName": "Bob", "vote": -5, "hasDeclined": false, "isFlagged": false }],
        "repository": { "id": "r", "name": "web-shop", "project": { "id": "p", "name": "Fabrikam" } },
    });
    world.service.json(raw);
    let found = world.client.pull_request(&shop(), 12).await.unwrap();
    assert_eq!(
        (found.work_item_ids.as_slice(), found.source_branch.as_str()),
        ([41].as_slice(), "agent/41-fix")
    );
    assert_eq!((found.reviewers[0].person.name.as_str(), found.reviewers[0].vote), ("Bob", -5));

    let change =
        |path: &str| json!({ "changeTrackingId": 1, "changeType": "edit", "item": { "path": path } });
    world.service.json(json!({ "value": [{ "id": 1 }, { "id": 2 }], "count": 2 }));
    world.service.json(json!({ "changeEntries": [change("/a")], "nextSkip": 1, "nextTop": 1 }));
    world.service.json(json!({ "changeEntries": [change("/b")], "nextSkip": 0, "nextTop": 0 }));
    let changes = world.client.pull_request_changes(&shop(), 12).await.unwrap();
    assert_eq!((changes.iteration, changes.files.len()), (2, 2));
    assert!(world.service.seen()[2].path.ends_with("/pullrequests/12/iterations/2/changes"));
    let status = Action::SetThreadStatus {
        repository: shop(),
        pull_request_id: 12,
        thread_id: 3,
        status: ThreadStatus::WontFix,
    };
    world.service.json(json!({ "id": 3, "status": "wontFix", "comments": [] }));
    world.client.perform(permit(status)).await.unwrap();
    assert_eq!(world.service.seen().pop().unwrap().body, json!({ "status": "wontFix" }));
}

#[tokio::test]
async fn people_are_found_and_absent_ones_are_nobody() {
    let world = world().await;
    let text = |text: &str| json!({ "$type": "System.String", "$value": text });
    let alice = json!({ "id": "a", "providerDisplayName": "Alice", "isActive": true,
        "properties": { "Account": text("alice@contoso.example"), "SchemaClassName": text("User") } });
    let gone = json!({ "id": "g", "providerDisplayName": "Gone", "isActive": false });
    world.service.json(json!({ "count": 3, "value": [gone, null, alice] }));
    let found = world.client.find_people("alice", 5).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].name.as_str(), found[0].account.as_deref()),
        ("Alice", Some("alice@contoso.example"))
    );
    world.service.json(json!({ "count": 0, "value": [] }));
    assert!(world.client.find_people("nobody", 5).await.unwrap().is_empty());
    assert!(matches!(world.client.find_people(" ", 5).await, Err(Error::Invalid(_))));
}

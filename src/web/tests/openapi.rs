use std::collections::BTreeSet;

use super::*;

fn description() -> Value {
    serde_json::from_str(assets::openapi_text()).unwrap()
}

#[test]
fn every_route_is_described_and_nothing_else() {
    let described: BTreeSet<(String, String)> = description()["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| methods.as_object().unwrap().keys().map(|m| (path.clone(), m.clone())))
        .collect();
    let routed: BTreeSet<(String, String)> = api_routes()
        .iter()
        .flat_map(|route| route.methods.iter().map(|method| (route.path.to_owned(), (*method).to_owned())))
        .collect();
    assert_eq!(described, routed);
}

#[test]
fn every_reference_leads_somewhere() {
    fn walk(value: &Value, root: &Value) {
        match value {
            Value::Object(map) => {
                if let Some(target) = map.get("$ref").and_then(Value::as_str) {
                    assert!(root.pointer(&target[1..]).is_some(), "{target}");
                }
                map.values().for_each(|value| walk(value, root));
            }
            Value::Array(items) => items.iter().for_each(|value| walk(value, root)),
            _ => {}
        }
    }
    walk(&description(), &description());
}

/// Every described operation answers with a described status, and with what is required of it.
#[tokio::test]
async fn every_path_answers_as_described() {
    let door = Door::open().await;
    let id = door.run("hello").await;
    let claim = door.claim().await;
    door.append(&claim, vec![replied(1, "a"), finished(Status::Done, "a", None)]).await;
    let event = crate::event::OutsideEvent::WorkItemChanged { work_item_id: 1 };
    let event = door.state.journal.receive("workitem.updated:1", "x", event, None).await.unwrap().id;
    door.run("ask").await;
    let claim = door.claim().await;
    door.append(&claim, vec![asked(&claim)]).await;
    let text = description();
    for (path, methods) in text["paths"].as_object().unwrap() {
        let own = match path.as_str() {
            path if path.starts_with("/api/events") => &event,
            path if path.starts_with("/api/approvals") => APPROVAL,
            _ => id.as_str(),
        };
        let address = path.replace("{id}", own).replace("{run}", own);
        for (method, operation) in methods.as_object().unwrap() {
            let body = match path.as_str() {
                "/api/runs" => json!({"instruction": "x"}),
                "/api/runs/{id}/messages" => json!({"text": "x"}),
                _ => json!({}),
            };
            let request =
                request(&method.to_uppercase(), &address).header("content-type", "application/json");
            let answer = door.send(request.body(Body::from(body.to_string())).unwrap()).await;
            let described = &operation["responses"][answer.status.as_str()];
            assert!(described.is_object(), "{method} {path} answered {}: {}", answer.status, answer.body);
            assert_ne!(answer.status, 404, "{method} {path}");
            let content = described["content"].as_object().unwrap();
            let kind = answer.headers["content-type"].to_str().unwrap();
            let schema = content
                .iter()
                .find(|(name, _)| kind.starts_with(name.as_str()))
                .unwrap_or_else(|| panic!("{path}: {kind}"));
            if kind.contains("json") {
                conforms(&answer.json(), &schema.1["schema"], &text, path);
            }
        }
    }
}

/// Required properties are there, and no property is there that is not described.
fn conforms(value: &Value, schema: &Value, root: &Value, place: &str) {
    if let Some(target) = schema["$ref"].as_str() {
        return conforms(value, root.pointer(&target[1..]).unwrap(), root, place);
    }
    if let Some(parts) = schema["allOf"].as_array() {
        let resolve = |part: &Value| {
            part["$ref"].as_str().map_or(part.clone(), |t| root.pointer(&t[1..]).unwrap().clone())
        };
        let mut whole = json!({"type": "object", "properties": {}, "required": []});
        for part in parts.iter().map(resolve) {
            whole["properties"]
                .as_object_mut()
                .unwrap()
                .extend(part["properties"].as_object().unwrap().clone());
            whole["required"].as_array_mut().unwrap().extend(part["required"].as_array().unwrap().clone());
        }
        return conforms(value, &whole, root, place);
    }
    if let Some(choices) = schema["enum"].as_array() {
        assert!(choices.contains(value), "{place}: {value} is not described");
    }
    if let (Some(map), Some(properties)) = (value.as_object(), schema["properties"].as_object()) {
        for name in schema["required"].as_array().into_iter().flatten() {
            assert!(map.contains_key(name.as_str().unwrap()), "{place} lacks {name}: {value}");
        }
        for (name, value) in map {
            let described = properties
                .get(name)
                .unwrap_or_else(|| panic!("{place} gives {name}, which is not described"));
            conforms(value, described, root, &format!("{place}.{name}"));
        }
    }
    for item in value.as_array().into_iter().flatten() {
        conforms(item, &schema["items"], root, place);
    }
}

const APPROVAL: &str = "0123456789abcdef0123456789abcdef";

/// A question that waits for people.
fn asked(claim: &Claim) -> Entry {
    use crate::policy::approval::{Request, Shown, Target, Who};
    let action = crate::action::Action::CommentOnWorkItem { project: "P".into(), id: 1, text: "t".into() };
    let request = Request {
        id: APPROVAL.into(),
        run: claim.run.to_string(),
        step: 1,
        write: 1,
        tool: "comment_on_work_item".into(),
        digest: action.digest().unwrap(),
        action,
        target: Target::default(),
        verdict: Verdict { outcome: Judged::Ask, ..Verdict::default() },
        requested_by: Who::default(),
        agent: Vec::new(),
        taint: Vec::new(),
        shown: Shown::default(),
        expires_at: i64::MAX,
        supersedes: None,
    };
    Entry::ApprovalRequested { request: Box::new(request) }
}

//! The steps in Azure DevOps: membership, rights on the repository, on work items and on builds,
//! service hooks (SETUP.md §5).

use serde_json::{Value, json};

use super::request::{Answer, Request, segment, text};
use super::{Context, Found, Problem, Step, Wanted};

/// The version of the entitlements API (SETUP.md §5.1).
const ENTITLEMENTS: &str = "api-version=7.1-preview.4";
/// The access level Basic.
const BASIC: &str = "express";
/// Access levels with which repositories answer.
const ENOUGH: [&str; 4] = ["express", "advanced", "professional", "earlyAdopter"];
/// What the co-worker acts on, with the version in which each names its object.
const EVENTS: &[(&str, &str, bool)] = &[
    ("workitem.created", "1.0", false),
    ("workitem.updated", "1.0", false),
    ("workitem.commented", "1.0", false),
    ("git.push", "1.0", true),
    ("git.pullrequest.created", "1.0", true),
    ("git.pullrequest.updated", "1.0", true),
    ("ms.vss-code.git-pullrequest-comment-event", "2.0", true),
    ("build.complete", "1.0", false),
];

/// A right on one securable. Bits: SETUP.md §5.3 and the service's list of namespaces.
struct Right {
    key: &'static str,
    title: &'static str,
    namespace: &'static str,
    allow: u32,
    deny: u32,
    token: fn(&Context) -> String,
}

/// The bits allowed and denied to the agent user by an entry of its own.
fn held(context: &Context, answer: &Answer) -> (u32, u32) {
    let descriptor = context.known.id("descriptor");
    let entries = answer.list().iter().filter_map(|list| list.get("acesDictionary")?.as_object());
    let own = entries.flatten().find(|(name, _)| name.eq_ignore_ascii_case(&descriptor));
    let bits = |name: &str| {
        let value = own.and_then(|(_, entry)| entry.get(name)).and_then(Value::as_u64);
        u32::try_from(value.unwrap_or(0)).unwrap_or(0)
    };
    (bits("allow"), bits("deny"))
}

const RIGHTS: &[Right] = &[
    Right {
        key: "repository_rights",
        title: "read, contribute, create branches, contribute to pull requests; never force a push, bypass a policy",
        namespace: "2e9eb7ed-3c0a-47d4-87c1-0ffdd275fd87",
        allow: 2 + 4 + 16 + 16_384,
        deny: 8 + 128 + 32_768,
        token: |context| format!("repoV2/{}/{}", context.known.id("project"), context.known.id("repository")),
    },
    Right {
        key: "area_rights",
        title: "view and edit work items under the project's root area",
        namespace: "83e28ad4-2d72-4ceb-97b0-c7726d5502c3",
        allow: 16 + 32,
        deny: 0,
        token: |context| format!("vstfs:///Classification/Node/{}", context.known.id("area")),
    },
    Right {
        key: "build_rights",
        title: "view and queue builds",
        namespace: "33344d9c-fc72-4d6f-aba5-fa317101a7e9",
        allow: 1 + 128 + 1_024,
        deny: 0,
        token: |context| context.known.id("project"),
    },
    Right {
        key: "hook_rights",
        title: "view service hooks, so that doctor can say whether they are well",
        namespace: "cb594ebe-87dd-4fc9-ac2c-6a10a4c92046",
        allow: 1,
        deny: 2 + 4,
        token: |context| format!("PublisherSecurity/{}", context.known.id("project")),
    },
];

/// The steps for what is wanted.
pub(super) fn steps(wanted: &Wanted) -> Vec<Box<dyn Step>> {
    let mut all: Vec<Box<dyn Step>> = vec![
        Box::new(Lookup { key: "project", path: project_path, id: "id" }),
        Box::new(Lookup { key: "repository", path: repository_path, id: "id" }),
        Box::new(Lookup { key: "area", path: area_path, id: "identifier" }),
        Box::new(Member),
        Box::new(Descriptor),
    ];
    all.extend(RIGHTS.iter().map(|right| Box::new(Access(right)) as Box<dyn Step>));
    if wanted.webhook.is_some() {
        all.extend(EVENTS.iter().map(|event| Box::new(Hook(event)) as Box<dyn Step>));
    }
    all
}

fn project_path(wanted: &Wanted) -> String {
    format!("_apis/projects/{}", segment(&wanted.project))
}

fn repository_path(wanted: &Wanted) -> String {
    format!("{}/_apis/git/repositories/{}", segment(&wanted.project), segment(&wanted.repository))
}

fn area_path(wanted: &Wanted) -> String {
    format!("{}/_apis/wit/classificationnodes/areas", segment(&wanted.project))
}

/// The requests that take the agent user's rights away, and its service hooks, and its membership.
pub(super) async fn removals(
    context: &Context,
    session: &mut super::Session,
) -> Result<Vec<(String, Request)>, Problem> {
    let mut all = Vec::new();
    if let (Some(address), Some(project)) = (&context.wanted.webhook, context.known.get("project")) {
        let answer = session.send(&Request::azure_devops("GET", Hook::url(context, ""), None)).await?;
        let at = |one: &Value, path: &str| {
            one.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        for one in answer.list() {
            let ours = at(one, "/consumerInputs/url").eq_ignore_ascii_case(address)
                && at(one, "/publisherInputs/projectId") == project;
            if ours {
                let url = Hook::url(context, &format!("/{}", text(one, "id")));
                let title = format!("Service hook {}", text(one, "eventType"));
                all.push((title, Request::azure_devops("DELETE", url, None)));
            }
        }
    }
    if context.known.get("descriptor").is_some() {
        for right in RIGHTS {
            let answer = session.send(&Access(right).look(context)).await?;
            if held(context, &answer) == (0, 0) {
                continue;
            }
            let url = format!(
                "{}/_apis/accesscontrolentries/{}?token={}&descriptors={}&api-version=7.1",
                context.wanted.main(),
                right.namespace,
                segment(&(right.token)(context)),
                segment(&context.known.id("descriptor"))
            );
            all.push((format!("Rights: {}", right.title), Request::azure_devops("DELETE", url, None)));
        }
    }
    if let Some(id) = context.known.get("membership") {
        let url = Member::url(context, &format!("/{id}?{ENTITLEMENTS}"));
        all.push(("Membership of the organisation".into(), Request::azure_devops("DELETE", url, None)));
    }
    Ok(all)
}

/// Something that must be there already, for its id.
struct Lookup {
    key: &'static str,
    path: fn(&Wanted) -> String,
    id: &'static str,
}

impl Step for Lookup {
    fn id(&self) -> String {
        self.key.into()
    }

    fn title(&self, context: &Context) -> String {
        let name = match self.key {
            "repository" => &context.wanted.repository,
            _ => &context.wanted.project,
        };
        format!("The {} {name}", if self.key == "area" { "root area of" } else { self.key })
    }

    fn look(&self, context: &Context) -> Request {
        let url = format!("{}/{}?api-version=7.1", context.wanted.main(), (self.path)(&context.wanted));
        Request::azure_devops("GET", url, None)
    }

    fn read(&self, context: &mut Context, answer: &Answer) -> Result<Found, Problem> {
        let id = answer.text(self.id);
        if answer.status == 404 || id.is_empty() {
            return Ok(Found::Absent);
        }
        context.known.set(self.key, id);
        Ok(Found::There)
    }
}

/// Membership of the organisation and of the project, as a reader, with the access level Basic.
struct Member;

impl Member {
    fn url(context: &Context, tail: &str) -> String {
        format!("{}/_apis/userentitlements{tail}", context.wanted.host("vsaex"))
    }

    fn level() -> Value {
        json!({"licensingSource": "account", "accountLicenseType": BASIC})
    }

    fn project(context: &Context) -> Value {
        json!({"group": {"groupType": "projectReader"}, "projectRef": {"id": context.known.id("project")}})
    }
}

impl Step for Member {
    fn id(&self) -> String {
        "membership".into()
    }

    fn title(&self, context: &Context) -> String {
        format!("Membership with Basic access; a reader of {}", context.wanted.project)
    }

    fn look(&self, context: &Context) -> Request {
        let filter = format!("name%20eq%20%27{}%27", segment(&context.wanted.user));
        let url = Self::url(context, &format!("?$filter={filter}&{ENTITLEMENTS}"));
        Request::azure_devops("GET", url, None)
    }

    fn read(&self, context: &mut Context, answer: &Answer) -> Result<Found, Problem> {
        let all = answer.body.get("members").or_else(|| answer.body.get("items")).and_then(Value::as_array);
        let all = all.map(Vec::as_slice).unwrap_or_default();
        let agent_user = context.known.id("agent_user");
        let fits = |one: &&Value| {
            let user = one.get("user").cloned().unwrap_or_default();
            text(&user, "originId").eq_ignore_ascii_case(&agent_user)
                || text(&user, "principalName").eq_ignore_ascii_case(&context.wanted.user)
        };
        let Some(found) = all.iter().find(fits) else { return Ok(Found::Absent) };
        let id = text(found, "id").to_owned();
        let mut operations = Vec::new();
        let level =
            found.pointer("/accessLevel/accountLicenseType").and_then(Value::as_str).unwrap_or_default();
        if !ENOUGH.iter().any(|enough| enough.eq_ignore_ascii_case(level)) {
            operations.push(json!({"op": "replace", "path": "/accessLevel", "value": Self::level()}));
        }
        let project = context.known.id("project");
        let projects = found.get("projectEntitlements").and_then(Value::as_array);
        let in_project = projects.is_some_and(|all| {
            all.iter().any(|one| one.pointer("/projectRef/id").is_some_and(|id| *id == project))
        });
        if !in_project {
            operations
                .push(json!({"op": "add", "path": "/projectEntitlements", "value": Self::project(context)}));
        }
        context.known.set("membership", &id);
        if operations.is_empty() {
            return Ok(Found::There);
        }
        let url = Self::url(context, &format!("/{id}?{ENTITLEMENTS}"));
        let request = Request::azure_devops("PATCH", url, Some(Value::Array(operations)));
        Ok(Found::Differs(request.patching()))
    }

    fn make(&self, context: &Context) -> Option<Request> {
        let body = json!({
            "accessLevel": Self::level(),
            "user": {"principalName": context.wanted.user, "origin": "aad",
                "originId": context.known.id("agent_user"), "subjectKind": "user"},
            "projectEntitlements": [Self::project(context)],
        });
        let url = Self::url(context, &format!("?{ENTITLEMENTS}"));
        Some(Request::azure_devops("POST", url, Some(body)))
    }

    /// The service says 200 also when it did not do it.
    fn made(&self, _context: &mut Context, answer: &Answer) -> Result<(), Problem> {
        let results = [answer.body.get("operationResult"), answer.body.pointer("/operationResults/0")];
        let result = results.into_iter().flatten().next();
        let failed = |value: &Value| value.get("isSuccess") == Some(&Value::Bool(false));
        if !failed(&answer.body) && !result.is_some_and(failed) {
            return Ok(());
        }
        let errors = result.and_then(|result| result.get("errors")).and_then(Value::as_array);
        let words = errors.into_iter().flatten().map(|error| text(error, "value").to_owned());
        Err(Problem::NotDone { words: crate::http::plain(&words.collect::<Vec<_>>().join(" "), 400) })
    }
}

/// How access control entries name the agent user.
struct Descriptor;

impl Step for Descriptor {
    fn id(&self) -> String {
        "descriptor".into()
    }

    fn title(&self, _context: &Context) -> String {
        "The agent user's descriptor".into()
    }

    fn look(&self, context: &Context) -> Request {
        let url = format!(
            "{}/_apis/identities?searchFilter=General&filterValue={}&queryMembership=None&api-version=7.1",
            context.wanted.host("vssps"),
            segment(&context.wanted.user)
        );
        Request::azure_devops("GET", url, None)
    }

    fn read(&self, context: &mut Context, answer: &Answer) -> Result<Found, Problem> {
        let account = |one: &Value| {
            one.pointer("/properties/Account/$value").and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let fits = |one: &&Value| account(one).eq_ignore_ascii_case(&context.wanted.user);
        let found = answer.list().iter().find(fits).map(|one| text(one, "descriptor").to_owned());
        let Some(descriptor) = found.filter(|text| !text.is_empty()) else { return Ok(Found::Absent) };
        context.known.set("descriptor", &descriptor);
        Ok(Found::There)
    }
}

struct Access(&'static Right);

impl Step for Access {
    fn id(&self) -> String {
        self.0.key.into()
    }

    fn title(&self, _context: &Context) -> String {
        format!("Rights: {}", self.0.title)
    }

    fn look(&self, context: &Context) -> Request {
        let url = format!(
            "{}/_apis/accesscontrollists/{}?token={}&descriptors={}&includeExtendedInfo=false&recurse=false&api-version=7.1",
            context.wanted.main(),
            self.0.namespace,
            segment(&(self.0.token)(context)),
            segment(&context.known.id("descriptor"))
        );
        Request::azure_devops("GET", url, None)
    }

    fn read(&self, context: &mut Context, answer: &Answer) -> Result<Found, Problem> {
        let (allow, deny) = held(context, answer);
        let has = |wanted: u32, found: u32| found & wanted == wanted;
        let there = has(self.0.allow, allow) && has(self.0.deny, deny);
        Ok(if there { Found::There } else { Found::Absent })
    }

    fn make(&self, context: &Context) -> Option<Request> {
        let body = json!({
            "token": (self.0.token)(context), "merge": true,
            "accessControlEntries": [{
                "descriptor": context.known.id("descriptor"), "allow": self.0.allow, "deny": self.0.deny,
                "extendedInfo": {},
            }],
        });
        let url = format!(
            "{}/_apis/accesscontrolentries/{}?api-version=7.1",
            context.wanted.main(),
            self.0.namespace
        );
        Some(Request::azure_devops("POST", url, Some(body)))
    }
}

/// A service hook that brings one kind of event of this project, or of this repository only.
struct Hook(&'static (&'static str, &'static str, bool));

impl Hook {
    fn body(&self, context: &Context) -> Value {
        let (event, version, repository) = *self.0;
        let mut publisher = json!({"projectId": context.known.id("project")});
        if repository {
            publisher["repository"] = json!(context.known.id("repository"));
        }
        json!({
            "publisherId": "tfs", "eventType": event, "resourceVersion": version,
            "consumerId": "webHooks", "consumerActionId": "httpRequest",
            "publisherInputs": publisher,
            // The texts for people are not sent: ids are enough, everything is read again.
            "consumerInputs": {
                "url": context.wanted.webhook, "basicAuthUsername": context.wanted.webhook_username,
                "basicAuthPassword": "{webhook_password}", "messagesToSend": "none",
                "detailedMessagesToSend": "none",
            },
        })
    }

    fn url(context: &Context, tail: &str) -> String {
        format!("{}/_apis/hooks/subscriptions{tail}?api-version=7.1", context.wanted.main())
    }
}

impl Step for Hook {
    fn id(&self) -> String {
        format!("hook.{}", self.0.0)
    }

    fn title(&self, context: &Context) -> String {
        format!("Service hook {} to {}", self.0.0, context.wanted.webhook.as_deref().unwrap_or_default())
    }

    fn look(&self, context: &Context) -> Request {
        Request::azure_devops("GET", Self::url(context, ""), None)
    }

    fn read(&self, context: &mut Context, answer: &Answer) -> Result<Found, Problem> {
        let (event, version, _) = *self.0;
        let address = context.wanted.webhook.as_deref().unwrap_or_default();
        let project = context.known.id("project");
        let at = |one: &Value, path: &str| {
            one.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let fits = |one: &&Value| {
            text(one, "eventType") == event
                && at(one, "/consumerInputs/url").eq_ignore_ascii_case(address)
                && at(one, "/publisherInputs/projectId") == project
        };
        let Some(found) = answer.list().iter().find(fits) else { return Ok(Found::Absent) };
        let digest = context.webhook_digest.clone().unwrap_or_default();
        let well = text(found, "status") == "enabled" && text(found, "resourceVersion") == version;
        if well && context.known.get(&self.id()) == Some(digest.as_str()) {
            return Ok(Found::There);
        }
        let mut body = self.body(context);
        body["status"] = json!("enabled");
        let url = Self::url(context, &format!("/{}", text(found, "id")));
        Ok(Found::Differs(Request::azure_devops("PUT", url, Some(body))))
    }

    fn make(&self, context: &Context) -> Option<Request> {
        Some(Request::azure_devops("POST", Self::url(context, ""), Some(self.body(context))))
    }

    /// The password cannot be read back, so its digest is remembered.
    fn made(&self, context: &mut Context, _answer: &Answer) -> Result<(), Problem> {
        let digest = context.webhook_digest.clone().unwrap_or_default();
        context.known.set(&self.id(), &digest);
        Ok(())
    }

    fn doubles(&self) -> bool {
        true
    }
}

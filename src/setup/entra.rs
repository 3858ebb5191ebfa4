//! The steps in Entra: blueprint, principal, credential, agent identity, agent user (SETUP.md §3).

use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::request::{Answer, Request, segment, text};
use super::{Context, Credential, Found, Known, Problem, Step, Wanted};

/// The audience of federated tokens (TOKENS.md §0).
const EXCHANGE_AUDIENCE: &str = "api://AzureADTokenExchange";
/// The scope by which people let the agent act on their behalf.
const SCOPE: &str = "access_as_user";
/// A secret with less than this left is replaced.
const RENEW_BEFORE: SignedDuration = SignedDuration::from_hours(24 * 14);

/// The steps for what is wanted.
pub(super) fn steps(wanted: &Wanted) -> Vec<Box<dyn Step>> {
    let mut all: Vec<Box<dyn Step>> = Vec::new();
    all.push(Box::new(Person { key: "sponsor", named: wanted.sponsor.clone() }));
    all.push(Box::new(Person { key: "owner", named: wanted.owner.clone().or(wanted.sponsor.clone()) }));
    all.push(Box::new(Blueprint));
    all.push(Box::new(Principal));
    all.push(match &wanted.credential {
        Credential::Secret { days } => Box::new(ClientSecret { days: *days }),
        Credential::ManagedIdentity { principal } => Box::new(Federated {
            name: format!("ado-coworker-{}", principal.split('-').next().unwrap_or_default()),
            issuer: format!("https://login.microsoftonline.com/{}/v2.0", wanted.tenant),
            subject: principal.clone(),
        }),
        Credential::Kubernetes { issuer, namespace, service_account } => Box::new(Federated {
            name: format!("{namespace}-{service_account}"),
            issuer: issuer.clone(),
            subject: format!("system:serviceaccount:{namespace}:{service_account}"),
        }),
    });
    all.push(Box::new(Exposed));
    all.push(Box::new(AgentIdentity));
    all.push(Box::new(AgentUser));
    all.extend(super::grants::steps(wanted));
    all
}

pub(super) fn graph(context: &Context, version: &str, path: &str) -> String {
    format!("{}/{version}/{path}", context.wanted.graph)
}

/// `property eq 'value'` as a query.
pub(super) fn filter(property: &str, value: &str) -> String {
    let value = value.replace('\'', "''");
    let value = segment(&value);
    format!("$filter={property}%20eq%20%27{value}%27")
}

fn people(context: &Context, key: &str) -> Value {
    json!([format!("{}/v1.0/users/{}", context.wanted.graph, context.known.id(key))])
}

/// The one object of a list with this display name.
fn only<'a>(answer: &'a Answer, name: &str, what: &str) -> Result<Option<&'a Value>, Problem> {
    let mut fits = answer.list().iter().filter(|one| text(one, "displayName") == name);
    match (fits.next(), fits.next()) {
        (found, None) => Ok(found),
        _ => Err(Problem::Ambiguous { what: what.to_owned(), name: name.to_owned() }),
    }
}

/// Who answers for the agent, and who administers it: people that are there already.
struct Person {
    key: &'static str,
    named: Option<String>,
}

impl Step for Person {
    fn id(&self) -> String {
        self.key.into()
    }

    fn title(&self, _context: &Context) -> String {
        let who = self.named.as_deref().unwrap_or("who is signed in");
        format!("The {}: {who}", self.key)
    }

    fn look(&self, context: &Context) -> Request {
        let path = self.named.as_ref().map_or("me".to_owned(), |name| format!("users/{}", segment(name)));
        Request::graph("GET", graph(context, "v1.0", &path), None)
    }

    fn read(&self, context: &mut Context, answer: &Answer) -> Result<Found, Problem> {
        if answer.status == 404 {
            return Ok(Found::Absent);
        }
        context.known.set(self.key, answer.text("id"));
        Ok(Found::There)
    }
}

struct Blueprint;

impl Step for Blueprint {
    fn id(&self) -> String {
        "blueprint".into()
    }

    fn title(&self, context: &Context) -> String {
        format!("Agent identity blueprint '{}'", context.wanted.blueprint)
    }

    fn look(&self, context: &Context) -> Request {
        let url = match context.known.get("blueprint") {
            Some(id) => graph(context, "beta", &format!("applications/{id}")),
            None => {
                let filter = filter("displayName", &context.wanted.blueprint);
                graph(
                    context,
                    "beta",
                    &format!("applications/microsoft.graph.agentIdentityBlueprint?{filter}"),
                )
            }
        };
        Request::graph("GET", url, None)
    }

    fn read(&self, context: &mut Context, answer: &Answer) -> Result<Found, Problem> {
        if context.known.get("blueprint").is_some() {
            return Ok(if answer.status == 404 { Found::Absent } else { Found::There });
        }
        let name = context.wanted.blueprint.clone();
        let found = only(answer, &name, "blueprint")?.map(|one| text(one, "appId").to_owned());
        let Some(id) = found else { return Ok(Found::Absent) };
        context.known.set("blueprint", &id);
        Ok(Found::There)
    }

    fn make(&self, context: &Context) -> Option<Request> {
        let body = json!({
            "@odata.type": "Microsoft.Graph.AgentIdentityBlueprint",
            "displayName": context.wanted.blueprint,
            "sponsors@odata.bind": people(context, "sponsor"),
            "owners@odata.bind": people(context, "owner"),
        });
        Some(Request::graph("POST", graph(context, "beta", "applications"), Some(body)))
    }

    fn made(&self, context: &mut Context, answer: &Answer) -> Result<(), Problem> {
        context.known.set("blueprint", answer.text("appId"));
        Ok(())
    }

    fn doubles(&self) -> bool {
        true
    }
}

struct Principal;

impl Step for Principal {
    fn id(&self) -> String {
        "blueprint_principal".into()
    }

    fn title(&self, _context: &Context) -> String {
        "The blueprint's principal in this tenant".into()
    }

    fn look(&self, context: &Context) -> Request {
        let filter = filter("appId", &context.known.id("blueprint"));
        Request::graph("GET", graph(context, "v1.0", &format!("servicePrincipals?{filter}")), None)
    }

    fn read(&self, context: &mut Context, answer: &Answer) -> Result<Found, Problem> {
        let Some(found) = answer.list().first() else { return Ok(Found::Absent) };
        context.known.set("blueprint_principal", text(found, "id"));
        Ok(Found::There)
    }

    fn make(&self, context: &Context) -> Option<Request> {
        let url = graph(context, "beta", "servicePrincipals/graph.agentIdentityBlueprintPrincipal");
        Some(Request::graph("POST", url, Some(json!({"appId": context.known.id("blueprint")}))))
    }
}

struct ClientSecret {
    days: u16,
}

impl ClientSecret {
    fn url(context: &Context, tail: &str) -> String {
        graph(context, "beta", &format!("applications/{}{tail}", context.known.id("blueprint")))
    }
}

impl Step for ClientSecret {
    fn id(&self) -> String {
        "secret".into()
    }

    fn title(&self, _context: &Context) -> String {
        format!("A client secret of the blueprint, for {} days (development)", self.days)
    }

    fn look(&self, context: &Context) -> Request {
        Request::graph("GET", Self::url(context, ""), None)
    }

    fn read(&self, context: &mut Context, answer: &Answer) -> Result<Found, Problem> {
        let all = answer.body.get("passwordCredentials").and_then(Value::as_array);
        let all = all.map(Vec::as_slice).unwrap_or_default();
        let on_disk = context.secret_on_disk.as_deref();
        let own = all.iter().find(|one| on_disk == Some(text(one, "keyId")));
        let ends = own.and_then(|one| text(one, "endDateTime").parse::<Timestamp>().ok());
        if ends.is_some_and(|ends| ends.duration_since(context.now) > RENEW_BEFORE) {
            return Ok(Found::There);
        }
        // One whose answer was lost: nobody has it, and nobody will.
        let lost = context.known.get("secret_name").filter(|_| own.is_none());
        let lost = lost.and_then(|name| all.iter().find(|one| text(one, "displayName") == name));
        if let Some(lost) = lost.filter(|_| context.fresh_secret.is_none()) {
            let body = json!({"keyId": text(lost, "keyId")});
            let url = Self::url(context, "/removePassword");
            return Ok(Found::Differs(Request::graph("POST", url, Some(body))));
        }
        // The one that is made now is known by its name, should its answer be lost.
        if context.known.get("secret_name").is_none() && context.fresh_secret.is_none() {
            let mark = uuid::Uuid::new_v4().simple().to_string();
            let name = format!("{} {}", context.wanted.agent, mark.get(..8).unwrap_or_default());
            context.known.set("secret_name", &name);
        }
        Ok(Found::Absent)
    }

    fn make(&self, context: &Context) -> Option<Request> {
        let ends = context.now.checked_add(SignedDuration::from_hours(24 * i64::from(self.days)));
        let ends = ends.unwrap_or(context.now).strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let name = context.known.get("secret_name").unwrap_or(&context.wanted.agent);
        let body = json!({"passwordCredential": {"displayName": name, "endDateTime": ends}});
        Some(Request::graph("POST", Self::url(context, "/addPassword"), Some(body)))
    }

    fn made(&self, context: &mut Context, answer: &Answer) -> Result<(), Problem> {
        let (id, secret) = (answer.text("keyId").to_owned(), answer.text("secretText").to_owned());
        if id.is_empty() || secret.is_empty() {
            return Err(Problem::Unreadable("the answer to addPassword has no secret in it".into()));
        }
        context.known.forget("secret_name");
        context.secret_on_disk = Some(id.clone());
        context.fresh_secret = Some((id, SecretString::from(secret)));
        Ok(())
    }

    fn doubles(&self) -> bool {
        true
    }
}

struct Federated {
    name: String,
    issuer: String,
    subject: String,
}

impl Federated {
    fn url(context: &Context) -> String {
        let id = context.known.id("blueprint");
        graph(
            context,
            "beta",
            &format!("applications/{id}/microsoft.graph.agentIdentityBlueprint/federatedIdentityCredentials"),
        )
    }
}

impl Step for Federated {
    fn id(&self) -> String {
        "federated_credential".into()
    }

    fn title(&self, _context: &Context) -> String {
        format!("A federated credential of the blueprint for {}", self.subject)
    }

    fn look(&self, context: &Context) -> Request {
        Request::graph("GET", Self::url(context), None)
    }

    fn read(&self, _context: &mut Context, answer: &Answer) -> Result<Found, Problem> {
        let fits = |one: &Value| text(one, "issuer") == self.issuer && text(one, "subject") == self.subject;
        Ok(if answer.list().iter().any(fits) { Found::There } else { Found::Absent })
    }

    fn make(&self, context: &Context) -> Option<Request> {
        let body = json!({
            "name": self.name, "issuer": self.issuer, "subject": self.subject,
            "audiences": [EXCHANGE_AUDIENCE], "description": "ado-coworker's auth sidecar",
        });
        Some(Request::graph("POST", Self::url(context), Some(body)))
    }
}

/// The blueprint as a resource, so that people can let the agent act on their behalf.
struct Exposed;

impl Exposed {
    fn url(context: &Context) -> String {
        graph(context, "beta", &format!("applications/{}", context.known.id("blueprint")))
    }
}

impl Step for Exposed {
    fn id(&self) -> String {
        "blueprint_scope".into()
    }

    fn title(&self, _context: &Context) -> String {
        format!("The blueprint's scope {SCOPE}, for reads on behalf of people")
    }

    fn look(&self, context: &Context) -> Request {
        Request::graph("GET", Self::url(context), None)
    }

    fn read(&self, context: &mut Context, answer: &Answer) -> Result<Found, Problem> {
        let uri = format!("api://{}", context.known.id("blueprint"));
        let uris = answer.body.get("identifierUris").and_then(Value::as_array);
        let named = uris.is_some_and(|all| all.iter().any(|one| *one == uri));
        let scopes = answer.body.pointer("/api/oauth2PermissionScopes").and_then(Value::as_array);
        let scopes = scopes.is_some_and(|all| all.iter().any(|one| text(one, "value") == SCOPE));
        Ok(if named && scopes { Found::There } else { Found::Absent })
    }

    fn make(&self, context: &Context) -> Option<Request> {
        let body = json!({
            "identifierUris": [format!("api://{}", context.known.id("blueprint"))],
            "api": {"requestedAccessTokenVersion": 2, "oauth2PermissionScopes": [{
                "id": scope_id(&context.known), "value": SCOPE, "type": "User", "isEnabled": true,
                "adminConsentDisplayName": "Let the co-worker act for you",
                "adminConsentDescription": "Lets the co-worker read on behalf of the signed-in person.",
                "userConsentDisplayName": "Let the co-worker act for you",
                "userConsentDescription": "Lets the co-worker read on your behalf.",
            }]},
        });
        Some(Request::graph("PATCH", Self::url(context), Some(body)))
    }
}

/// The id of the scope: the same for the same blueprint, so that a second attempt makes no second.
fn scope_id(known: &Known) -> String {
    let seed = format!("{SCOPE} of {}", known.id("blueprint"));
    let hash = <sha2::Sha256 as sha2::Digest>::digest(seed.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}

struct AgentIdentity;

impl Step for AgentIdentity {
    fn id(&self) -> String {
        "agent_identity".into()
    }

    fn title(&self, context: &Context) -> String {
        format!("Agent identity '{}'", context.wanted.agent)
    }

    fn look(&self, context: &Context) -> Request {
        let url = match context.known.get("agent_identity") {
            Some(id) => graph(context, "beta", &format!("servicePrincipals/{id}")),
            None => {
                let filter = filter("displayName", &context.wanted.agent);
                graph(context, "beta", &format!("servicePrincipals/microsoft.graph.agentIdentity?{filter}"))
            }
        };
        Request::graph("GET", url, None)
    }

    fn read(&self, context: &mut Context, answer: &Answer) -> Result<Found, Problem> {
        if context.known.get("agent_identity").is_some() {
            return Ok(if answer.status == 404 { Found::Absent } else { Found::There });
        }
        let blueprint = context.known.id("blueprint");
        let own: Vec<Value> = answer
            .list()
            .iter()
            .filter(|one| text(one, "agentIdentityBlueprintId") == blueprint)
            .cloned()
            .collect();
        let own = Answer { status: answer.status, body: json!({"value": own}) };
        let name = context.wanted.agent.clone();
        let Some(found) = only(&own, &name, "agent identity")? else { return Ok(Found::Absent) };
        context.known.set("agent_identity", text(found, "id"));
        Ok(Found::There)
    }

    fn make(&self, context: &Context) -> Option<Request> {
        let body = json!({
            "displayName": context.wanted.agent,
            "agentIdentityBlueprintId": context.known.id("blueprint"),
            "sponsors@odata.bind": people(context, "sponsor"),
            "owners@odata.bind": people(context, "owner"),
        });
        let url = graph(context, "beta", "servicePrincipals/Microsoft.Graph.AgentIdentity");
        Some(Request::graph("POST", url, Some(body)))
    }

    fn made(&self, context: &mut Context, answer: &Answer) -> Result<(), Problem> {
        context.known.set("agent_identity", answer.text("id"));
        Ok(())
    }

    fn doubles(&self) -> bool {
        true
    }
}

struct AgentUser;

impl Step for AgentUser {
    fn id(&self) -> String {
        "agent_user".into()
    }

    fn title(&self, context: &Context) -> String {
        format!("Agent user {}", context.wanted.user)
    }

    fn look(&self, context: &Context) -> Request {
        Request::graph(
            "GET",
            graph(context, "beta", &format!("users/{}", segment(&context.wanted.user))),
            None,
        )
    }

    fn read(&self, context: &mut Context, answer: &Answer) -> Result<Found, Problem> {
        if answer.status == 404 {
            return Ok(Found::Absent);
        }
        if answer.text("identityParentId") != context.known.id("agent_identity") {
            return Err(Problem::Taken { name: context.wanted.user.clone() });
        }
        context.known.set("agent_user", answer.text("id"));
        Ok(Found::There)
    }

    fn make(&self, context: &Context) -> Option<Request> {
        let nickname = context.wanted.user.split('@').next().unwrap_or_default();
        let body = json!({
            "@odata.type": "microsoft.graph.agentUser",
            "displayName": context.wanted.agent,
            "userPrincipalName": context.wanted.user,
            "mailNickname": nickname,
            "accountEnabled": true,
            "identityParentId": context.known.id("agent_identity"),
        });
        Some(Request::graph("POST", graph(context, "beta", "users"), Some(body)))
    }
}

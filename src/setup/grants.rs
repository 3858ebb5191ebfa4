//! The delegated grants: the step that is missed most often (SETUP.md §3.8, §3.9).

use serde_json::{Value, json};

use super::entra::{filter, graph};
use super::request::{Answer, Request, text};
use super::{Context, Found, Problem, Step, Wanted};

/// A resource that the agent user gets tokens for.
struct Resource {
    /// Name of its principal's id among what is known.
    key: &'static str,
    title: &'static str,
    app_id: &'static str,
    scopes: &'static str,
}

const AZURE_DEVOPS: Resource = Resource {
    key: "azure_devops_principal",
    title: "Azure DevOps",
    app_id: "499b84ac-1321-427f-aa17-267ca6975798",
    scopes: "user_impersonation",
};
const GRAPH: Resource = Resource {
    key: "graph_principal",
    title: "Microsoft Graph (to sign in)",
    app_id: "00000003-0000-0000-c000-000000000000",
    scopes: "openid profile offline_access email User.Read",
};
const MODEL: Resource = Resource {
    key: "model_principal",
    title: "Azure OpenAI",
    app_id: "7d312290-28c8-473c-a0ed-8e53749b6d6d",
    scopes: "user_impersonation",
};

/// The steps for what is wanted.
pub(super) fn steps(wanted: &Wanted) -> Vec<Box<dyn Step>> {
    let resources = [Some(&AZURE_DEVOPS), Some(&GRAPH), wanted.model.then_some(&MODEL)];
    let mut all: Vec<Box<dyn Step>> = Vec::new();
    for resource in resources.into_iter().flatten() {
        all.push(Box::new(ResourcePrincipal(resource)));
        all.push(Box::new(Grant(resource)));
    }
    all
}

/// A resource's principal; Azure DevOps has none in a tenant that never used it.
struct ResourcePrincipal(&'static Resource);

impl Step for ResourcePrincipal {
    fn id(&self) -> String {
        self.0.key.into()
    }

    fn title(&self, _context: &Context) -> String {
        format!("{} in this tenant", self.0.title)
    }

    fn look(&self, context: &Context) -> Request {
        let filter = filter("appId", self.0.app_id);
        Request::graph("GET", graph(context, "v1.0", &format!("servicePrincipals?{filter}")), None)
    }

    fn read(&self, context: &mut Context, answer: &Answer) -> Result<Found, Problem> {
        let Some(found) = answer.list().first() else { return Ok(Found::Absent) };
        context.known.set(self.0.key, text(found, "id"));
        Ok(Found::There)
    }

    fn make(&self, context: &Context) -> Option<Request> {
        let url = graph(context, "v1.0", "servicePrincipals");
        Some(Request::graph("POST", url, Some(json!({"appId": self.0.app_id}))))
    }
}

/// The grant that is missed most often: for the agent identity, for this one user.
struct Grant(&'static Resource);

impl Step for Grant {
    fn id(&self) -> String {
        self.0.key.replace("_principal", "_grant")
    }

    fn title(&self, _context: &Context) -> String {
        format!("Grant of {} on {}, for the agent user only", self.0.scopes, self.0.title)
    }

    fn look(&self, context: &Context) -> Request {
        let filter = filter("clientId", &context.known.id("agent_identity"));
        Request::graph("GET", graph(context, "v1.0", &format!("oauth2PermissionGrants?{filter}")), None)
    }

    fn read(&self, context: &mut Context, answer: &Answer) -> Result<Found, Problem> {
        let (user, resource) = (context.known.id("agent_user"), context.known.id(self.0.key));
        let fits = |one: &&Value| text(one, "principalId") == user && text(one, "resourceId") == resource;
        let Some(found) = answer.list().iter().find(fits) else { return Ok(Found::Absent) };
        let has: Vec<&str> = text(found, "scope").split_whitespace().collect();
        let lacks: Vec<&str> = self.0.scopes.split(' ').filter(|one| !has.contains(one)).collect();
        if lacks.is_empty() {
            return Ok(Found::There);
        }
        let scope = [has, lacks].concat().join(" ");
        let url = graph(context, "v1.0", &format!("oauth2PermissionGrants/{}", text(found, "id")));
        Ok(Found::Differs(Request::graph("PATCH", url, Some(json!({"scope": scope})))))
    }

    fn make(&self, context: &Context) -> Option<Request> {
        let body = json!({
            "clientId": context.known.id("agent_identity"),
            "consentType": "Principal",
            "principalId": context.known.id("agent_user"),
            "resourceId": context.known.id(self.0.key),
            "scope": self.0.scopes,
        });
        Some(Request::graph("POST", graph(context, "v1.0", "oauth2PermissionGrants"), Some(body)))
    }
}

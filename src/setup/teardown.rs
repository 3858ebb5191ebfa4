//! Takes a co-worker away again, in the order in which nothing is left that could act (SETUP.md §6):
//! first it is stopped, then it loses its grants, its place in Azure DevOps, and itself.

use serde_json::{Value, json};

use super::azure_devops;
use super::engine::Setup;
use super::request::{Request, text};
use super::session::{Problem, Session};

/// One removal.
pub struct Removal {
    /// What it takes away.
    pub title: String,
    /// The request.
    pub request: Request,
}

impl Setup {
    /// Everything that would be taken away, by reading only.
    ///
    /// # Errors
    /// [`Problem`].
    pub async fn removals(&mut self, session: &mut Session) -> Result<Vec<Removal>, Problem> {
        self.look_around(session).await?;
        let context = &self.context;
        let known = |name: &str| context.known.get(name);
        let graph = |method, path: String, body| {
            Request::graph(method, format!("{}/{path}", context.wanted.graph), body)
        };
        let mut all: Vec<(String, Request)> = Vec::new();
        let off = || Some(json!({"accountEnabled": false}));
        if let Some(id) = known("agent_identity") {
            let request = graph("PATCH", format!("beta/servicePrincipals/{id}"), off());
            all.push(("Stop the agent identity".into(), request));
        }
        if let Some(id) = known("agent_user") {
            all.push(("Stop the agent user".into(), graph("PATCH", format!("beta/users/{id}"), off())));
        }
        if let Some(id) = known("agent_identity") {
            let path = format!("v1.0/oauth2PermissionGrants?$filter=clientId%20eq%20%27{id}%27");
            for grant in session.send(&graph("GET", path, None)).await?.list() {
                let path = format!("v1.0/oauth2PermissionGrants/{}", text(grant, "id"));
                all.push((format!("Grant of {}", text(grant, "scope")), graph("DELETE", path, None)));
            }
        }
        all.extend(azure_devops::removals(context, session).await?);
        if let Some(id) = known("agent_user") {
            all.push(("The agent user".into(), graph("DELETE", format!("beta/users/{id}"), None)));
        }
        if let Some(id) = known("agent_identity") {
            let request = graph("DELETE", format!("beta/servicePrincipals/{id}"), None);
            all.push(("The agent identity".into(), request));
        }
        all.extend(self.family(session).await?);
        Ok(all.into_iter().map(|(title, request)| Removal { title, request }).collect())
    }

    /// The blueprint, when no other agent is left under it; else only the secret of this set-up.
    async fn family(&self, session: &mut Session) -> Result<Vec<(String, Request)>, Problem> {
        let context = &self.context;
        let Some(blueprint) = context.known.get("blueprint") else { return Ok(Vec::new()) };
        let graph = |method, path: String, body| {
            Request::graph(method, format!("{}/{path}", context.wanted.graph), body)
        };
        let own = context.known.get("agent_identity");
        let path = "beta/servicePrincipals/microsoft.graph.agentIdentity".to_owned();
        let children = session.send(&graph("GET", path, None)).await?;
        let others = children
            .list()
            .iter()
            .any(|one| text(one, "agentIdentityBlueprintId") == blueprint && Some(text(one, "id")) != own);
        let application = format!("beta/applications/{blueprint}");
        let found = session.send(&graph("GET", application.clone(), None)).await?;
        let secrets = found.body.get("passwordCredentials").and_then(Value::as_array).cloned();
        let mut all = Vec::new();
        for secret in secrets.unwrap_or_default() {
            let id = text(&secret, "keyId");
            if !others || context.secret_on_disk.as_deref() == Some(id) {
                let path = format!("{application}/removePassword");
                let title = format!("Secret '{}' of the blueprint", text(&secret, "displayName"));
                all.push((title, graph("POST", path, Some(json!({"keyId": id})))));
            }
        }
        if others || found.status == 404 {
            return Ok(all);
        }
        if let Some(id) = context.known.get("blueprint_principal") {
            let request = graph("DELETE", format!("beta/servicePrincipals/{id}"), None);
            all.push(("The blueprint's principal".into(), request));
        }
        let request = graph("DELETE", format!("v1.0/applications/{blueprint}"), None);
        all.push(("The blueprint, which has no other agent".into(), request));
        Ok(all)
    }

    /// Sends the removals; what is gone already is fine. Then the secrets in the folder go too.
    ///
    /// # Errors
    /// [`Problem`]; run again, it goes on with what is left.
    pub async fn teardown(
        &self,
        session: &mut Session,
        removals: &[Removal],
        tell: &mut (dyn FnMut(&Removal) + Send),
    ) -> Result<(), Problem> {
        for removal in removals {
            match session.send(&removal.request).await {
                Ok(_) => tell(removal),
                // A secret that is gone already is refused, not missed.
                Err(Problem::Refused { status: 400, .. })
                    if removal.request.url.ends_with("/removePassword") =>
                {
                    tell(removal);
                }
                Err(problem) => return Err(problem),
            }
        }
        self.folder.clear()
    }
}

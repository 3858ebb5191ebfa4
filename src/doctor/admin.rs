//! What only an administrator can read: the identity's objects, grants, credentials and policies in
//! Entra. Read from Graph with the administrator's own token; nothing is changed.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use super::{Check, Findings, Line};
use crate::config::{AgentUser, Config};
use crate::http::{plain, read_body, reason};

/// What is asked of Graph, delegated, all of it for reading.
pub const PERMISSIONS: &[&str] = &["Directory.Read.All", "Policy.Read.All"];
/// Longest time for one answer.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Largest answer, in bytes.
const MAX_ANSWER_BYTES: usize = 8 * 1024 * 1024;
/// A secret that ends sooner is worth a louder word.
const SOON: SignedDuration = SignedDuration::from_hours(24 * 14);
/// Azure DevOps as a resource.
const AZURE_DEVOPS: &str = "499b84ac-1321-427f-aa17-267ca6975798";
/// What it must grant.
const SCOPE: &str = "user_impersonation";

const IDENTITY: Line = ("admin.agent_identity", "Agent identity in Entra");
const BLUEPRINT: Line = ("admin.blueprint", "Blueprint in Entra");
const USER: Line = ("admin.agent_user", "Agent user in Entra");
const PEOPLE: Line = ("admin.people", "Owner and sponsor");
const GRANTS: Line = ("admin.grants", "Grants");
const ALL_PRINCIPALS: Line = ("admin.all_principals", "Grants for everybody");
const SECRETS: Line = ("admin.blueprint_secrets", "Secrets of the blueprint");
const FEDERATED: Line = ("admin.federated_credentials", "Federated credentials");
const POLICIES: Line = ("admin.conditional_access", "Conditional access");
const LINES: &[Line] =
    &[IDENTITY, BLUEPRINT, USER, PEOPLE, GRANTS, ALL_PRINCIPALS, SECRETS, FEDERATED, POLICIES];

/// An administrator's view of one tenant.
pub struct Administrator<'a> {
    /// The co-worker.
    pub config: &'a Config,
    /// The one HTTP client.
    pub http: reqwest::Client,
    /// Graph's address, without a slash at the end.
    pub graph: String,
    /// The administrator's token for Graph.
    pub token: SecretString,
    /// Now.
    pub now: Timestamp,
}

impl Administrator<'_> {
    /// Every check, in order.
    pub async fn examine(&self) -> Vec<Check> {
        let mut findings = Findings::default();
        if let Err((line, problem)) = self.look(&mut findings).await {
            let remedy = "The administrator needs a role that reads the directory, and the application of \
                          SETUP_CLIENT_ID the permissions Directory.Read.All and Policy.Read.All.";
            findings.fail(line, problem, remedy);
        }
        findings.skip_missing(LINES, "An earlier answer is missing.");
        findings.in_order(LINES)
    }

    /// One read; none when there is no such object.
    async fn get(&self, path: &str) -> Result<Option<Value>, String> {
        let asked = self.http.get(format!("{}/{path}", self.graph)).timeout(TIMEOUT);
        let asked = asked.bearer_auth(self.token.expose_secret()).header("OData-Version", "4.0").send().await;
        let answer = asked.map_err(|error| format!("Graph does not answer: {}.", reason(error)))?;
        let status = answer.status().as_u16();
        let body = read_body(answer, MAX_ANSWER_BYTES).await.map_err(|error| format!("{error}."))?;
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        match status {
            200 => Ok(Some(body)),
            404 => Ok(None),
            _ => {
                let words = body.pointer("/error/message").and_then(Value::as_str).unwrap_or_default();
                let path = path.split('?').next().unwrap_or_default();
                Err(format!("Graph answers {status} to {path}: {}", plain(words, 300)))
            }
        }
    }

    async fn look(&self, findings: &mut Findings) -> Result<(), (Line, String)> {
        let id = &self.config.identity.agent_identity_id;
        let at = |line: Line| move |problem: String| (line, problem);
        let agent = self.get(&format!("beta/servicePrincipals/{id}")).await.map_err(at(IDENTITY))?;
        let Some(agent) = agent else {
            findings.fail(
                IDENTITY,
                format!("There is no agent identity {id} in this tenant (AADSTS700016)."),
                "Check AGENT_IDENTITY_ID and AZURE_TENANT_ID, or run `ado-coworker setup apply`.",
            );
            return Ok(());
        };
        match agent["accountEnabled"] == Value::Bool(false) {
            true => findings.fail(
                IDENTITY,
                "The agent identity is disabled (AADSTS7000112).",
                "Enable it, unless it was stopped on purpose.",
            ),
            false => {
                findings.ok(IDENTITY, format!("'{}' is there and enabled.", text(&agent, "displayName")))
            }
        }
        let blueprint = text(&agent, "agentIdentityBlueprintId").to_owned();
        self.blueprint(findings, &blueprint).await.map_err(at(BLUEPRINT))?;
        let user = self.user(findings, id).await.map_err(at(USER))?;
        self.people(findings, id).await.map_err(at(PEOPLE))?;
        self.grants(findings, id, &user).await.map_err(at(GRANTS))?;
        self.credentials(findings, &blueprint).await.map_err(at(SECRETS))?;
        self.policies(findings, &[id, &blueprint, &user]).await.map_err(at(POLICIES))
    }

    async fn blueprint(&self, findings: &mut Findings, blueprint: &str) -> Result<(), String> {
        let path = format!("v1.0/servicePrincipals?$filter=appId%20eq%20%27{blueprint}%27");
        let found = self.get(&path).await?;
        match list(&found).first() {
            None => findings.fail(
                BLUEPRINT,
                format!("The blueprint {blueprint} has no principal in this tenant (AADSTS700016)."),
                "Run `ado-coworker setup apply`: a blueprint made by Graph has none by itself.",
            ),
            Some(own) if own["accountEnabled"] == Value::Bool(false) => findings.fail(
                BLUEPRINT,
                "The blueprint is disabled, and with it all its agents (AADSTS7000112).",
                "Enable its principal, unless it was stopped on purpose.",
            ),
            Some(_) => findings.ok(BLUEPRINT, format!("{blueprint} has an enabled principal.")),
        }
        Ok(())
    }

    /// The agent user's object id.
    async fn user(&self, findings: &mut Findings, agent: &str) -> Result<String, String> {
        let name = match &self.config.identity.agent_user {
            AgentUser::Username(name) => name.clone(),
            AgentUser::ObjectId(id) => id.to_string(),
        };
        let Some(user) = self.get(&format!("beta/users/{name}")).await? else {
            findings.fail(
                USER,
                format!("There is no user {name} (AADSTS50034)."),
                "Check AGENT_USERNAME, or run `ado-coworker setup apply`.",
            );
            return Ok(String::new());
        };
        if !text(&user, "identityParentId").eq_ignore_ascii_case(agent) {
            findings.fail(
                USER,
                format!("{name} is not the user of this agent identity."),
                "Each agent identity has one agent user of its own; its parent cannot be changed.",
            );
        } else if user["accountEnabled"] == Value::Bool(false) {
            findings.fail(
                USER,
                "The agent user is disabled (AADSTS50057).",
                "Enable it, unless it was stopped.",
            );
        } else {
            findings.ok(USER, format!("{name} is enabled, and a child of the agent identity."));
        }
        Ok(text(&user, "id").to_owned())
    }

    async fn people(&self, findings: &mut Findings, agent: &str) -> Result<(), String> {
        let mut names = Vec::new();
        for kind in ["sponsors", "owners"] {
            let found = self.get(&format!("beta/servicePrincipals/{agent}/{kind}")).await?;
            let all: Vec<String> =
                list(&found).iter().map(|one| text(one, "userPrincipalName").to_owned()).collect();
            if kind == "sponsors" && all.is_empty() {
                findings.warn(
                    PEOPLE,
                    "Nobody answers for the agent: it has no sponsor.",
                    "Name a sponsor in Entra; reviews of access go to them.",
                );
                return Ok(());
            }
            names.push(format!("{kind} {}", if all.is_empty() { "none".into() } else { all.join(", ") }));
        }
        findings.ok(PEOPLE, format!("{}.", names.join("; ")));
        Ok(())
    }

    async fn grants(&self, findings: &mut Findings, agent: &str, user: &str) -> Result<(), String> {
        let path = format!("v1.0/servicePrincipals?$filter=appId%20eq%20%27{AZURE_DEVOPS}%27");
        let resource = self.get(&path).await?;
        let resource = list(&resource).first().map(|one| text(one, "id").to_owned()).unwrap_or_default();
        let found =
            self.get(&format!("v1.0/oauth2PermissionGrants?$filter=clientId%20eq%20%27{agent}%27")).await?;
        let all = list(&found);
        let fits = |one: &&Value| {
            text(one, "resourceId") == resource
                && text(one, "principalId").eq_ignore_ascii_case(user)
                && text(one, "scope").split_whitespace().any(|scope| scope == SCOPE)
        };
        match all.iter().any(|one| fits(&one)) {
            true => findings.ok(GRANTS, format!("{SCOPE} of Azure DevOps, for the agent user only.")),
            false => findings.fail(
                GRANTS,
                "There is no grant of user_impersonation on Azure DevOps for this agent user (AADSTS65001).",
                "Run `ado-coworker setup apply`, or make an oauth2PermissionGrant of consent type Principal on the agent \
                 identity.",
            ),
        }
        let wide: Vec<&str> = all
            .iter()
            .filter(|one| text(one, "consentType") == "AllPrincipals")
            .map(|one| text(one, "scope"))
            .collect();
        match wide.is_empty() {
            true => findings.ok(ALL_PRINCIPALS, "None: each grant is for one user."),
            false => findings.warn(
                ALL_PRINCIPALS,
                format!("The agent identity may act for everybody in the tenant: {}.", wide.join("; ")),
                "Replace the grant of consent type AllPrincipals by one of type Principal for each user.",
            ),
        }
        Ok(())
    }

    async fn credentials(&self, findings: &mut Findings, blueprint: &str) -> Result<(), String> {
        let application = self.get(&format!("beta/applications/{blueprint}")).await?.unwrap_or_default();
        let secrets = application["passwordCredentials"].as_array().map(Vec::as_slice).unwrap_or_default();
        let told: Vec<String> = secrets.iter().map(|one| self.secret(one)).collect();
        match told.is_empty() {
            true => findings.ok(SECRETS, "None."),
            false => findings.warn(
                SECRETS,
                format!("Still in force: {}.", told.join("; ")),
                "A federated credential replaces them: `setup apply --managed-identity` or `--service-account`; then \
                 remove the secrets.",
            ),
        }
        let path = format!("beta/applications/{blueprint}/federatedIdentityCredentials");
        let found = self.get(&path).await?;
        let all = list(&found);
        let wide: Vec<&str> = all.iter().filter(|one| is_wide(one)).map(subject).collect();
        match (all.is_empty(), wide.is_empty()) {
            (true, _) => findings.skip(FEDERATED, "None."),
            (false, true) => {
                let subjects: Vec<&str> = all.iter().map(subject).collect();
                findings.ok(FEDERATED, format!("Each is for one subject: {}.", subjects.join(", ")));
            }
            (false, false) => findings.warn(
                FEDERATED,
                format!("Whoever fits these can speak for the blueprint and all its agents: {}.", wide.join(", ")),
                "Name one service account or one managed identity; not a pattern, and not the account `default`, which \
                 every pod of the namespace has.",
            ),
        }
        Ok(())
    }

    fn secret(&self, one: &Value) -> String {
        let name = plain(text(one, "displayName"), 60);
        let ends = text(one, "endDateTime").parse::<Timestamp>().ok();
        let Some(ends) = ends else { return format!("'{name}'") };
        let day = ends.strftime("%Y-%m-%d");
        let left = ends.duration_since(self.now);
        let word = match left {
            left if left.is_negative() => "has ended",
            left if left < SOON => "ends soon",
            _ => "ends",
        };
        format!("'{name}', which {word} ({day})")
    }

    async fn policies(&self, findings: &mut Findings, ours: &[&str]) -> Result<(), String> {
        let found = self.get("beta/identity/conditionalAccess/policies").await?;
        let mut hit = Vec::new();
        let mut everybody = Vec::new();
        for policy in list(&found).iter().filter(|one| text(one, "state") == "enabled") {
            let named = |pointer: &str| -> Vec<&str> {
                let all =
                    policy.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
                all.iter().filter_map(Value::as_str).collect()
            };
            let controls = named("/grantControls/builtInControls").join(" and ");
            let name = plain(text(policy, "displayName"), 80);
            let agents = named("/conditions/clientApplications/includeAgentIdServicePrincipals");
            let users = named("/conditions/users/includeUsers");
            let excluded = named("/conditions/users/excludeUsers");
            let own = |all: &[&str]| all.iter().any(|one| ours.iter().any(|id| id.eq_ignore_ascii_case(one)));
            if own(&excluded) {
                continue;
            }
            if own(&agents) || own(&users) || agents.contains(&"All") || users.contains(&"AllAgentIdUsers") {
                hit.push(format!("'{name}' ({controls})"));
            } else if users.contains(&"All") {
                everybody.push(format!("'{name}' ({controls})"));
            }
        }
        if !hit.is_empty() {
            findings.fail(
                POLICIES,
                format!(
                    "These concern the agent, which cannot answer a prompt: {} (AADSTS53003, 50076).",
                    hit.join(", ")
                ),
                "A decision of the tenant's: exclude this agent user, or leave the agent stopped.",
            );
        } else if !everybody.is_empty() {
            findings.warn(
                POLICIES,
                format!("These are for all users: {}.", everybody.join(", ")),
                "Exclude the agent user from those that want a prompt or a device, and use a policy for agents instead.",
            );
        } else {
            findings.ok(POLICIES, "No policy in force concerns the agent.");
        }
        Ok(())
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn list(found: &Option<Value>) -> &[Value] {
    let all = found.as_ref().and_then(|one| one.get("value")).and_then(Value::as_array);
    all.map(Vec::as_slice).unwrap_or_default()
}

fn subject(one: &Value) -> &str {
    let own = text(one, "subject");
    if own.is_empty() { text(&one["claimsMatchingExpression"], "value") } else { own }
}

/// Whether more than one workload fits a federated credential.
fn is_wide(one: &Value) -> bool {
    let subject = subject(one);
    subject.contains('*')
        || text(one, "subject").is_empty()
        || (subject.starts_with("system:serviceaccount:") && subject.ends_with(":default"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_subject_is_one_workload() {
        let wide = |one: Value| is_wide(&one);
        assert!(!wide(json!({"subject": "system:serviceaccount:coworker:ado-coworker"})));
        assert!(!wide(json!({"subject": "99999999-eeee-4eee-8eee-999999999999"})));
        assert!(wide(json!({"subject": "system:serviceaccount:coworker:default"})));
        assert!(wide(json!({"subject": "repo:contoso/*"})));
        assert!(wide(
            json!({"subject": null, "claimsMatchingExpression": {"value": "claims['sub'] matches 'x'"}})
        ));
    }
}

//! Service hooks: whether events of the repository reach this co-worker.

use url::Url;

use super::own::is_loopback;
use super::{Bag, Findings, SERVICE_HOOKS, sentence};
use crate::azure_devops::{Project, Repository, Subscription};

/// Security namespace of service hooks, with the bit to see subscriptions.
const NAMESPACE: &str = "cb594ebe-87dd-4fc9-ac2c-6a10a4c92046";
const VIEW: u32 = 1;
/// Where deliveries are taken.
const PATH: &str = "/webhooks/azure-devops";
/// Other types that work follows from.
const OTHERS: [&str; 6] = [
    "git.push",
    "git.pullrequest.created",
    "git.pullrequest.updated",
    "workitem.updated",
    "workitem.commented",
    "build.complete",
];
/// The type that reviews come by, and the form in which it names its thread.
const WANTED: &str = "ms.vss-code.git-pullrequest-comment-event";
const WANTED_VERSION: &str = "2.0";

impl Bag<'_> {
    /// Whether there is a healthy subscription for the address in `PUBLIC_URL`.
    pub(super) async fn service_hooks(
        &self,
        findings: &mut Findings,
        project: &Project,
        repository: Option<&Repository>,
    ) {
        let web = &self.doctor.config.web;
        if web.webhook.is_none() {
            let reason = "WEBHOOK_USERNAME and WEBHOOK_PASSWORD are not set, so no webhook is taken: work comes from the \
                          page and the command line.";
            return findings.skip(SERVICE_HOOKS, reason);
        }
        let Some(public) = &web.public_url else {
            return findings.warn(
                SERVICE_HOOKS,
                "PUBLIC_URL is not set, so it cannot be told which service hooks are meant for this co-worker.",
                "Set PUBLIC_URL to the address that Azure DevOps reaches this process by.",
            );
        };
        let address = format!("{}{PATH}", public.as_str().trim_end_matches('/'));
        let all = match self.azure.subscriptions().await {
            Ok(all) => all,
            Err(error) => {
                let reason = format!("They cannot be listed: {}", sentence(&error.to_string()));
                return findings.warn(SERVICE_HOOKS, reason, by_hand(&address));
            }
        };
        let concerns = |found: &&Subscription| {
            let limited =
                |to: &str, id: Option<&str>| to.is_empty() || id.is_none_or(|id| id.eq_ignore_ascii_case(to));
            found.url.trim_end_matches('/').eq_ignore_ascii_case(&address)
                && limited(&found.project_id, Some(&project.id))
                && limited(&found.repository_id, repository.map(|repository| repository.id.as_str()))
        };
        let ours: Vec<&Subscription> = all.iter().filter(concerns).collect();
        if ours.is_empty() && all.is_empty() && !self.may_see(project).await {
            // Without the right to see them the list is empty, not refused.
            let reason = "The agent user may not see service hooks, so they cannot be checked.";
            return findings.warn(SERVICE_HOOKS, reason, by_hand(&address));
        }
        judge(findings, &ours, &address, public, &self.doctor.config.azure_devops.organization_url);
    }

    async fn may_see(&self, project: &Project) -> bool {
        let token = format!("PublisherSecurity/{}", project.id);
        self.azure.has_permission(NAMESPACE, VIEW, &token).await.unwrap_or(false)
    }
}

fn by_hand(address: &str) -> String {
    format!(
        "In the project's settings, service hooks, look for a web hook 'Pull request commented on' (version 2.0) to \
         {address} that is enabled; or let the agent user view subscriptions."
    )
}

fn judge(findings: &mut Findings, ours: &[&Subscription], address: &str, public: &Url, organization: &Url) {
    let wanted: Vec<&&Subscription> = ours.iter().filter(|found| found.event_type == WANTED).collect();
    let is = |found: &Subscription, status: &str| found.status.eq_ignore_ascii_case(status);
    let active = |found: &Subscription| is(found, "enabled") || is(found, "onProbation");
    if wanted.is_empty() {
        return findings.fail(
            SERVICE_HOOKS,
            format!("No service hook brings comments on pull requests to {address}."),
            "Make a web hook for 'Pull request commented on' (version 2.0) to that address, with the user name and \
             password that are set here.",
        );
    }
    if !wanted.iter().any(|found| active(found)) {
        let status = wanted.first().map(|found| found.status.as_str()).unwrap_or_default();
        return findings.fail(
            SERVICE_HOOKS,
            format!("The service hook for comments on pull requests is switched off ({status})."),
            "Enable it in the project's settings, service hooks; its history there says why it was switched off.",
        );
    }
    if !wanted.iter().any(|found| active(found) && found.resource_version == WANTED_VERSION) {
        return findings.fail(
            SERVICE_HOOKS,
            "The service hook for comments on pull requests sends an old version, which does not name the thread.",
            "Set its resource version to 2.0.",
        );
    }
    if let Some(ill) = ours.iter().find(|found| !is(found, "enabled")) {
        return findings.warn(
            SERVICE_HOOKS,
            format!("The service hook for {} is not well ({}).", ill.event_type, ill.status),
            "Look at its history in the project's settings, service hooks: recent deliveries failed.",
        );
    }
    if organization.scheme() == "https" && is_loopback(public) {
        return findings.warn(
            SERVICE_HOOKS,
            "PUBLIC_URL leads to this machine, where Azure DevOps does not deliver.",
            "Set PUBLIC_URL to an address that Azure DevOps can reach.",
        );
    }
    if public.scheme() == "http" && !is_loopback(public) {
        return findings.warn(
            SERVICE_HOOKS,
            "Deliveries come over http, and with them the webhook password in clear.",
            "Put https in front of this process, and into PUBLIC_URL and the service hooks.",
        );
    }
    let count = ours.len();
    let what = if count == 1 { "One is".to_owned() } else { format!("{count} are") };
    let brought = |kind: &&str| ours.iter().any(|found| found.event_type == *kind);
    let others: Vec<&str> = OTHERS.iter().copied().filter(|kind| !brought(kind)).collect();
    let rest = match others.as_slice() {
        [] => String::new(),
        others => format!(" No hook brings {}: they are found later, by looking.", others.join(", ")),
    };
    findings.ok(SERVICE_HOOKS, format!("{what} enabled for {address}.{rest}"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    fn judged(hooks: &[(&str, &str, &str)], public: &str) -> Status {
        let hooks: Vec<Subscription> = hooks
            .iter()
            .map(|(event, version, status)| Subscription {
                id: String::new(),
                event_type: (*event).into(),
                resource_version: (*version).into(),
                status: (*status).into(),
                url: String::new(),
                project_id: String::new(),
                repository_id: String::new(),
            })
            .collect();
        let organization = Url::parse("https://dev.azure.com/contoso").unwrap();
        let mut findings = Findings::default();
        let all: Vec<&Subscription> = hooks.iter().collect();
        judge(&mut findings, &all, "x", &Url::parse(public).unwrap(), &organization);
        findings.0[0].status
    }

    #[test]
    fn one_healthy_hook_is_needed_and_the_way_to_it_must_be_safe() {
        const HERE: &str = "https://coworker.contoso.com";
        assert_eq!(judged(&[], HERE), Status::Failed);
        assert_eq!(judged(&[("git.push", "1.0", "enabled")], HERE), Status::Failed);
        assert_eq!(judged(&[(WANTED, "2.0", "enabled")], HERE), Status::Ok);
        assert_eq!(judged(&[(WANTED, "1.0", "enabled")], HERE), Status::Failed);
        assert_eq!(judged(&[(WANTED, "2.0", "disabledByInactiveIdentity")], HERE), Status::Failed);
        assert_eq!(judged(&[(WANTED, "2.0", "onProbation")], HERE), Status::Warning);
        let beside = [(WANTED, "2.0", "enabled"), ("git.push", "1.0", "disabledBySystem")];
        assert_eq!(judged(&beside, HERE), Status::Warning);
        assert_eq!(judged(&[(WANTED, "2.0", "enabled")], "http://localhost:4192"), Status::Warning);
        assert_eq!(judged(&[(WANTED, "2.0", "enabled")], "http://coworker.contoso.com"), Status::Warning);
    }
}

//! The sidecar and the token: whether it is there, of which kind, and whose token it gives.

use jiff::{SignedDuration, Timestamp};

use super::{AZURE_DEVOPS, Bag, CLOCK, FAMILY, Findings, GATES, SIDECAR, TOKEN, sentence};
use crate::azure_devops::Reached;
use crate::identity::{Audience, Examined, Fallback, Family, IdentityError, Who};

/// A difference between clocks that is normal: answers carry whole seconds and take a while.
const NORMAL_SKEW: SignedDuration = SignedDuration::from_secs(30);
/// A difference that validators of tokens no longer accept (TOKENS.md §5).
const WORST_SKEW: SignedDuration = SignedDuration::from_secs(300);
/// The permission without which a token is of no use at Azure DevOps (TOKENS.md §0).
const SCOPE: &str = "user_impersonation";

/// What the sidecar's side told.
#[derive(Default)]
pub(super) struct Known {
    /// A token that would be used came.
    pub(super) token: bool,
    /// The tenant of that token.
    pub(super) tenant_id: Option<String>,
    issued_at: Option<Timestamp>,
    /// The sidecar's clock, and ours when it was asked.
    sidecar_date: Option<(Timestamp, Timestamp)>,
}

impl Bag<'_> {
    /// Sidecar, family, gates, token.
    pub(super) async fn sidecar(&self, findings: &mut Findings) -> Known {
        let mut known = Known::default();
        let address = self.doctor.config.identity.sidecar_url.origin().ascii_serialization();
        match self.identity.sidecar().await {
            Ok(sidecar) => {
                findings.ok(SIDECAR, format!("It is well at {address}."));
                family(findings, sidecar.family);
                known.sidecar_date = sidecar.date.map(|date| (date, self.doctor.clock.now()));
            }
            Err(error) => {
                let remedy = error.remedy();
                findings.fail(SIDECAR, sentence(&error.to_string()), remedy);
                let reason = "The sidecar cannot be used.";
                findings.skip_missing(&[FAMILY, GATES, TOKEN], reason);
                return known;
            }
        }
        match self.identity.examine(Audience::AzureDevOps).await {
            Ok(examined) => {
                known.issued_at = examined.issued_at;
                match &examined.who {
                    Ok(who) => {
                        known.token = true;
                        known.tenant_id = who.tenant_id.clone();
                        findings.ok(GATES, "The sidecar honours the agent identity and its user.");
                        good(findings, who, &examined);
                    }
                    Err(error) => not_ours(findings, error),
                }
            }
            Err(error @ IdentityError::ParametersIgnored) => not_ours(findings, &error),
            Err(error) => {
                findings.skip(GATES, "It cannot be told: no token came.");
                findings.fail(TOKEN, sentence(&error.to_string()), error.remedy());
            }
        }
        known
    }

    /// Whether the organisation is there.
    pub(super) async fn reach(&self, findings: &mut Findings) -> Option<(Reached, Timestamp)> {
        let url = &self.doctor.config.azure_devops.organization_url;
        let host = url.origin().ascii_serialization();
        match self.azure.reach().await {
            Ok(reached) => {
                findings.ok(AZURE_DEVOPS, format!("{host} answers."));
                Some((reached, self.doctor.clock.now()))
            }
            Err(error) => {
                findings.refused(AZURE_DEVOPS, &error);
                None
            }
        }
    }

    /// Our clock against those of the others.
    pub(super) fn compare_clocks(
        &self,
        findings: &mut Findings,
        known: &Known,
        reached: Option<&(Reached, Timestamp)>,
    ) {
        let azure = reached.and_then(|(reached, seen)| Some((reached.date?, *seen)));
        let now = self.doctor.clock.now();
        // A token may be old, and is often dated back; only one from the future tells something.
        let issued = known.issued_at.filter(|issued| *issued > now).map(|issued| (issued, now));
        let apart = [("the sidecar", known.sidecar_date), ("Azure DevOps", azure), ("Entra", issued)];
        let apart = apart.into_iter().filter_map(|(who, dates)| {
            let (theirs, ours) = dates?;
            Some((who, ours.duration_since(theirs)))
        });
        let Some((who, skew)) = apart.max_by_key(|(_, skew)| skew.abs()) else {
            return findings.skip(CLOCK, "Nobody told the time.");
        };
        let seconds = skew.abs().as_secs();
        if skew.abs() <= NORMAL_SKEW {
            return findings.ok(CLOCK, "It agrees with the others'.");
        }
        let side = if skew.is_positive() { "ahead of" } else { "behind" };
        let reason = format!("This machine's clock is {seconds} s {side} that of {who}.");
        let remedy = "Let a time service set the clocks (chrony, systemd-timesyncd, or the host's own).";
        if skew.abs() <= WORST_SKEW {
            findings.warn(CLOCK, reason, remedy);
        } else {
            findings.fail(CLOCK, format!("{reason} Tokens are refused so."), remedy);
        }
    }

    /// The organisation belongs to one tenant, and the agent must be of it.
    pub(super) fn compare_tenants(&self, findings: &mut Findings, known: &Known, reached: &Reached) {
        let (Some(organization), Some(token)) = (&reached.tenant_id, &known.tenant_id) else { return };
        if organization.eq_ignore_ascii_case(token) {
            return;
        }
        if let Some(check) = findings.0.iter_mut().find(|check| check.id == AZURE_DEVOPS.0) {
            check.status = super::Status::Failed;
            check.reason =
                format!("The organisation belongs to tenant {organization}, the agent user to {token}.");
            check.remedy =
                "Check AZURE_DEVOPS_ORGANIZATION_URL; else connect the organisation to the agent's tenant, \
                            or make the agent in the organisation's."
                    .into();
        }
    }
}

fn family(findings: &mut Findings, family: Family) {
    match family {
        Family::Host => findings.ok(FAMILY, "It behaves like 1.0.0: it takes the host name localhost only."),
        Family::Loopback => {
            findings.ok(FAMILY, "It behaves like 1.1.0 or later: it takes calls over loopback only.");
        }
        Family::Development => findings.warn(
            FAMILY,
            "It runs as Development: whoever reaches its port can take tokens.",
            "Leave ASPNETCORE_ENVIRONMENT out on the sidecar, and let it share the agent's network namespace.",
        ),
    }
}

/// A token that came and would not be used, or none because the agent parameters were ignored.
fn not_ours(findings: &mut Findings, error: &IdentityError) {
    let reason = sentence(&error.to_string());
    let ignored = matches!(
        error,
        IdentityError::ParametersIgnored
            | IdentityError::WrongPrincipal {
                fallback: Fallback::OtherApplication | Fallback::OtherApplicationForUser,
                ..
            }
    );
    match (ignored, error) {
        (true, _) => {
            findings.fail(GATES, reason, error.remedy());
            findings.skip(TOKEN, "The sidecar gives no token of the agent user.");
        }
        (false, IdentityError::WrongPrincipal { .. }) => {
            findings.ok(GATES, "The sidecar honours the agent identity.");
            findings.fail(TOKEN, reason, error.remedy());
        }
        _ => {
            findings.skip(GATES, "It cannot be told before the token is right.");
            findings.fail(TOKEN, reason, error.remedy());
        }
    }
}

fn good(findings: &mut Findings, who: &Who, examined: &Examined) {
    let user = who.username.as_deref().or(who.object_id.as_deref()).unwrap_or("the agent user");
    let found = format!(
        "{user} through agent identity {}, good until {}.",
        who.agent_identity_id,
        who.expires_at.strftime("%H:%M UTC")
    );
    let scopes = examined.claims.iter().find(|claim| claim.name == "scp").map(|claim| claim.value.as_str());
    let has_scope = scopes.is_some_and(|scopes| scopes.split(' ').any(|scope| scope == SCOPE));
    if !has_scope {
        let scopes = scopes.filter(|scopes| !scopes.is_empty()).unwrap_or("nothing");
        findings.warn(
            TOKEN,
            format!("{found} It grants {scopes} instead of {SCOPE}."),
            "Grant user_impersonation of Azure DevOps to the agent identity for the agent user.",
        );
    } else if !who.has_agent_facets {
        findings.warn(
            TOKEN,
            format!("{found} It has no agent facets (xms_act_fct, xms_sub_fct), so names and ids are all that was checked."),
            "Nothing has to be done; Azure DevOps may leave these claims out.",
        );
    } else {
        findings.ok(TOKEN, found);
    }
}

//! What Entra's codes mean here, and what heals them (TOKENS.md §6).

/// One code of Entra.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The number after `AADSTS`.
    pub code: u32,
    /// What it means in this system.
    pub cause: &'static str,
    /// What to do.
    pub remedy: &'static str,
    /// Whether it passes by itself.
    pub transient: bool,
}

/// What is known about `code`.
pub fn cause(code: u32) -> Option<&'static Cause> {
    CAUSES.iter().find(|cause| cause.code == code)
}

const fn lasting(code: u32, cause: &'static str, remedy: &'static str) -> Cause {
    Cause { code, cause, remedy, transient: false }
}

const fn passing(code: u32, cause: &'static str, remedy: &'static str) -> Cause {
    Cause { code, cause, remedy, transient: true }
}

const BACK_OFF: &str = "Nothing to change; it is tried again. If it lasts, look at Entra's service health.";
const FEDERATION: &str = "Compare issuer, subject and audience of the blueprint's federated credential with the token, letter by letter.";
const CONDITIONAL_ACCESS: &str = "An agent user cannot answer a prompt: exclude it from that conditional access policy, or use one for agents.";

/// Every code that this product can meet, in TOKENS.md's order.
pub const CAUSES: &[Cause] = &[
    lasting(
        65001,
        "The agent identity has no delegated grant for this resource and this agent user.",
        "Create an oauth2PermissionGrant of consent type Principal on the agent identity (not the blueprint) for the \
         agent user, and wait some minutes.",
    ),
    lasting(
        7000215,
        "The sidecar's blueprint secret is wrong, or the secret's id was pasted instead of its value.",
        "Give the sidecar the secret's value and restart it.",
    ),
    lasting(
        7000222,
        "The sidecar's blueprint secret has expired.",
        "Add a new secret to the blueprint, or move to a federated credential.",
    ),
    lasting(
        7000216,
        "The sidecar sent no credential.",
        "Configure AzureAd__ClientCredentials__0 on the sidecar.",
    ),
    lasting(
        7000218,
        "A confidential client came without its credential.",
        "Configure AzureAd__ClientCredentials__0 on the sidecar; for device sign-in allow public client flows.",
    ),
    lasting(
        700016,
        "The application is not in this tenant: deleted, mistyped, or its principal is missing.",
        "Check AGENT_IDENTITY_ID here, AzureAd__ClientId and AzureAd__TenantId on the sidecar, and that the \
         blueprint's principal exists.",
    ),
    lasting(700011, "The application is not in the user's tenant.", "Check tenant and application ids."),
    lasting(
        7000112,
        "The application or the agent identity is disabled.",
        "Enable it in Entra, unless it was switched off on purpose.",
    ),
    lasting(
        7000114,
        "The application may not act for a user.",
        "Check that AGENT_IDENTITY_ID is an agent identity and AzureAd__ClientId its blueprint.",
    ),
    lasting(
        700025,
        "A public client sent a credential.",
        "Use separate applications for sign-in and blueprint.",
    ),
    lasting(700027, "The assertion's signature is not known.", "Register the certificate on the blueprint."),
    lasting(
        7000272,
        "The key of the projected token is not among the issuer's published keys.",
        "Publish the key set taken from the running cluster, then restart the pod.",
    ),
    lasting(70021, "No federated credential of the blueprint matches the token.", FEDERATION),
    lasting(700211, "The blueprint has no federated credential for this issuer.", FEDERATION),
    lasting(
        700212,
        "The blueprint has no federated credential for this audience.",
        "Use the audience api://AzureADTokenExchange.",
    ),
    lasting(
        700213,
        "The blueprint has no federated credential for this subject.",
        "The subject is system:serviceaccount:<namespace>:<name>, or the managed identity's object id.",
    ),
    lasting(
        700223,
        "The managed identity is not registered on the blueprint.",
        "Add a federated credential with the managed identity's object id as subject.",
    ),
    lasting(
        7002137,
        "The blueprint is not the parent of this agent identity.",
        "Check that AGENT_IDENTITY_ID belongs to the blueprint that the sidecar signs in with.",
    ),
    lasting(
        700222,
        "A token of Entra was used where federation with Entra is not allowed.",
        "Use a managed identity of the same tenant.",
    ),
    lasting(700229, "A user's token was used as the blueprint's credential.", "Use an application's token."),
    passing(
        700024,
        "The sidecar's assertion is outside its validity.",
        "Check the clocks, and that the projected token file is renewed.",
    ),
    lasting(
        50013,
        "The assertion has a wrong audience or issuer.",
        "Check AzureAd__ClientId on the sidecar.",
    ),
    lasting(500133, "The user's assertion has expired.", "Sign in again."),
    lasting(50027, "The token sent to Entra is malformed.", "Update the sidecar; send tokens untouched."),
    lasting(
        50105,
        "Assignment is required and the agent user is not assigned.",
        "Assign the agent user to the enterprise application, or switch assignment off.",
    ),
    lasting(
        50034,
        "There is no such user in the tenant.",
        "Correct AGENT_USERNAME; a user made just now needs some minutes.",
    ),
    lasting(
        50057,
        "The agent user is disabled.",
        "Enable it in Entra, unless it was switched off on purpose.",
    ),
    lasting(50020, "The account belongs to another tenant.", "Use the agent user's home tenant."),
    lasting(50076, "Conditional access wants multifactor sign-in.", CONDITIONAL_ACCESS),
    lasting(50079, "Conditional access wants multifactor registration.", CONDITIONAL_ACCESS),
    lasting(53003, "Conditional access blocks the agent user.", CONDITIONAL_ACCESS),
    lasting(53000, "Conditional access wants a compliant device.", CONDITIONAL_ACCESS),
    lasting(53001, "Conditional access wants a joined device.", CONDITIONAL_ACCESS),
    lasting(530032, "The tenant's security policy blocks it.", "Ask the tenant's administrator."),
    lasting(50131, "Conditional access or a risk detection blocks it.", "Look at the agent's risk in Entra."),
    passing(
        50173,
        "Its grants were revoked; a fresh token is needed.",
        "It is tried again with a fresh exchange.",
    ),
    lasting(
        500011,
        "The resource is not known in this tenant.",
        "Create its service principal (for Azure DevOps: open Azure DevOps once in this tenant), and check Scopes__0.",
    ),
    lasting(50001, "The resource is disabled or unknown.", "Check Scopes__0 of the sidecar's profile."),
    lasting(650057, "The resource is not among the requested permissions.", "Add the grant."),
    lasting(65005, "The resource is not among the requested permissions.", "Add the grant."),
    lasting(650051, "A partial consent stands in the way.", "Grant by oauth2PermissionGrants instead."),
    lasting(90094, "An administrator's consent is required.", "Ask the tenant's administrator."),
    lasting(70011, "The scope is malformed.", "Scopes__0 is the resource followed by /.default."),
    lasting(
        1002012,
        "The scope does not end in /.default.",
        "Scopes__0 is the resource followed by /.default.",
    ),
    lasting(700022, "Scopes of two resources in one request.", "One profile of the sidecar is one resource."),
    lasting(
        90002,
        "There is no such tenant.",
        "Correct AzureAd__TenantId on the sidecar and AZURE_TENANT_ID here.",
    ),
    lasting(50194, "The tenant is given as /common.", "Give the tenant's GUID in AzureAd__TenantId."),
    lasting(
        900144,
        "A parameter is missing in the sidecar's request.",
        "Check the sidecar's version and settings.",
    ),
    lasting(9002313, "The sidecar's request is malformed.", "Check the sidecar's version and settings."),
    lasting(90023, "The sidecar's request is malformed.", "Check the sidecar's version and settings."),
    lasting(
        82001,
        "An agent identity used a grant that is not allowed to it.",
        "Use a sidecar version that knows agent identities.",
    ),
    lasting(
        50000,
        "A fault of the service, or a user principal name given as object id.",
        "Give a name as AGENT_USERNAME and an object id as AGENT_USER_ID.",
    ),
    lasting(
        50196,
        "Entra sees the same request in a loop.",
        "Wait some minutes; tokens are cached by this program.",
    ),
    passing(90055, "Entra is throttling.", BACK_OFF),
    passing(90033, "A passing fault of Entra.", BACK_OFF),
    passing(90024, "A passing fault of Entra.", BACK_OFF),
    passing(50033, "A passing fault of Entra.", BACK_OFF),
    lasting(
        50012,
        "The blueprint's credential is wrong.",
        "Check the certificate or assertion given to the sidecar.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_listed_once_and_says_what_to_do() {
        for (at, row) in CAUSES.iter().enumerate() {
            assert!(CAUSES[..at].iter().all(|other| other.code != row.code), "{} twice", row.code);
            assert!(row.cause.ends_with('.') && row.remedy.ends_with('.'), "{}", row.code);
        }
        assert_eq!(cause(65001).map(|cause| cause.transient), Some(false));
        assert_eq!(cause(1), None);
    }
}

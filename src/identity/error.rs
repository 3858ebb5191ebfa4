//! Why there is no token, and what to do about it.

use super::causes::cause;

/// An answer of Entra that the sidecar passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntraRefusal {
    /// The number after `AADSTS`.
    pub code: u32,
    /// Entra's words, one line, cut.
    pub detail: String,
    /// Entra's trace id: what Microsoft support and the sign-in log ask for.
    pub trace_id: Option<String>,
    /// Entra's correlation id.
    pub correlation_id: Option<String>,
}

/// Whose token the sidecar gave instead of the agent user's (SIDECAR.md §4.2, §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// An application that is not the agent identity: the agent parameters were ignored.
    OtherApplication,
    /// The agent identity itself, without its user.
    AgentIdentityAlone,
    /// A user, but not the agent's.
    OtherUser,
    /// A user token made through an application that is not the agent identity.
    OtherApplicationForUser,
    /// Right names, but the token itself says that its user is not an agent user.
    NotAnAgentUser,
    /// It was asked for on a person's behalf, and is not that person's.
    NotThePerson,
}

impl Fallback {
    /// What happened, in words.
    pub fn explanation(self) -> &'static str {
        match self {
            Self::OtherApplication => {
                "it is an application's own token: the sidecar ignored the agent parameters and signed in as the \
                 blueprint"
            }
            Self::AgentIdentityAlone => {
                "it is the agent identity's own token: the sidecar dropped the user and signed in as the \
                 application alone"
            }
            Self::OtherUser => "it is another user's token",
            Self::OtherApplicationForUser => {
                "it was made through another application: the sidecar ignored the agent parameters"
            }
            Self::NotAnAgentUser => "its own claims say that it is not an agent user's token",
            Self::NotThePerson => "it is not the token of the person on whose behalf it was asked for",
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::OtherApplication | Self::OtherApplicationForUser => {
                "On the sidecar set Sidecar__AllowOverrides__GetAuthorizationHeaderUnauthenticated=true (it is false by \
                 default since 1.1.0, and then agent parameters are ignored), and leave RequestAppToken unset on the \
                 profile. Check that AGENT_IDENTITY_ID is the agent identity and not the blueprint."
            }
            Self::AgentIdentityAlone => {
                "On the sidecar's profile leave RequestAppToken unset or false; check that AGENT_USER_ID is the agent \
                 user's object id (a value that is not a GUID is dropped) or AGENT_USERNAME its user principal name."
            }
            Self::OtherUser => {
                "Compare AGENT_USERNAME or AGENT_USER_ID with the agent user in Entra. When the token carries no user \
                 principal name, set AGENT_USER_ID instead of AGENT_USERNAME."
            }
            Self::NotThePerson => {
                "On the sidecar set Sidecar__AllowOverrides__GetAuthorizationHeader=true (the default), and leave \
                 RequestAppToken unset on the profile."
            }
            Self::NotAnAgentUser => {
                "Check in Entra that the user is an agent user whose parent is the agent identity; an ordinary user \
                 or an on-behalf-of token is not accepted."
            }
        }
    }
}

/// Why there is no token. Cheap to clone; holds nothing of a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// No answer from the sidecar in all attempts.
    #[error("the auth sidecar at {address} did not answer within {waited_seconds} s: {cause}")]
    Unreachable {
        /// Origin asked.
        address: String,
        /// How long we tried, in seconds.
        waited_seconds: u64,
        /// The last failure.
        cause: String,
    },
    /// 403 without a body: the sidecar (1.1.0 and later) takes calls from its own machine only.
    #[error("the auth sidecar refused this process because the call does not come over loopback")]
    NotLoopback,
    /// 400 `Invalid Hostname` (sidecar 1.0.0).
    #[error("the auth sidecar refused the host name of the call")]
    HostRefused,
    /// 401 without a body: the person's token that was sent along is expired or not for the blueprint.
    #[error("the auth sidecar did not take the person's token")]
    PersonRefused,
    /// The route is not there.
    #[error("there is no auth sidecar at {address}: it answered {status} to the token route")]
    NotASidecar {
        /// Origin asked.
        address: String,
        /// Status of the answer.
        status: u16,
    },
    /// The sidecar has no such downstream API.
    #[error("the auth sidecar has no profile '{profile}' with scopes")]
    ProfileMissing {
        /// Name of the profile.
        profile: &'static str,
    },
    /// The sidecar found nobody to sign in: it ignored the agent parameters.
    #[error("the auth sidecar found no account to sign in: it ignored the agent parameters")]
    ParametersIgnored,
    /// Entra refused.
    #[error("Entra refused the sign-in of the agent user: {}", .0.detail)]
    Entra(EntraRefusal),
    /// The sidecar failed in a way it does not explain.
    #[error("the auth sidecar answered {status}: {detail}")]
    Sidecar {
        /// Status of the answer.
        status: u16,
        /// Its words, one line, cut.
        detail: String,
    },
    /// The answer is not a bearer token that can be read.
    #[error("the auth sidecar's answer cannot be used: {0}")]
    Unreadable(&'static str),
    /// The token is for something or somewhere else, or not current.
    #[error("the token's {claim} is {found}, expected {expected}")]
    WrongToken {
        /// `audience`, `tenant` or `expiry`.
        claim: &'static str,
        /// What it says.
        found: String,
        /// What it should say.
        expected: String,
    },
    /// The token is another principal's.
    #[error("the auth sidecar gave another principal's token, which was not used: {}; expected {expected}, found {found}", .fallback.explanation())]
    WrongPrincipal {
        /// Which silent fall-back happened.
        fallback: Fallback,
        /// Who it should be.
        expected: String,
        /// Who it is.
        found: String,
    },
}

impl IdentityError {
    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::Unreachable { .. } => {
                "Start the auth sidecar and check SIDECAR_URL; in compose it shares the agent's network namespace, so \
                 that the address is http://localhost with the sidecar's port."
                    .into()
            }
            Self::NotLoopback => {
                "Run the sidecar in the agent's network namespace (compose: network_mode service:…, Kubernetes: the \
                 same pod) and use http://localhost in SIDECAR_URL."
                    .into()
            }
            Self::HostRefused => "Use http://localhost in SIDECAR_URL, or a sidecar of version 1.1.0 or later.".into(),
            Self::PersonRefused => {
                "Sign in again. If it stays so, compare BLUEPRINT_ID with AzureAd__ClientId on the sidecar: the person's \
                 token must be for that application."
                    .into()
            }
            Self::NotASidecar { .. } => "Check SIDECAR_URL: host, port and path of the auth sidecar.".into(),
            Self::ProfileMissing { profile } => format!(
                "Set DownstreamApis__{profile}__Scopes__0 on the sidecar (names are case sensitive) and restart it."
            ),
            Self::ParametersIgnored => {
                "On the sidecar set Sidecar__AllowOverrides__GetAuthorizationHeaderUnauthenticated=true; it is false by \
                 default since 1.1.0, and then agent parameters are ignored."
                    .into()
            }
            Self::Entra(refusal) => match cause(refusal.code) {
                Some(cause) => format!("{} {}", cause.cause, cause.remedy),
                None => format!(
                    "Look up AADSTS{} in Entra's sign-in log by the trace id, and in Microsoft's list of codes.",
                    refusal.code
                ),
            },
            Self::Sidecar { .. } => {
                "Read the sidecar's log: its credential may be missing or unreadable, or it cannot reach \
                 login.microsoftonline.com."
                    .into()
            }
            Self::Unreadable(_) => {
                "Check that SIDECAR_URL is the auth sidecar and that its profile asks for bearer tokens.".into()
            }
            Self::WrongToken { claim, .. } => match *claim {
                "audience" => "Correct Scopes__0 of the sidecar's profile.".into(),
                "tenant" => "Compare AZURE_TENANT_ID here with AzureAd__TenantId on the sidecar.".into(),
                _ => "Check the clocks of this machine and of the sidecar's.".into(),
            },
            Self::WrongPrincipal { fallback, .. } => fallback.remedy().into(),
        }
    }

    /// Entra's code, where Entra refused.
    pub fn aadsts(&self) -> Option<u32> {
        match self {
            Self::Entra(refusal) => Some(refusal.code),
            _ => None,
        }
    }

    /// Whether the same call may succeed later without anybody changing something.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Sidecar { status, .. } => *status >= 500 || *status == 429,
            Self::Entra(refusal) => cause(refusal.code).is_some_and(|cause| cause.transient),
            // Past its life or not begun yet: the next one may be in force.
            Self::WrongToken { claim, .. } => !["audience", "tenant"].contains(claim),
            _ => false,
        }
    }
}

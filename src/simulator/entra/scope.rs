//! What a request's `scope` asks for.

use jiff::Timestamp;

use super::directory::{Application, Directory, Principal};
use super::error::Refusal;
use super::seed::GRAPH_ID;

/// Scopes of OpenID Connect; they belong to no resource.
const OPENID: [&str; 4] = ["openid", "profile", "email", "offline_access"];

/// A scope parameter, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The resource as it is named; Graph where none is.
    pub resource: String,
    /// Named permissions; empty when all that is granted is asked (`.default`).
    pub permissions: Vec<String>,
    /// `openid`: an id token is wanted.
    pub id_token: bool,
    /// `offline_access`: a refresh token is wanted.
    pub refresh_token: bool,
    /// Ends in `/.default`.
    pub default: bool,
}

impl Asked {
    /// Reads a scope parameter.
    ///
    /// # Errors
    /// AADSTS70011 when it is malformed, 700022 when it names two resources.
    pub fn read(scope: &str) -> Result<Self, Refusal> {
        let mut asked = Self::default();
        let mut resource: Option<&str> = None;
        for part in scope.split_whitespace() {
            asked.id_token |= part == "openid";
            asked.refresh_token |= part == "offline_access";
            if OPENID.contains(&part) {
                continue;
            }
            // An application id without a permission is the commonest slip, and no permission.
            if part.parse::<uuid::Uuid>().is_ok() || part.contains("://") && part.matches('/').count() == 2 {
                return Err(Refusal::of(70_011, part));
            }
            let (name, permission) = part.rsplit_once('/').unwrap_or((GRAPH_ID, part));
            let name = name.trim_end_matches('/');
            if name.is_empty() || permission.is_empty() {
                return Err(Refusal::of(70_011, part));
            }
            if resource.is_some_and(|other| !other.eq_ignore_ascii_case(name)) {
                return Err(Refusal::of(700_022, scope));
            }
            resource = Some(name);
            match permission {
                ".default" => asked.default = true,
                _ => asked.permissions.push(permission.to_owned()),
            }
        }
        if resource.is_none() && !asked.id_token && !asked.refresh_token {
            return Err(Refusal::of(70_011, scope));
        }
        asked.resource = resource.unwrap_or(GRAPH_ID).to_owned();
        asked.default |= asked.permissions.is_empty();
        Ok(asked)
    }

    /// As [`Asked::read`], for an application's own token: it can only ask for `/.default`.
    ///
    /// # Errors
    /// As there, and AADSTS1002012.
    pub fn read_for_application(scope: &str) -> Result<Self, Refusal> {
        let asked = Self::read(scope).map_err(|refusal| match refusal.code {
            70_011 if !scope.trim().is_empty() => Refusal::of(1_002_012, scope),
            _ => refusal,
        })?;
        match asked.default && asked.permissions.is_empty() && scope.contains(".default") {
            true => Ok(asked),
            false => Err(Refusal::of(1_002_012, scope)),
        }
    }

    /// The resource's application and principal in this tenant.
    ///
    /// # Errors
    /// AADSTS500011 when it is not there, 50001 when it is disabled.
    pub fn resolve<'a>(
        &self,
        directory: &'a Directory,
        now: Timestamp,
    ) -> Result<(&'a Application, &'a Principal), Refusal> {
        let missing = || Refusal::of(500_011, &self.resource);
        let application = directory.resource(&self.resource).filter(|app| app.since <= now);
        let application = application.ok_or_else(missing)?;
        let principal = directory.principal_of(&application.app_id, now).ok_or_else(missing)?;
        if principal.enabled {
            Ok((application, principal))
        } else {
            Err(Refusal::of(50_001, &self.resource))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_names_one_resource() {
        let asked =
            Asked::read("499b84ac-1321-427f-aa17-267ca6975798/.default openid offline_access").unwrap();
        assert_eq!(asked.resource, "499b84ac-1321-427f-aa17-267ca6975798");
        assert!(asked.default && asked.id_token && asked.refresh_token);
        let asked =
            Asked::read("https://graph.microsoft.com/User.Read https://graph.microsoft.com/Mail.Read")
                .unwrap();
        assert_eq!((asked.resource.as_str(), asked.permissions.len()), ("https://graph.microsoft.com", 2));
        assert_eq!(
            Asked::read("https://cognitiveservices.azure.com//.default").unwrap().resource,
            "https://cognitiveservices.azure.com"
        );
        assert_eq!(Asked::read("openid profile").unwrap().resource, GRAPH_ID);
        assert_eq!(Asked::read("a/.default b/.default"), Err(Refusal::of(700_022, "a/.default b/.default")));
        for bad in
            ["", "profile", "499b84ac-1321-427f-aa17-267ca6975798", "https://graph.microsoft.com", "/x"]
        {
            assert_eq!(Asked::read(bad), Err(Refusal::of(70_011, bad)));
        }
    }

    #[test]
    fn an_application_asks_for_default_only() {
        assert!(Asked::read_for_application("a/.default").is_ok());
        for bad in ["a/User.Read", "499b84ac-1321-427f-aa17-267ca6975798", "openid", "a/.default a/b"] {
            assert_eq!(Asked::read_for_application(bad), Err(Refusal::of(1_002_012, bad)), "{bad}");
        }
        assert_eq!(Asked::read_for_application("").unwrap_err().code, 70_011);
    }
}

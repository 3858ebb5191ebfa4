//! Settings about people: how they sign in, and which groups give which role.

use std::collections::BTreeSet;

use url::Url;

/// Entra's address where no other is set (public cloud).
const AUTHORITY: &str = "https://login.microsoftonline.com";
/// Microsoft Graph's address where no other is set.
const GRAPH: &str = "https://graph.microsoft.com";
/// Most groups of one role.
const MAX_GROUPS: usize = 50;

/// How people sign in.
#[derive(Clone, Debug)]
pub struct SignIn {
    /// Application id of the public client with which people sign in.
    pub client_id: String,
    /// The tenant whose people may.
    pub tenant_id: String,
    /// Application id of the blueprint: the audience of people's access tokens, and what lets the
    /// agent identity act on their behalf. Without it people sign in to the page only.
    pub blueprint_id: Option<String>,
    /// Where Entra and Graph are.
    pub cloud: Cloud,
}

/// Addresses of Entra and Graph, without a slash at the end.
#[derive(Clone, Debug)]
pub struct Cloud {
    /// Entra, `https://login.microsoftonline.com`.
    pub authority: Url,
    /// Microsoft Graph, `https://graph.microsoft.com`.
    pub graph: Url,
}

impl Cloud {
    /// The public cloud.
    pub fn public() -> Option<Self> {
        Some(Self { authority: Url::parse(AUTHORITY).ok()?, graph: Url::parse(GRAPH).ok()? })
    }
}

/// Where this process stands between a laptop and a guarded deployment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// A key for the model is taken, and pointed out.
    #[default]
    Development,
    /// No static secret for Entra, Azure DevOps or the model may be in this process.
    Federated,
}

impl std::str::FromStr for Profile {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "development" => Ok(Self::Development),
            "federated" => Ok(Self::Federated),
            _ => Err(()),
        }
    }
}

/// What a person may do here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Give orders, steer, stop own runs.
    Instructor,
    /// Decide on what policy holds back.
    Approver,
    /// Read every record.
    Auditor,
    /// Stop everything, change what runs.
    Admin,
    /// Let one held-back action pass in an emergency, under the rules for that.
    BreakGlass,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Instructor, Self::Approver, Self::Auditor, Self::Admin, Self::BreakGlass];

    /// Its name in settings, rules and texts.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Instructor => "instructor",
            Self::Approver => "approver",
            Self::Auditor => "auditor",
            Self::Admin => "admin",
            Self::BreakGlass => "break_glass",
        }
    }
}

/// `ROLE_GROUPS`: roles by group, `approver=<group>,<group>;auditor=<group>`. A group is its object
/// id in Entra; for `instructor` the name of a group of Azure DevOps will do as well.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleGroups(Vec<(Role, Vec<String>)>);

impl RoleGroups {
    /// Reads the setting.
    ///
    /// # Errors
    /// What is wrong, in words that go on after the setting's name.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut roles: Vec<(Role, Vec<String>)> = Vec::new();
        for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            let names = Role::ALL.map(Role::as_str).join(", ");
            let (name, groups) = part
                .split_once('=')
                .ok_or_else(|| format!("has '{part}', which is not role=group; roles are {names}"))?;
            let name = name.trim();
            let role = Role::ALL.into_iter().find(|role| role.as_str() == name);
            let role = role.ok_or_else(|| format!("has a role '{name}'; roles are {names}"))?;
            if roles.iter().any(|(other, _)| *other == role) {
                return Err(format!("names the role {name} twice; put all its groups behind one ="));
            }
            let groups: Vec<String> =
                groups.split(',').map(|group| group.trim().to_owned()).filter(|g| !g.is_empty()).collect();
            if groups.is_empty() || groups.len() > MAX_GROUPS {
                return Err(format!("gives {name} no group, or more than {MAX_GROUPS}"));
            }
            roles.push((role, groups));
        }
        Ok(Self(roles))
    }

    /// The groups of `role`; empty where the setting does not name the role.
    pub fn of(&self, role: Role) -> &[String] {
        self.0.iter().find(|(own, _)| *own == role).map(|(_, groups)| groups.as_slice()).unwrap_or_default()
    }

    /// The roles of somebody who has signed in and is in `groups`. Who signed in may instruct where
    /// no groups are named for that; every other role needs a group.
    pub fn roles(&self, groups: &[String]) -> BTreeSet<Role> {
        let has = |role: &Role| {
            let wanted = self.of(*role);
            let open = *role == Role::Instructor && wanted.is_empty();
            open || wanted.iter().any(|group| groups.iter().any(|own| own.eq_ignore_ascii_case(group)))
        };
        Role::ALL.into_iter().filter(has).collect()
    }
}

/// The cloud of the settings `AZURE_AUTHORITY_HOST` and `GRAPH_URL`, which are checked URLs.
pub(super) fn cloud(authority: Option<Url>, graph: Option<Url>) -> Option<Cloud> {
    let public = Cloud::public()?;
    Some(Cloud {
        authority: authority.map_or(public.authority, trimmed),
        graph: graph.map_or(public.graph, trimmed),
    })
}

fn trimmed(mut url: Url) -> Url {
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_come_from_groups_and_instructing_is_open_unless_groups_are_named() {
        let groups = RoleGroups::parse(" approver = A1, b2 ;auditor=c3;").unwrap();
        assert_eq!(groups.of(Role::Approver), ["A1", "b2"]);
        let roles = |own: &[&str]| {
            let own: Vec<String> = own.iter().map(|group| (*group).to_owned()).collect();
            groups.roles(&own).into_iter().map(Role::as_str).collect::<Vec<_>>()
        };
        assert_eq!(roles(&[]), ["instructor"]);
        assert_eq!(roles(&["B2", "c3", "x"]), ["instructor", "approver", "auditor"]);
        let narrow = RoleGroups::parse("instructor=team").unwrap();
        assert!(narrow.roles(&[]).is_empty());
        assert_eq!(RoleGroups::parse(""), Ok(RoleGroups::default()));
    }

    #[test]
    fn a_doubt_in_role_groups_is_told() {
        for (text, word) in [
            ("approver", "role=group"),
            ("boss=a", "'boss'"),
            ("admin=a;admin=b", "twice"),
            ("admin=,", "no group"),
        ] {
            let said = RoleGroups::parse(text).unwrap_err();
            assert!(said.contains(word), "{text}: {said}");
        }
    }
}

//! Who somebody is, and which groups they are in: what decides whether their words instruct.
//!
//! People are named by their identity id, never by a name that they can choose.

use serde::{Deserialize, Serialize};

use super::people::{Identity, IdentityRef, List, Person};
use super::routes::{GROUP, IDENTITIES, MEMBERSHIPS, TEAM_MEMBERS, TEAMS};
use super::transport::Question;
use super::{Client, Error, limits};

/// Members of a team in one page.
const MEMBERS_PER_PAGE: usize = 500;

/// What an identity is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum IdentityKind {
    /// Somebody who signs in. A program that signs in as a user cannot be told from a person here.
    Person,
    /// A build service, a service principal, the service itself.
    Service,
    /// A group.
    Group,
}

/// An identity of the organisation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KnownIdentity {
    /// Its id and names.
    pub person: Person,
    /// What it is.
    pub kind: IdentityKind,
    /// Whether it may still sign in.
    pub is_active: bool,
    /// How Graph names it.
    pub descriptor: Option<String>,
    /// Object id in Entra, where it comes from there.
    pub object_id: Option<String>,
}

/// A group as Graph has it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// How Graph names it.
    pub descriptor: String,
    /// Its name.
    #[serde(default)]
    pub display_name: String,
    /// Its name with its scope: `[Fabrikam]\Contributors`.
    #[serde(default)]
    pub principal_name: String,
    /// Id where it comes from: the object id in Entra for a group of Entra.
    #[serde(default)]
    pub origin_id: Option<String>,
    /// Where it belongs: `vstfs:///Classification/TeamProject/{id}` for a group of a project.
    #[serde(default)]
    pub domain: Option<String>,
}

/// A team of a project.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Team {
    /// Id; also the identity id of its group.
    pub id: String,
    /// Name.
    pub name: String,
}

#[derive(Deserialize)]
struct RawMember {
    identity: IdentityRef,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawMembership {
    container_descriptor: String,
}

/// Beginnings of descriptors of those who sign in themselves: Entra, Microsoft accounts, Windows.
const PEOPLE: [&str; 5] = [
    "aad.",
    "msa.",
    "win.",
    "Microsoft.IdentityModel.Claims.ClaimsIdentity;",
    "System.Security.Principal.WindowsIdentity;",
];
/// Of groups.
const GROUPS: [&str; 3] = ["vssgp.", "aadgp.", "Microsoft.TeamFoundation.Identity;"];

fn kind(descriptor: &str) -> IdentityKind {
    let begins = |list: &[&str]| list.iter().any(|start| descriptor.starts_with(start));
    match (begins(&PEOPLE), begins(&GROUPS)) {
        (true, _) => IdentityKind::Person,
        (_, true) => IdentityKind::Group,
        // Whatever is not known to be a person is none.
        _ => IdentityKind::Service,
    }
}

impl From<Identity> for KnownIdentity {
    fn from(found: Identity) -> Self {
        let descriptor = found.subject_descriptor.clone();
        let shown = descriptor.as_deref().or(found.descriptor.as_deref()).unwrap_or_default();
        let (kind, is_active, object_id) = (kind(shown), found.is_active != Some(false), found.object_id());
        Self { person: found.into(), kind, is_active, descriptor, object_id }
    }
}

impl Client {
    /// The identity with this id; none where there is none.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn identity(&self, id: &str) -> Result<Option<KnownIdentity>, Error> {
        let question = Question::of(&IDENTITIES, &[]).with("identityIds", id).with("queryMembership", "None");
        // Somebody unknown comes as null (FACTS §11).
        let found = self.ask::<List<Option<Identity>>>(question).await?.value.unwrap_or_default();
        let same = |found: &KnownIdentity| found.person.id.eq_ignore_ascii_case(id);
        Ok(found.into_iter().flatten().map(KnownIdentity::from).find(same))
    }

    /// The teams of a project.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn teams(&self, project: &str) -> Result<Vec<Team>, Error> {
        let segments = [project];
        let question = Question::of(&TEAMS, &segments).with("$top", MEMBERS_PER_PAGE);
        Ok(self.ask::<List<Team>>(question).await?.value.unwrap_or_default())
    }

    /// Who is in a team; groups in it are marked and not opened.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn team_members(&self, project: &str, team: &str) -> Result<Vec<Person>, Error> {
        let segments = [project, team];
        let mut members: Vec<Person> = Vec::new();
        for _ in 0..limits::PAGES {
            let question = Question::of(&TEAM_MEMBERS, &segments)
                .with("$top", MEMBERS_PER_PAGE)
                .with("$skip", members.len());
            let page = self.ask::<List<RawMember>>(question).await?.value.unwrap_or_default();
            let full = page.len() == MEMBERS_PER_PAGE;
            members.extend(page.into_iter().map(|member| Person::from(member.identity)));
            if !full {
                break;
            }
        }
        Ok(members)
    }

    /// Descriptors of the groups that a subject is in directly.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn groups_of(&self, descriptor: &str) -> Result<Vec<String>, Error> {
        let segments = [descriptor];
        let question = Question::of(&MEMBERSHIPS, &segments).with("direction", "up");
        let found = self.ask::<List<RawMembership>>(question).await?.value.unwrap_or_default();
        Ok(found.into_iter().map(|membership| membership.container_descriptor).collect())
    }

    /// A group.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn group(&self, descriptor: &str) -> Result<Group, Error> {
        self.ask(Question::of(&GROUP, &[descriptor])).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_is_known_to_sign_in_is_a_person() {
        for (descriptor, expected) in [
            ("aad.NTk", IdentityKind::Person),
            ("msa.NTk", IdentityKind::Person),
            ("aadsp.NTk", IdentityKind::Service),
            ("svc.NTk", IdentityKind::Service),
            ("s2s.NTk", IdentityKind::Service),
            ("vssgp.NTk", IdentityKind::Group),
            ("aadgp.NTk", IdentityKind::Group),
            ("Microsoft.TeamFoundation.ServiceIdentity;x", IdentityKind::Service),
            ("Microsoft.IdentityModel.Claims.ClaimsIdentity;t\\a", IdentityKind::Person),
            ("", IdentityKind::Service),
        ] {
            assert_eq!(kind(descriptor), expected, "{descriptor}");
        }
    }
}

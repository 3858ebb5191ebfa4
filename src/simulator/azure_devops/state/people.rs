//! More people than the organisation starts with: guests, and accounts of services.

use uuid::Uuid;

use super::{Licence, Person, World};

/// What a person's `role` says of an account that nobody signs in to.
pub const SERVICE: &str = "service";

/// Somebody who is to be added.
pub struct Newcomer<'a> {
    /// Short name.
    pub name: &'a str,
    /// Name that pages show; may be somebody else's.
    pub display_name: &'a str,
    /// Project that they may work in.
    pub project: &'a str,
    /// Whether they are in its team, or only invited.
    pub in_team: bool,
    /// Whether it is the account of a service.
    pub is_service: bool,
}

impl World {
    /// Adds somebody. None for a name that is taken or is none, or an unknown project.
    pub fn add_person(&mut self, new: &Newcomer<'_>) -> Option<Uuid> {
        let fits =
            !new.name.is_empty() && new.name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        let project = self.find_project(new.project)?.id;
        if !fits || self.people.values().any(|person| person.name == new.name) {
            return None;
        }
        let (id, object_id) = (self.new_id(), self.new_id());
        let person = Person {
            id,
            object_id,
            name: new.name.to_owned(),
            display_name: if new.display_name.is_empty() { new.name } else { new.display_name }.to_owned(),
            account: format!("{}@contoso.example", new.name),
            role: if new.is_service { SERVICE } else { "guest" }.to_owned(),
            password: Some(format!("demo-{}", new.name)),
            licence: Licence::Basic,
        };
        self.data.people.insert(id, person);
        let project = self.data.projects.get_mut(&project)?;
        project.members.insert(id);
        if !new.in_team {
            project.guests.insert(id);
        }
        self.touch();
        Some(id)
    }
}

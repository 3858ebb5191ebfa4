//! The organisation of the demo: people, two projects, a repository, work items.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use super::patch::Operation;
use super::table::{Log, Table};
use super::{
    Actor, Counters, Data, Licence, Outcome, Person, Process, Project, Repository, SYSTEM_ID, World, ZERO_SHA,
};
use crate::simulator::azure_devops::git::change::FileChange;
use crate::simulator::azure_devops::git::store::Store;
use crate::simulator::azure_devops::state::pushes::NewCommit;
use crate::simulator::tokens::{AGENT_USER_ID, AGENT_USER_UPN};

/// Name of the organisation.
pub const ORGANIZATION: &str = "contoso";
/// Alice, who leads the team.
pub const ALICE: Uuid = Uuid::from_u128(0xa11ce000_0000_4000_8000_000000000001);
/// Bob, who develops.
pub const BOB: Uuid = Uuid::from_u128(0xb0b00000_0000_4000_8000_000000000002);
/// Carol, who looks after security.
pub const CAROL: Uuid = Uuid::from_u128(0xca401000_0000_4000_8000_000000000003);
/// The project of the demo.
pub const FABRIKAM: Uuid = Uuid::from_u128(0xfab41ca0_0000_4000_8000_000000000010);
/// A project that bob and the agent cannot see.
pub const NORTHWIND: Uuid = Uuid::from_u128(0x40274000_0000_4000_8000_000000000011);
/// The repository of the demo.
pub const WEB_SHOP: Uuid = Uuid::from_u128(0x3eb50000_0000_4000_8000_000000000020);

/// Who administers the organisation: its lead.
pub fn administrators() -> BTreeSet<Uuid> {
    BTreeSet::from([ALICE])
}

/// An empty organisation with its people and projects; with the agent user among its members when
/// it is `provisioned`.
pub fn data(now: Timestamp, seed: u64, provisioned: bool) -> Data {
    let agent = Uuid::try_parse(AGENT_USER_ID).unwrap_or_default();
    // As fine as the service keeps it; some clients read no more than seven digits of a second.
    let now = Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now);
    let people = [
        person(ALICE, "alice", "Alice Martin", "lead"),
        person(BOB, "bob", "Bob Keller", "developer"),
        person(CAROL, "carol", "Carol Nguyen", "security"),
        Person {
            id: agent,
            object_id: agent,
            name: "ado-coworker".into(),
            display_name: "ado-coworker".into(),
            account: AGENT_USER_UPN.into(),
            role: "agent".into(),
            password: None,
            licence: Licence::Basic,
        },
        Person {
            id: SYSTEM_ID,
            object_id: SYSTEM_ID,
            name: String::new(),
            display_name: "Microsoft.VisualStudio.Services.TFS".into(),
            account: String::new(),
            role: "system".into(),
            password: None,
            licence: Licence::Basic,
        },
    ];
    let members = if provisioned { vec![ALICE, BOB, CAROL, agent] } else { vec![ALICE, BOB, CAROL] };
    let fabrikam = project(FABRIKAM, "Fabrikam", "The web shop and everything around it.", &members, now);
    let northwind =
        project(NORTHWIND, "Northwind", "Payments. Few people may look in.", &[ALICE, CAROL], now);
    Data {
        organization: ORGANIZATION.into(),
        instance_id: Uuid::from_u128(0xc0470500_0000_4000_8000_000000000100),
        people: people.into_iter().filter(|p| provisioned || p.id != agent).map(|p| (p.id, p)).collect(),
        projects: [fabrikam, northwind].into_iter().map(|p| (p.id, p)).collect(),
        repositories: Table::default(),
        pushes: Log::default(),
        pull_requests: Table::default(),
        work_items: Table::default(),
        policies: Table::default(),
        subscriptions: Table::default(),
        operations: Table::default(),
        queries: Table::default(),
        attachments: Table::default(),
        folders: Table::default(),
        definitions: Table::default(),
        builds: Table::default(),
        denials: Vec::new(),
        entries: Vec::new(),
        administrators: administrators(),
        readers: BTreeSet::new(),
        left: BTreeSet::new(),
        commit_statuses: Log::default(),
        ledger: Log::default(),
        jobs: Table::default(),
        next: Counters::default(),
        random: seed,
        generation: 0,
    }
}

fn person(id: Uuid, name: &str, display_name: &str, role: &str) -> Person {
    // The Entra object id differs from the identity id, as it does in the real service.
    let object_id = Uuid::from_u128(id.as_u128() ^ 0x00ff_0000_0000_0000_0000_0000_0000_0000);
    Person {
        id,
        object_id,
        name: name.into(),
        display_name: display_name.into(),
        account: format!("{name}@contoso.example"),
        role: role.into(),
        password: Some(format!("demo-{name}")),
        licence: Licence::Basic,
    }
}

fn project(id: Uuid, name: &str, description: &str, members: &[Uuid], now: Timestamp) -> Project {
    Project {
        id,
        name: name.into(),
        description: description.into(),
        process: Process::Basic,
        members: members.iter().copied().collect::<BTreeSet<_>>(),
        guests: BTreeSet::new(),
        team: (Uuid::from_u128(id.as_u128() + 0x1000), format!("{name} Team")),
        areas: vec![name.into(), format!("{name}\\Shop"), format!("{name}\\Platform")],
        iterations: vec![name.into(), format!("{name}\\Sprint 1"), format!("{name}\\Sprint 2")],
        iteration_dates: Default::default(),
        teams: Default::default(),
        revision: 7,
        updated: now,
    }
}

impl World {
    /// Fills a fresh organisation: the repository with `files`, and work items.
    ///
    /// # Errors
    /// When the repository cannot be written.
    pub fn fill(&mut self, files: &[(&str, &[u8])]) -> Outcome<()> {
        let alice = Actor { id: ALICE, activity: self.new_id() };
        Store::create(&self.repository_folder(WEB_SHOP))?;
        let repository = Repository {
            id: WEB_SHOP,
            name: "web-shop".into(),
            project: FABRIKAM,
            default_branch: None,
            refs: Table::default(),
            parent: None,
            size: 0,
        };
        self.data.repositories.insert(WEB_SHOP, repository);
        let changes =
            files.iter().map(|(path, content)| FileChange::Add((*path).to_owned(), content.to_vec()));
        let commit = NewCommit {
            message: "Web shop: catalogue, cart, sign-in".into(),
            changes: changes.collect(),
            author: None,
            committer: None,
            parent: None,
        };
        self.push(alice, WEB_SHOP, "refs/heads/main", ZERO_SHA, vec![commit])?;
        self.create_repository(alice, NORTHWIND, "ledger", None)?;
        let definition = self.set_definition(
            alice,
            WEB_SHOP,
            "web-shop CI",
            "/azure-pipelines.yml",
            super::checks::web_shop(),
        )?;
        // Shown on every pull request, refusing none: whoever wants it to refuse makes it blocking.
        let settings = json!({
            "buildDefinitionId": definition, "queueOnSourceUpdateOnly": true, "manualQueueOnly": false,
            "displayName": "web-shop CI", "validDuration": 720.0,
            "scope": [{"repositoryId": WEB_SHOP, "refName": "refs/heads/main", "matchKind": "exact"}],
        });
        self.set_policy(alice, FABRIKAM, None, super::policies::BUILD, true, false, settings)?;
        self.fill_work_items(alice)
    }

    fn fill_work_items(&mut self, alice: Actor) -> Outcome<()> {
        let bob = Some("bob@contoso.example");
        let carol = Some("carol@contoso.example");
        let epic = self.plant(alice, "Epic", "Shop ready for the autumn sale", "Doing", None, None, "Everything the shop needs before the sale starts: a sign-in that holds, a cart that adds up, and a catalogue that is quick.")?;
        let sign_in = self.plant(
            alice,
            "Issue",
            "Sign-in keeps customers signed in",
            "Doing",
            Some(epic),
            carol,
            "Customers report that they have to sign in again and again while they fill their cart.",
        )?;
        let sorting = self.plant(
            alice,
            "Issue",
            "Catalogue can be sorted by price",
            "To Do",
            Some(epic),
            bob,
            "Products are listed by name, those in stock first. Customers want to see the cheapest first.",
        )?;
        self.plant(
            alice,
            "Issue",
            "Search finds products by their number",
            "To Do",
            Some(epic),
            None,
            "Only names are searched: typing TEA-010 into the search box finds nothing.",
        )?;
        self.plant(
            alice,
            "Task",
            "Choose the order of a page of products",
            "To Do",
            Some(sorting),
            bob,
            "By name or by price, given with the query; by name when nothing is given.",
        )?;
        self.plant(
            alice,
            "Task",
            "Write down what a session is",
            "Done",
            Some(sign_in),
            carol,
            "One page in the README: when it starts, when it ends, who may extend it.",
        )?;
        Ok(())
    }

    #[allow(clippy::too_many_arguments, reason = "they are the columns of a seeded work item")]
    fn plant(
        &mut self,
        actor: Actor,
        kind: &str,
        title: &str,
        state: &str,
        parent: Option<u32>,
        assigned: Option<&str>,
        text: &str,
    ) -> Outcome<u32> {
        let add = |path: &str, value| Operation { op: "add".into(), path: path.into(), from: None, value };
        let mut operations = vec![
            add("/fields/System.Title", json!(title)),
            add("/fields/System.State", json!(state)),
            add("/fields/System.Description", json!(format!("<p>{text}</p>"))),
        ];
        if let Some(who) = assigned {
            operations.push(add("/fields/System.AssignedTo", json!(who)));
        }
        if let Some(parent) = parent {
            let url = format!("{}/_apis/wit/workItems/{parent}", self.base());
            operations
                .push(add("/relations/-", json!({"rel": "System.LinkTypes.Hierarchy-Reverse", "url": url})));
        }
        Ok(self.create_work_item(actor, FABRIKAM, kind, &operations, false)?.id)
    }
}

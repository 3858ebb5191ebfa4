//! What every page has: the person who looks, the place, and how a refusal looks.

use askama::Template;
use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use uuid::Uuid;

use super::super::refusal::Refusal;
use super::super::state::{Actor, Organisation, Person, Project, Repository, SYSTEM_ID, World};
use crate::simulator::tokens::AGENT_USER_ID;

/// Name of the cookie that says as whom one acts.
pub const COOKIE: &str = "simulator-person";
/// As whom one acts without a cookie.
const DEFAULT_PERSON: &str = "alice";
const SEGMENT: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'/')
    .add(b'&')
    .add(b'+');

/// One part of an address, escaped.
pub fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// A person as pages show one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// Display name.
    pub name: String,
    /// Short name, `alice`.
    pub short: String,
    /// What the person does.
    pub role: String,
    /// First letter, for the round sign beside the name.
    pub initial: String,
    /// Whether it is the agent's user.
    pub agent: bool,
}

impl Who {
    /// The person with this id; somebody unknown keeps the page readable.
    pub fn of(world: &World, id: Uuid) -> Self {
        world.person(id).map_or_else(|| Self::named("unknown"), Self::from)
    }

    fn named(name: &str) -> Self {
        let initial = name.chars().next().map_or(String::new(), |first| first.to_uppercase().collect());
        Self { name: name.into(), short: name.into(), role: String::new(), initial, agent: false }
    }
}

impl From<&Person> for Who {
    fn from(person: &Person) -> Self {
        if person.id == SYSTEM_ID {
            return Self::named("The service");
        }
        let agent = person.object_id.to_string() == AGENT_USER_ID;
        Self {
            short: person.name.clone(),
            role: person.role.clone(),
            agent,
            ..Self::named(&person.display_name)
        }
    }
}

/// Who looks, and at what.
pub struct Visitor {
    /// The shared organisation.
    pub organisation: Organisation,
    /// Identity of the person.
    pub person: Uuid,
    /// Path and query of this page.
    pub here: String,
}

impl FromRequestParts<Organisation> for Visitor {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, organisation: &Organisation) -> Result<Self, Fault> {
        let here = parts.uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
        let cookies =
            parts.headers.get(header::COOKIE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let chosen =
            cookies.split(';').filter_map(|pair| pair.trim().split_once('=')).find(|(key, _)| *key == COOKIE);
        let person = {
            let world = organisation.lock();
            let asked = parts.uri.path().split('/').nth(1).unwrap_or_default();
            if !asked.eq_ignore_ascii_case(&world.organization) {
                return Err(Fault::missing(&format!("There is no organisation “{asked}” here.")));
            }
            let human =
                |name: &str| people(&world).find(|person| person.name == name).map(|person| person.id);
            let found = chosen.and_then(|(_, name)| human(name)).or_else(|| human(DEFAULT_PERSON));
            found.or_else(|| people(&world).map(|person| person.id).next())
        };
        let person = person.ok_or_else(|| Fault::missing("Nobody belongs to this organisation."))?;
        Ok(Self { organisation: organisation.clone(), person, here })
    }
}

/// The people one can act as: those who sign in by themselves.
pub fn people(world: &World) -> impl Iterator<Item = &Person> {
    world.people.values().filter(|person| person.password.is_some())
}

impl Visitor {
    /// The person as the one who does something now.
    pub fn actor(&self, world: &mut World) -> Actor {
        Actor { id: self.person, activity: world.new_id() }
    }

    /// The person as the one who looks.
    pub fn reader(&self) -> Actor {
        Actor { id: self.person, activity: Uuid::nil() }
    }

    /// The frame of a page about the organisation.
    pub fn page(&self, world: &World, title: impl Into<String>) -> Page {
        let mut people: Vec<Who> = people(world).map(Who::from).collect();
        people.sort_by(|one, other| one.short.cmp(&other.short));
        Page {
            title: title.into(),
            organization: world.organization.clone(),
            me: Who::of(world, self.person),
            people,
            here: self.here.clone(),
            place: None,
            section: "",
            refresh: false,
        }
    }

    /// The frame of a page about a project; `section` is the tab it stands under.
    pub fn page_in(
        &self,
        world: &World,
        project: &Project,
        section: &'static str,
        title: impl Into<String>,
    ) -> Page {
        let mut repositories =
            world.repositories.values().filter(|repository| repository.project == project.id);
        let place = Place::of(world, project);
        let code = repositories.next().map(|repository| place.code(repository));
        Page { place: Some(Place { code, ..place }), section, ..self.page(world, title) }
    }
}

/// The project a page belongs to.
#[derive(Clone, Debug)]
pub struct Place {
    /// Name of the project.
    pub project: String,
    /// Its address without the host, no slash at the end.
    pub path: String,
    /// Address of its first repository.
    pub code: Option<String>,
}

impl Place {
    /// The place of a project.
    pub fn of(world: &World, project: &Project) -> Self {
        let path = format!("/{}/{}", segment(&world.organization), segment(&project.name));
        Self { project: project.name.clone(), path, code: None }
    }

    /// The address of a repository.
    pub fn code(&self, repository: &Repository) -> String {
        format!("{}/_git/{}", self.path, segment(&repository.name))
    }
}

/// The frame of a page.
pub struct Page {
    /// Title, also of the browser's tab.
    pub title: String,
    /// Name of the organisation.
    pub organization: String,
    /// As whom one acts.
    pub me: Who,
    /// As whom one could act.
    pub people: Vec<Who>,
    /// This page.
    pub here: String,
    /// The project, if the page belongs to one.
    pub place: Option<Place>,
    /// The tab.
    pub section: &'static str,
    /// Whether the page looks again by itself, because an answer is awaited.
    pub refresh: bool,
}

impl Page {
    /// Address of the style sheet, with a mark of its content.
    pub fn style(&self) -> String {
        let sum = super::STYLE.bytes().fold(5_381u32, |sum, byte| sum.wrapping_mul(33) ^ u32::from(byte));
        format!("/_static/simulator.css?{sum:x}")
    }
}

/// Renders a page; a template that fails is our mistake and says so.
pub fn show(template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => Html(html).into_response(),
        Err(why) => {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("This page cannot be shown: {why}\n")).into_response()
        }
    }
}

/// Why a page could not be shown or an act not be done.
#[derive(Debug)]
pub struct Fault {
    status: StatusCode,
    message: String,
}

impl Fault {
    /// Nothing is there, or the person may not see it.
    pub fn missing(message: &str) -> Self {
        Self { status: StatusCode::NOT_FOUND, message: message.to_owned() }
    }

    /// Any refusal.
    pub fn of(status: StatusCode, message: &str) -> Self {
        Self { status, message: message.to_owned() }
    }

    /// What was sent cannot be used.
    pub fn unusable(message: &str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, message: message.to_owned() }
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, message: refusal.message }
    }
}

#[derive(Template)]
#[template(path = "simulator/fault.html")]
struct FaultPage {
    title: &'static str,
    message: String,
    style: String,
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let title = match self.status {
            StatusCode::NOT_FOUND => "Not found",
            StatusCode::FORBIDDEN => "Not allowed",
            StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => "Changed meanwhile",
            _ => "That did not work",
        };
        let style = format!("/_static/simulator.css?{}", super::STYLE.len());
        let page = FaultPage { title, message: self.message, style };
        (self.status, show(&page)).into_response()
    }
}

/// The page for addresses without a page.
pub async fn nothing_here(request: Request) -> Response {
    Fault::missing(&format!("There is no page at {}.", request.uri().path())).into_response()
}

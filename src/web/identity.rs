//! The page that says who the co-worker is, from a token that was checked (B8). Never the token.

use askama::Template;
use axum::response::Response;

use super::problem::Problem;
use super::shown::Shell;
use super::viewer::Viewer;
use super::when::Moment;
use super::{ClaimShown, Shared, pages};

#[derive(Template)]
#[template(path = "identity.html")]
struct Page {
    shell: Shell,
    verified: Option<Verified>,
    owner: String,
    sponsor: String,
    model_key: bool,
}

struct Verified {
    agent_user: String,
    agent_user_id: String,
    agent_identity: String,
    blueprint: String,
    has_agent_facets: bool,
    expires: Moment,
    claims: Vec<ClaimShown>,
}

/// `GET /identity`.
pub(super) async fn page(app: Shared, viewer: Viewer) -> Result<Response, Problem> {
    let state = &app.state;
    let told = |name: &Option<String>| name.clone().unwrap_or_else(|| "not told".to_owned());
    let verified = (state.who)().map(|who| Verified {
        agent_user: who.agent_user,
        agent_user_id: told(&who.agent_user_id),
        agent_identity: who.agent_identity,
        blueprint: told(&who.blueprint),
        has_agent_facets: who.has_agent_facets,
        expires: Moment::at(who.token_expires),
        claims: who.claims,
    });
    pages::page(&Page {
        shell: Shell::new(&app, &viewer, "", "Identity"),
        verified,
        owner: told(&state.config.accountable.owner),
        sponsor: told(&state.config.accountable.sponsor),
        model_key: state.model_key,
    })
}

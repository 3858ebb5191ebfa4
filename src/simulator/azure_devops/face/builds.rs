//! Builds.

use askama::Template;
use axum::extract::Path;
use axum::response::Response;

use super::page::{Fault, Page, Visitor, show as render};

#[derive(Template)]
#[template(path = "simulator/builds.html")]
struct BuildsPage {
    page: Page,
}

/// `/{organization}/{project}/_build`
pub async fn list(visitor: Visitor, Path((_, name)): Path<(String, String)>) -> Result<Response, Fault> {
    let world = visitor.organisation.lock();
    let project = world.visible_project(visitor.reader(), &name)?;
    Ok(render(&BuildsPage { page: visitor.page_in(&world, project, "builds", "Builds") }))
}

/// `/{organization}/{project}/_build/results`
pub async fn show(visitor: Visitor, Path((_, name)): Path<(String, String)>) -> Result<Response, Fault> {
    let world = visitor.organisation.lock();
    world.visible_project(visitor.reader(), &name)?;
    Err(Fault::missing("There is no such build."))
}

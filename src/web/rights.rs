//! Whether somebody's own rights reach what is asked of the co-worker: it must not do for a person what
//! that person may not (A35).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use jiff::Timestamp;

use super::App;
use super::problem::Problem;
use super::viewer::Viewer;
use crate::clock::add;

/// How long a good answer is believed.
const BELIEVED: Duration = Duration::from_secs(5 * 60);
/// Most people whose answer is remembered.
const MAX_REMEMBERED: usize = 1_000;

/// People who were found to see the project, and when.
#[derive(Default)]
pub(super) struct Checked(Mutex<HashMap<String, Timestamp>>);

impl Checked {
    fn is_known(&self, oid: &str, now: Timestamp) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(oid).is_some_and(|at| add(*at, BELIEVED) > now)
    }

    fn remember(&self, oid: String, now: Timestamp) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_REMEMBERED {
            known.clear();
        }
        known.insert(oid, now);
    }
}

/// Refuses an instruction of somebody who does not see the project. The local person is not asked:
/// whoever sits at this machine reads the journal anyway.
pub(super) async fn check(app: &App, viewer: &Viewer) -> Result<(), Problem> {
    let (Some(rights), Some(oid)) = (&app.state.rights, &viewer.person.oid) else { return Ok(()) };
    let now = app.state.clock.now();
    if app.rights.is_known(oid, now) {
        return Ok(());
    }
    let Some(token) = viewer.own_token(app).await else {
        return Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "Your own rights in Azure DevOps cannot be checked any more with this sign-in.",
            "Sign in again (/sign-in).",
        ));
    };
    let project = &app.state.organization.project;
    match rights(oid.clone(), token).await {
        Ok(true) => {
            app.rights.remember(oid.clone(), now);
            Ok(())
        }
        Ok(false) => Err(Problem::new(
            StatusCode::FORBIDDEN,
            format!(
                "You have no access to the project '{project}' in Azure DevOps, so the co-worker takes no order for it from you."
            ),
            "Ask an administrator of the project to make you a member.",
        )),
        Err(why) => Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("Your rights in the project '{project}' cannot be checked: {why}"),
            "Try again; if it goes on, look at /doctor.",
        )),
    }
}

//! Builds.

use super::{Call, Reply};
use crate::simulator::azure_devops::state::Outcome;

/// `GET definitions`.
pub fn definitions(call: &Call<'_>) -> Outcome<Reply> {
    call.project(&call.organisation.lock())?;
    Ok(Reply::list(Vec::new()))
}

/// `GET builds`.
pub fn get(call: &Call<'_>) -> Outcome<Reply> {
    call.project(&call.organisation.lock())?;
    Ok(Reply::list(Vec::new()))
}

//! Files that build definitions name: whoever changes one changes what builds run, whatever it is
//! called.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::{Fault, Toolbox, classes};
use crate::azure_devops::Error;
use crate::clock;

/// How long the list is believed.
const KEPT: Duration = Duration::from_secs(60);

/// The list, and until when it is believed.
#[derive(Default)]
pub(super) struct Cache(Mutex<Option<(Timestamp, Vec<String>)>>);

impl Toolbox {
    /// Paths of the files that the definitions of the served repository name, as rules compare paths.
    /// Where the service does not show definitions, none: then the file's name and text decide.
    pub(super) async fn obeyed(&self) -> Result<Vec<String>, Fault> {
        let now = self.now();
        let kept = self.obeyed.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, paths)) = kept.filter(|(until, _)| *until > now) {
            return Ok(paths);
        }
        let repository = self.repository().await?;
        let found = match self.azure.build_definitions(&self.served.project, &repository.id).await {
            Ok(found) => found,
            Err(Error::NotFound(_) | Error::Forbidden(_)) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let paths: Vec<String> =
            found.into_iter().filter_map(|one| one.yaml).map(|path| classes::canonical(&path)).collect();
        let kept = (clock::add(now, KEPT), paths.clone());
        *self.obeyed.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        Ok(paths)
    }
}

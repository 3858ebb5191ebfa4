//! The rules in force: one set at a time, exchanged as a whole.

use std::sync::{Arc, PoisonError, RwLock};

use super::{Policy, PolicyError};

/// The rules in force. A set that is refused leaves the old one, and the refusal is told.
#[derive(Debug)]
pub struct InForce {
    state: RwLock<State>,
}

#[derive(Debug)]
struct State {
    policy: Arc<Policy>,
    /// Why the newest file was refused.
    refused: Option<String>,
}

impl InForce {
    /// These rules.
    pub fn new(policy: Policy) -> Self {
        Self { state: RwLock::new(State { policy: Arc::new(policy), refused: None }) }
    }

    /// The rules that decide now.
    pub fn get(&self) -> Arc<Policy> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).policy.clone()
    }

    /// Why the newest rule file is not in force; none when it is.
    pub fn refused(&self) -> Option<String> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).refused.clone()
    }

    /// Puts the rules of `text` in force. True: they are others than before.
    ///
    /// # Errors
    /// [`PolicyError`]: the old rules stay, and [`InForce::refused`] says why.
    pub fn replace(
        &self,
        text: &str,
        check: impl Fn(&Policy) -> Result<(), PolicyError>,
    ) -> Result<bool, PolicyError> {
        let read = super::parse(text).and_then(|policy| check(&policy).map(|()| policy));
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        match read {
            Ok(policy) => {
                let changed = policy.hash() != state.policy.hash();
                *state = State { policy: Arc::new(policy), refused: None };
                Ok(changed)
            }
            Err(error) => {
                state.refused = Some(error.to_string());
                Err(error)
            }
        }
    }

    /// Notes that the rule file could not even be read; the old rules stay.
    pub fn unreadable(&self, why: String) {
        self.state.write().unwrap_or_else(PoisonError::into_inner).refused = Some(why);
    }
}

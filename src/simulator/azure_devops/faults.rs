//! Faults on demand: what shall go wrong, on which request, the how-many-th time.

use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::wire_enum::wire_enum;

/// Faults that can be armed at once.
const ARMED: usize = 1_000;

wire_enum! {
    /// What goes wrong.
    FaultKind {
        Latency = 1 "latency", Throttle = 2 "throttle", RetryAfterOnSuccess = 3 "retry_after_on_success",
        ServerError = 4 "server_error", ResetBefore = 5 "reset_before", ResetAfter = 6 "reset_after",
        Truncate = 7 "truncate", ExpiredToken = 8 "expired_token", DuplicateHook = 9 "duplicate_hook",
        DelayHook = 10 "delay_hook", ReorderHooks = 11 "reorder_hooks",
        SignInPage = 12 "sign_in_page", UnknownUser = 13 "unknown_user",
        Forbidden = 14 "forbidden", NotFound = 15 "not_found",
    }
}

impl FaultKind {
    fn of_hooks(self) -> bool {
        matches!(self, FaultKind::DuplicateHook | FaultKind::DelayHook | FaultKind::ReorderHooks)
    }
}

/// One fault.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// `*`, a resource name (`pushes`), or a part of the path; `POST pushes` with a method. For
    /// hooks the event type.
    pub route: String,
    /// The how-many-th matching request, from 1; 0 for every one.
    #[serde(default = "first")]
    pub nth: u32,
    /// What.
    pub kind: FaultKind,
    /// `ms`, `seconds`, `retry_after`, `status`, `after`.
    #[serde(default)]
    pub args: Value,
}

fn first() -> u32 {
    1
}

/// A fault with how often it was met.
#[derive(Clone, Debug, Serialize)]
struct Armed {
    #[serde(flatten)]
    fault: Fault,
    seen: u32,
    fired: u32,
}

/// The armed faults.
#[derive(Debug, Default)]
pub struct Faults(Mutex<Vec<Armed>>);

impl Fault {
    /// A number among the arguments.
    pub fn number(&self, name: &str, default: u64) -> u64 {
        self.args[name].as_u64().unwrap_or(default)
    }

    fn fits(&self, method: &str, resource: Option<&str>, path: &str) -> bool {
        let (wanted, route) = match self.route.split_once(' ') {
            Some((wanted, route)) => (Some(wanted), route.trim()),
            None => (None, self.route.as_str()),
        };
        let named = resource.is_some_and(|r| r.eq_ignore_ascii_case(route));
        let inside = path.to_ascii_lowercase().contains(&route.to_ascii_lowercase());
        wanted.is_none_or(|w| w.eq_ignore_ascii_case(method)) && (route == "*" || named || inside)
    }
}

impl Faults {
    /// Arms a fault; false when there are too many.
    pub fn arm(&self, fault: Fault) -> bool {
        let mut armed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if armed.len() >= ARMED {
            return false;
        }
        armed.push(Armed { fault, seen: 0, fired: 0 });
        true
    }

    /// Takes all faults away.
    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The armed faults as JSON.
    pub fn list(&self) -> Value {
        let armed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        serde_json::to_value(&*armed).unwrap_or_default()
    }

    /// The faults that strike this request.
    pub fn strike(&self, method: &str, resource: Option<&str>, path: &str) -> Vec<Fault> {
        self.take(|f| !f.kind.of_hooks() && f.fits(method, resource, path))
    }

    /// The faults that strike this delivery.
    pub fn strike_hook(&self, event_type: &str) -> Vec<Fault> {
        self.take(|f| f.kind.of_hooks() && f.fits("POST", Some(event_type), event_type))
    }

    fn take(&self, fits: impl Fn(&Fault) -> bool) -> Vec<Fault> {
        let mut armed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut struck = Vec::new();
        for entry in armed.iter_mut().filter(|e| fits(&e.fault)) {
            entry.seen += 1;
            if entry.fault.nth == 0 || entry.fault.nth == entry.seen {
                entry.fired += 1;
                struck.push(entry.fault.clone());
            }
        }
        struck
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_strikes_the_nth_matching_request_only() {
        let faults = Faults::default();
        let fault = serde_json::json!({"route": "POST pushes", "nth": 2, "kind": "throttle", "args": {"retry_after": 3}});
        assert!(faults.arm(serde_json::from_value(fault).unwrap()));
        let hit = |method: &str, resource: &str| faults.strike(method, Some(resource), "/contoso/x").len();
        assert_eq!((hit("POST", "pushes"), hit("GET", "pushes"), hit("POST", "refs")), (0, 0, 0));
        assert_eq!((hit("POST", "Pushes"), hit("POST", "pushes")), (1, 0));
        assert!(serde_json::from_str::<Fault>(r#"{"route":"*","kind":"explode"}"#).is_err());
    }
}

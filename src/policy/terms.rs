//! Who may approve what a rule leaves to people, and for how long.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Time to live of a request for approval when a rule says nothing (GOVERNANCE §4.1).
pub const DEFAULT_TTL: Duration = Duration::from_secs(30 * 60);
/// Longest time to live of a request for approval.
pub const MAX_TTL: Duration = Duration::from_secs(24 * 60 * 60);
/// The role that approves when a rule names nobody.
pub const DEFAULT_APPROVER: &str = "approver";
/// Most people that a rule can want.
pub const MAX_APPROVERS: u32 = 10;

/// Roles that a rule may name as approvers; everything else must be the id of a group.
pub const ROLES: [&str; 5] = ["instructor", "approver", "auditor", "admin", "break_glass"];

/// The people who may approve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approvers {
    /// Roles or object ids of Entra groups; a member of any of them may approve.
    pub any_of: Vec<String>,
    /// How many different people have to.
    #[serde(default = "one")]
    pub min: u32,
    /// Whether authors of text that the run has read are excluded.
    #[serde(default = "yes")]
    pub exclude_taint_authors: bool,
}

fn one() -> u32 {
    1
}

fn yes() -> bool {
    true
}

impl Default for Approvers {
    fn default() -> Self {
        Self { any_of: vec![DEFAULT_APPROVER.to_owned()], min: 1, exclude_taint_authors: true }
    }
}

/// How far an approval reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grant {
    /// This one action.
    #[default]
    Once,
    /// The same kind of action on the same object, in this run.
    Session,
    /// The same kind of action on the same object, for a time.
    Window,
}

/// What an approval of an asked action takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Who.
    pub approvers: Approvers,
    /// How long the request stays open, in seconds.
    pub ttl_s: u64,
    /// How far the approval reaches.
    pub grant: Grant,
    /// Whether who approves has to say why.
    #[serde(default)]
    pub require_reason: bool,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            approvers: Approvers::default(),
            ttl_s: DEFAULT_TTL.as_secs(),
            grant: Grant::Once,
            require_reason: false,
        }
    }
}

impl Terms {
    /// Terms that satisfy both: the people that both name, the greater number, the shorter time,
    /// the narrower reach. None when nobody is named by both.
    pub(super) fn and(self, other: &Self) -> Option<Self> {
        let both: Vec<String> = self
            .approvers
            .any_of
            .into_iter()
            .filter(|group| other.approvers.any_of.iter().any(|one| one.eq_ignore_ascii_case(group)))
            .collect();
        (!both.is_empty()).then(|| Self {
            approvers: Approvers {
                any_of: both,
                min: self.approvers.min.max(other.approvers.min),
                exclude_taint_authors: self.approvers.exclude_taint_authors
                    || other.approvers.exclude_taint_authors,
            },
            ttl_s: self.ttl_s.min(other.ttl_s),
            grant: self.grant.min(other.grant),
            require_reason: self.require_reason || other.require_reason,
        })
    }
}

/// Reads a time such as `90s`, `30m` or `2h`; none when it is not one, zero, or over [`MAX_TTL`].
pub(super) fn time(text: &str) -> Option<Duration> {
    let split = text.len().checked_sub(1).filter(|at| text.is_char_boundary(*at))?;
    let (number, unit) = text.split_at(split);
    let number: u64 = number.trim().parse().ok()?;
    let seconds = match unit {
        "s" => number,
        "m" => number.checked_mul(60)?,
        "h" => number.checked_mul(3600)?,
        _ => return None,
    };
    let time = Duration::from_secs(seconds);
    (!time.is_zero() && time <= MAX_TTL).then_some(time)
}

/// Whether `text` has the form of an object id: `8-4-4-4-12` hexadecimal digits.
pub fn is_object_id(text: &str) -> bool {
    let lengths = [8, 4, 4, 4, 12];
    let parts: Vec<&str> = text.split('-').collect();
    parts.len() == lengths.len()
        && parts
            .iter()
            .zip(lengths)
            .all(|(part, length)| part.len() == length && part.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_or_refused() {
        assert_eq!(time("30m"), Some(Duration::from_secs(1800)));
        assert_eq!(time("2h"), Some(Duration::from_secs(7200)));
        for bad in ["", "m", "0m", "30", "-1m", "25h", "1d", "1µ", "99999999999999999999s"] {
            assert_eq!(time(bad), None, "{bad}");
        }
    }

    #[test]
    fn two_rules_ask_the_people_that_both_name() {
        let of = |any_of: &[&str], min| Terms {
            approvers: Approvers {
                any_of: any_of.iter().map(|g| (*g).to_owned()).collect(),
                min,
                exclude_taint_authors: false,
            },
            ttl_s: 60,
            grant: Grant::Session,
            require_reason: false,
        };
        let both = of(&["a", "b"], 1).and(&of(&["b", "c"], 2)).unwrap();
        assert_eq!((both.approvers.any_of, both.approvers.min), (vec!["b".to_owned()], 2));
        assert_eq!(of(&["a"], 1).and(&of(&["b"], 1)), None);
    }
}

//! Who may approve what a rule leaves to people, and for how long, as a rule file writes it.

use serde::Deserialize;

use super::approval::{GrantKind, Panel, Terms};

/// Longest time to live of a request for approval: a day, in seconds.
pub(super) const MAX_TTL_S: u32 = 24 * 60 * 60;
/// Most people that a rule can want.
pub(super) const MAX_APPROVERS: u32 = 10;

/// Roles that a rule may name as approvers; everything else must be the object id of a group.
pub const ROLES: [&str; 5] = ["instructor", "approver", "auditor", "admin", "break_glass"];

/// The people who may approve, as written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Approvers {
    any_of: Vec<String>,
    #[serde(default = "one")]
    min: u32,
    #[serde(default = "yes")]
    exclude_taint_authors: bool,
}

fn one() -> u32 {
    1
}

fn yes() -> bool {
    true
}

/// What is wrong with what a rule says of its approvers.
pub(super) enum Fault {
    Empty,
    Unknown(String),
    Value(String),
}

/// The terms of one rule.
pub(super) fn terms(
    approvers: Option<&Approvers>,
    ttl: Option<&str>,
    grant: Option<GrantKind>,
    reason: Option<bool>,
) -> Result<Terms, Fault> {
    let mut terms = Terms::default();
    if let Some(approvers) = approvers {
        if approvers.any_of.is_empty() {
            return Err(Fault::Empty);
        }
        if approvers.min == 0 || approvers.min > MAX_APPROVERS {
            return Err(Fault::Value(format!("approvers.min is 1 to {MAX_APPROVERS}")));
        }
        let known = |name: &str| ROLES.contains(&name) || is_object_id(name);
        if let Some(group) = approvers.any_of.iter().find(|name| !known(name)) {
            return Err(Fault::Unknown(group.clone()));
        }
        terms.panels = vec![Panel { any_of: approvers.any_of.clone(), min: approvers.min }];
        terms.exclude_taint_authors = approvers.exclude_taint_authors;
    }
    if let Some(text) = ttl {
        let hours = MAX_TTL_S / 3600;
        let wrong =
            || Fault::Value(format!("ttl '{text}' is not a time; write 90s, 30m or 2h, at most {hours}h"));
        terms.ttl_s = seconds(text).ok_or_else(wrong)?;
    }
    terms.grant = grant.unwrap_or_default();
    terms.reason = reason.unwrap_or_default();
    Ok(terms)
}

/// Reads a time such as `90s`, `30m` or `2h`; none when it is not one, zero, or over [`MAX_TTL_S`].
fn seconds(text: &str) -> Option<u32> {
    let split = text.len().checked_sub(1).filter(|at| text.is_char_boundary(*at))?;
    let (number, unit) = text.split_at(split);
    let number: u32 = number.trim().parse().ok()?;
    let seconds = match unit {
        "s" => number,
        "m" => number.checked_mul(60)?,
        "h" => number.checked_mul(3600)?,
        _ => return None,
    };
    (seconds > 0 && seconds <= MAX_TTL_S).then_some(seconds)
}

/// Whether `text` has the form of an object id: `8-4-4-4-12` hexadecimal digits.
pub fn is_object_id(text: &str) -> bool {
    let lengths = [8, 4, 4, 4, 12];
    let parts: Vec<&str> = text.split('-').collect();
    let fits =
        |(part, length): (&&str, usize)| part.len() == length && part.bytes().all(|b| b.is_ascii_hexdigit());
    parts.len() == lengths.len() && parts.iter().zip(lengths).all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_or_refused() {
        assert_eq!(seconds("30m"), Some(1_800));
        assert_eq!(seconds("2h"), Some(7_200));
        for bad in ["", "m", "0m", "30", "-1m", "25h", "1d", "1\u{b5}", "99999999999999999999s"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
        assert!(is_object_id("00000000-1111-4222-8333-444444444444"));
        assert!(!is_object_id("approver"));
    }
}

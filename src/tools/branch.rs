//! What the co-worker calls its branches.

/// Longest part of a branch name that is made from words, in characters.
const SLUG: usize = 40;

/// `agent/{work item}-{slug}`, or `agent/{slug}` without one (CONTRACTS).
pub(super) fn new_name(work_item: Option<u32>, title: &str, tail: &str) -> String {
    let mut slug = String::new();
    for c in title.chars() {
        match c.to_ascii_lowercase() {
            c if c.is_ascii_alphanumeric() => slug.push(c),
            _ if slug.ends_with('-') || slug.is_empty() => {}
            _ => slug.push('-'),
        }
        if slug.len() >= SLUG {
            break;
        }
    }
    let parts = [
        work_item.map(|id| id.to_string()).unwrap_or_default(),
        slug.trim_matches('-').to_owned(),
        tail.to_owned(),
    ];
    let name = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-");
    format!("agent/{}", if name.is_empty() { "change".to_owned() } else { name })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::BranchName;

    #[test]
    fn branch_names_are_made_from_work_item_and_words() {
        assert_eq!(new_name(Some(17), "Fix login timeout", ""), "agent/17-fix-login-timeout");
        assert_eq!(new_name(None, "  Größe: ändern!! ", ""), "agent/gr-e-ndern");
        assert_eq!(new_name(None, "日本語", ""), "agent/change");
        assert_eq!(
            new_name(Some(1), &"long ".repeat(40), "ab12cd").len(),
            "agent/1--ab12cd".len() + SLUG - 1
        );
        for title in ["a.lock", "x..y", "-", "Fix login timeout"] {
            BranchName::new(&new_name(Some(1), title, "")).unwrap();
        }
    }
}

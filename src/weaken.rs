//! One switch for each defence, for the tests that prove that it is the defence which stops an
//! attack. An ordinary build has none of it: [`off`] is then `false` at compile time.

/// A defence that a build with the feature `weaken` can do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defence {
    /// Only own `agent/` branches are pushed to.
    ProtectedBranch,
    /// Only people who may give orders start work by what they write.
    InstructorCheck,
    /// Only own pull requests are written in.
    OwnPr,
    /// Files that builds, rules or package managers obey are seen.
    PathCheck,
    /// Counts of one run are added up.
    Counters,
    /// What was read lowers the trust in a run.
    Taint,
    /// An event's run keeps to what the event was about.
    PlanLock,
    /// Outgoing text may point to listed hosts only.
    EgressHosts,
    /// Hidden characters and comments are taken out of what comes in.
    SanitiseIn,
    /// Images, HTML and build commands are taken out of what goes out.
    SanitiseOut,
    /// Secrets are hidden in what comes in, and kept from going out.
    Mask,
    /// A placeholder goes out nowhere but to its own place.
    PlaceholderSink,
    /// The flows that no rule file can allow.
    FlowRules,
    /// An approval is for one exact action.
    ApprovalDigest,
    /// An approval is by other people than those involved.
    ApprovalPeople,
    /// Steps, tokens, money and writes are bounded.
    Budgets,
    /// An event happens once.
    Dedup,
    /// What cannot be recorded is not done.
    RecordFailClosed,
}

impl Defence {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::ProtectedBranch,
        Self::InstructorCheck,
        Self::OwnPr,
        Self::PathCheck,
        Self::Counters,
        Self::Taint,
        Self::PlanLock,
        Self::EgressHosts,
        Self::SanitiseIn,
        Self::SanitiseOut,
        Self::Mask,
        Self::PlaceholderSink,
        Self::FlowRules,
        Self::ApprovalDigest,
        Self::ApprovalPeople,
        Self::Budgets,
        Self::Dedup,
        Self::RecordFailClosed,
    ];

    /// The name that switches it off, for example `protected_branch`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ProtectedBranch => "protected_branch",
            Self::InstructorCheck => "instructor_check",
            Self::OwnPr => "own_pr",
            Self::PathCheck => "path_check",
            Self::Counters => "counters",
            Self::Taint => "taint",
            Self::PlanLock => "plan_lock",
            Self::EgressHosts => "egress_hosts",
            Self::SanitiseIn => "sanitise_in",
            Self::SanitiseOut => "sanitise_out",
            Self::Mask => "mask",
            Self::PlaceholderSink => "placeholder_sink",
            Self::FlowRules => "flow_rules",
            Self::ApprovalDigest => "approval_digest",
            Self::ApprovalPeople => "approval_people",
            Self::Budgets => "budgets",
            Self::Dedup => "dedup",
            Self::RecordFailClosed => "record_fail_closed",
        }
    }
}

/// Whether `defence` is switched off. Never, in an ordinary build.
#[cfg(not(feature = "weaken"))]
pub const fn off(_defence: Defence) -> bool {
    false
}

/// Whether `defence` is among those that the environment of this process switches off.
#[cfg(feature = "weaken")]
#[allow(clippy::disallowed_methods, reason = "no setting: an ordinary build must not know the name")]
pub fn off(defence: Defence) -> bool {
    use std::sync::OnceLock;
    static NAMES: OnceLock<String> = OnceLock::new();
    let names = NAMES.get_or_init(|| std::env::var("ADO_COWORKER_WEAKEN").unwrap_or_default());
    names.split(',').any(|name| name.trim() == defence.name())
}

#[cfg(all(test, not(feature = "weaken")))]
mod tests {
    use super::*;

    // Known when compiling: no branch on it is left in the program.
    const _: () = assert!(!off(Defence::ProtectedBranch) && !off(Defence::Mask) && !off(Defence::Taint));

    #[test]
    fn an_ordinary_build_has_no_switch() {
        assert!(Defence::ALL.into_iter().all(|defence| !off(defence)));
        let manifest = include_str!("../Cargo.toml");
        let features = manifest.split("[features]").nth(1).unwrap().split("\n[").next().unwrap();
        assert!(!features.contains("default"), "no feature is on by default");
        assert!(features.contains("weaken = []"));
    }
}

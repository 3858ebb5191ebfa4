//! The rules that no file can change (GOVERNANCE §6.2). They only ask or deny.

use super::actions::is_read;
use super::{Facts, Outcome};
use crate::weaken::{Defence, off};

/// A rule of the program itself.
pub(super) struct Fixed {
    pub(super) id: &'static str,
    pub(super) effect: Outcome,
    pub(super) message: &'static str,
    pub(super) matches: fn(&Facts) -> bool,
}

/// All of them. F4 is a flag and no rule: facts name what is quoted, and the card shows it. F5, the
/// agent never acts on what it caused, is kept where events are judged.
pub(super) const RULES: &[Fixed] = &[
    Fixed {
        id: "flow-other-place",
        effect: Outcome::Ask,
        message: "This run has read text from another project or repository; writing here needs a person.",
        // F1
        matches: |facts| {
            !is_read(&facts.action)
                && facts.taint_elsewhere
                && !off(Defence::FlowRules)
                && !off(Defence::Taint)
        },
    },
    Fixed {
        id: "flow-wider-audience",
        effect: Outcome::Ask,
        message: "This run has read secrets; what it writes elsewhere needs a person.",
        // F2
        matches: |facts| {
            let elsewhere = !facts.project_served || !facts.run_object;
            facts.class_b && elsewhere && !is_read(&facts.action) && !off(Defence::FlowRules)
        },
    },
    Fixed {
        id: "flow-unknown-host",
        effect: Outcome::Ask,
        message: "The text points to a host that is not on the egress list.",
        // F3
        matches: |facts| !is_read(&facts.action) && !facts.new_hosts.is_empty() && !off(Defence::FlowRules),
    },
    Fixed {
        id: "plan-lock",
        effect: Outcome::Ask,
        message: "An event began this run, and this is not among what such a run does by itself.",
        matches: |facts| !is_read(&facts.action) && facts.outside_plan && !off(Defence::PlanLock),
    },
    Fixed {
        id: "fork-build",
        effect: Outcome::Deny,
        message: "Builds are never started for code of a fork: they could hand out the pipeline's secrets.",
        matches: |facts| facts.action == "build.queue" && facts.fork && !off(Defence::FlowRules),
    },
];

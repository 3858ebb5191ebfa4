use proptest::prelude::*;

use super::*;
use crate::action::{Action, BranchName, CommitId, RepositoryRef};

fn default_policy() -> &'static Policy {
    static POLICY: std::sync::LazyLock<Policy> =
        std::sync::LazyLock::new(|| parse(DEFAULT_POLICY).expect("the rules that ship are good"));
    &POLICY
}

fn push(branch: &str) -> Facts {
    Facts {
        action: "git.push".into(),
        project_served: true,
        branch: Some(branch.into()),
        own_branch: true,
        run_object: true,
        ..Facts::default()
    }
}

#[test]
fn pushes_reach_own_branches_only() {
    let policy = default_policy();
    assert_eq!(policy.decide(&push("agent/1-x")).outcome, Outcome::Allow);
    for branch in ["main", "Main", "release/1", "feature/x", "agent", "Agent/1"] {
        assert_eq!(policy.decide(&push(branch)).outcome, Outcome::Deny, "{branch}");
    }
    assert_eq!(policy.decide(&Facts { own_branch: false, ..push("agent/1-x") }).outcome, Outcome::Deny);
    assert_eq!(policy.decide(&Facts { project_served: false, ..push("agent/1-x") }).outcome, Outcome::Deny);
}

#[test]
fn a_build_is_a_persons_decision_and_nothing_completes_or_votes() {
    let policy = default_policy();
    let facts = |action: &str| Facts {
        action: action.into(),
        own_pull_request: true,
        build_green: true,
        ..push("agent/1-x")
    };
    assert_eq!(policy.decide(&facts("build.queue")).outcome, Outcome::Ask);
    for action in ["pull_request.complete", "pull_request.vote", "pull_request.auto_complete"] {
        assert_eq!(policy.decide(&facts(action)).outcome, Outcome::Deny, "{action}");
    }
    assert_eq!(policy.decide(&facts("pull_request.publish")).outcome, Outcome::Allow);
    let red = Facts { build_green: false, ..facts("pull_request.publish") };
    assert_eq!(policy.decide(&red).rules, ["publish-when-green"]);
}

#[test]
fn the_main_job_runs_without_a_question_and_everything_else_tainted_asks() {
    let policy = default_policy();
    let tainted = |action: &str, run_object| Facts {
        action: action.into(),
        own_pull_request: true,
        taint: Label::Untrusted,
        run_object,
        ..push("agent/1-x")
    };
    for action in [
        "work_item.create",
        "work_item.update",
        "work_item.comment",
        "git.create_branch",
        "git.push",
        "pull_request.create",
        "pull_request.update",
        "thread.create",
        "thread.reply",
        "thread.set_status",
    ] {
        assert_eq!(policy.decide(&tainted(action, true)).outcome, Outcome::Allow, "{action}");
        assert_eq!(policy.decide(&tainted(action, false)).outcome, Outcome::Ask, "{action}");
        let elsewhere = Facts { taint_elsewhere: true, ..tainted(action, true) };
        assert_eq!(policy.decide(&elsewhere).rules, ["flow-other-place"], "{action}");
    }
    let build = policy.decide(&tainted("build.queue", true));
    assert_eq!(build.rules, ["builds-after-untrusted-text"]);
}

#[test]
fn no_rule_file_allows_what_the_program_itself_holds_back() {
    let all = "version = 1\n[[rule]]\nid = \"all\"\neffect = \"allow\"\naction = [\"*\"]\n";
    let policy = parse(all).unwrap();
    let facts = push("main");
    assert_eq!(policy.decide(&facts).outcome, Outcome::Allow);
    for (id, held) in [
        ("flow-other-place", Facts { taint_elsewhere: true, ..facts.clone() }),
        ("flow-wider-audience", Facts { class_b: true, run_object: false, ..facts.clone() }),
        ("flow-unknown-host", Facts { new_hosts: vec!["evil.example".into()], ..facts.clone() }),
        ("plan-lock", Facts { outside_plan: true, ..facts.clone() }),
    ] {
        let verdict = policy.decide(&held);
        assert_eq!((verdict.outcome, verdict.rules), (Outcome::Ask, vec![id.to_owned()]));
        assert_eq!(verdict.terms, Some(Terms::default()), "{id}: somebody can approve it");
    }
    let fork = Facts { action: "build.queue".into(), fork: true, ..facts };
    assert_eq!(policy.decide(&fork).outcome, Outcome::Deny);
}

#[test]
fn nothing_listed_means_deny() {
    let facts = Facts { action: "wiki.update".into(), project_served: true, ..Facts::default() };
    let verdict = default_policy().decide(&facts);
    assert_eq!(verdict.outcome, Outcome::Deny);
    assert!(verdict.rules.is_empty());
}

#[test]
fn a_permit_needs_facts_about_its_own_action() {
    let action = Action::CreateBranch {
        repository: RepositoryRef { project: "P".into(), repository: "r".into() },
        branch: BranchName::new("agent/x").unwrap(),
        commit: CommitId::new(&"a".repeat(40)).unwrap(),
    };
    let verdict = default_policy().permit(action, &push("agent/x")).unwrap_err();
    assert_eq!(verdict.outcome, Outcome::Deny);
    assert_eq!(verdict.facts.unwrap().branch.as_deref(), Some("agent/x"), "the facts are on record");
}

const RULE: &str = "version = 1\n[[rule]]\nid = \"a\"\neffect = \"allow\"\naction = [\"git.push\"]\n";

#[test]
fn a_rule_file_with_a_doubt_is_refused() {
    let with = |more: &str| parse(&format!("{RULE}{more}\n"));
    assert!(parse(RULE).is_ok());
    assert!(matches!(parse("version = 2"), Err(PolicyError::Version(2))));
    assert!(matches!(with("brnach = [\"main\"]"), Err(PolicyError::Form(_))));
    assert!(matches!(with("taint_at_least = \"dirty\""), Err(PolicyError::Form(_))));
    assert!(matches!(with("enforce = \"off\""), Err(PolicyError::Form(_))));
    assert!(matches!(with("branch = [\"a{\"]"), Err(PolicyError::Glob { .. })));
    assert!(matches!(with("branch = []"), Err(PolicyError::Empty { key: "branch", .. })));
    assert!(matches!(with("any_path = [\" \"]"), Err(PolicyError::Empty { .. })));
    assert!(matches!(with("ttl = \"30m\""), Err(PolicyError::Value { .. })));
    let twice = with("[[rule]]\nid = \"a\"\neffect = \"deny\"\naction = [\"git.push\"]\nbranch = [\"x\"]");
    assert!(matches!(twice, Err(PolicyError::Duplicate(_))));
    let failing = with("[[rule.test]]\nfacts = { action = \"git.push\" }\nexpect = \"deny\"");
    assert!(matches!(failing, Err(PolicyError::Test { number: 1, .. })));
    let strange =
        with("[[rule.test]]\nfacts = { action = \"git.push\", brnach = \"x\" }\nexpect = \"allow\"");
    assert!(matches!(strange, Err(PolicyError::Form(_))));
    let action = with("[[rule]]\nid = \"b\"\neffect = \"deny\"\naction = [\"git.psuh\"]");
    assert!(matches!(action, Err(PolicyError::Action { .. })));
    assert!(matches!(
        with("[[rule]]\nid = \"b c\"\neffect = \"deny\"\naction = [\"git.*\"]"),
        Err(PolicyError::Id(_))
    ));
    assert!(matches!(parse("version = 1\n[egress]\nhosts = [\"https://x\"]"), Err(PolicyError::Host(_))));
}

#[test]
fn a_rule_that_can_never_decide_is_refused() {
    let with = |more: &str| parse(&format!("{RULE}branch = [\"agent/x\"]\n{more}\n"));
    let unreachable =
        |more: &str| assert!(matches!(with(more), Err(PolicyError::Unreachable { .. })), "{more}");
    unreachable("[[rule]]\nid = \"b\"\neffect = \"deny\"\naction = [\"git.*\"]");
    unreachable("[[rule]]\nid = \"b\"\neffect = \"ask\"\naction = [\"git.push\"]\nbranch = [\"agent/**\"]");
    unreachable("[[rule]]\nid = \"b\"\neffect = \"allow\"\naction = [\"git.push\"]\nbranch = [\"agent/x\"]");
    unreachable("[[rule]]\nid = \"b\"\neffect = \"deny\"\naction = [\"thread.reply\"]\nbranch = [\"main\"]");
    unreachable(
        "[[rule]]\nid = \"b\"\neffect = \"deny\"\naction = [\"work_item.create\"]\nany_path = [\"**\"]",
    );
    assert!(
        with("[[rule]]\nid = \"b\"\neffect = \"deny\"\naction = [\"git.push\"]\nbranch = [\"agent/y\"]")
            .is_ok()
    );
    let observed = "[[rule]]\nid = \"b\"\neffect = \"deny\"\nenforce = \"observe\"\naction = [\"git.push\"]";
    assert!(with(observed).is_ok(), "what only observes hides nothing");
}

#[test]
fn a_rule_that_observes_is_noted_and_does_not_decide() {
    let text = format!(
        "{RULE}[[rule]]\nid = \"watch\"\neffect = \"deny\"\nenforce = \"observe\"\naction = [\"git.push\"]\nbranch = [\"main\"]\n"
    );
    let verdict = parse(&text).unwrap().decide(&push("main"));
    assert_eq!((verdict.outcome, verdict.observed), (Outcome::Allow, vec!["watch: deny".to_owned()]));
}

#[test]
fn approvers_are_people_who_can_be_found() {
    let ask = |rest: &str| {
        parse(&format!(
            "version = 1\n[[rule]]\nid = \"a\"\neffect = \"ask\"\naction = [\"git.push\"]\n{rest}\n"
        ))
    };
    let group = "00000000-1111-4222-8333-444444444444";
    let policy =
        ask(&format!("approvers = {{ any_of = [\"{group}\"], min = 2 }}\nttl = \"2h\"\ngrant = \"session\""))
            .unwrap();
    let terms = policy.decide(&push("agent/1")).terms.unwrap();
    assert_eq!((terms.approvers.min, terms.ttl_s, terms.grant), (2, 7200, Grant::Session));
    assert!(terms.approvers.exclude_taint_authors);
    assert!(policy.resolve(|name| name == group).is_ok());
    assert!(matches!(policy.resolve(|_| false), Err(PolicyError::Approvers { .. })));
    assert!(matches!(ask("approvers = { any_of = [\"the boss\"] }"), Err(PolicyError::Approvers { .. })));
    assert!(matches!(ask("approvers = { any_of = [] }"), Err(PolicyError::Empty { .. })));
    assert!(matches!(ask("approvers = { any_of = [\"admin\"], min = 0 }"), Err(PolicyError::Value { .. })));
    assert!(matches!(ask("ttl = \"soon\""), Err(PolicyError::Value { .. })));
}

#[test]
fn rules_that_name_different_approvers_leave_nobody() {
    let text = "version = 1\n\
        [[rule]]\nid = \"a\"\neffect = \"ask\"\naction = [\"git.push\"]\napprovers = { any_of = [\"approver\"] }\n\
        [[rule]]\nid = \"b\"\neffect = \"ask\"\naction = [\"git.push\"]\ndeleted_over = 1\napprovers = { any_of = [\"admin\"] }\n";
    let policy = parse(text).unwrap();
    assert_eq!(policy.decide(&push("x")).outcome, Outcome::Ask);
    assert_eq!(policy.decide(&Facts { deleted: 2, ..push("x") }).outcome, Outcome::Deny);
}

#[test]
fn case_and_folders_do_not_dodge_a_rule() {
    let policy = default_policy();
    for path in [
        "azure-pipelines.yml",
        "Azure-Pipelines.YAML",
        "/ci/azure-pipelines-deploy.yml",
        ".azuredevops/build.yml",
        "deploy/pipelines/x.yaml",
        "azure-pipelines.yml.bak",
    ] {
        let facts = Facts { paths: vec![path.into()], ..push("agent/1") };
        assert_eq!(policy.decide(&facts).outcome, Outcome::Ask, "{path}");
    }
    let facts = Facts { paths: vec!["src/pipelines.ts".into()], ..push("agent/1") };
    assert_eq!(policy.decide(&facts).outcome, Outcome::Allow);
}

#[test]
fn a_refused_file_leaves_the_old_rules_and_is_told() {
    let force = InForce::new(parse(RULE).unwrap());
    let before = force.get().hash().clone();
    assert!(force.replace("version = 3", |_| Ok(())).is_err());
    assert_eq!(*force.get().hash(), before);
    assert!(force.refused().unwrap().contains("version 3"));
    assert!(force.replace(DEFAULT_POLICY, |_| Ok(())).unwrap());
    assert!(!force.replace(DEFAULT_POLICY, |_| Ok(())).unwrap(), "the same rules are no change");
    assert_eq!(force.refused(), None);
}

#[test]
fn an_explanation_shows_every_rule_and_what_the_facts_say() {
    let facts = Facts {
        paths: vec!["azure-pipelines.yml".into()],
        touches_ci: true,
        taint: Label::Internal,
        ..push("agent/7-fix")
    };
    insta::assert_snapshot!(default_policy().explain(&facts));
}

#[test]
fn recorded_facts_are_decided_anew() {
    let old = default_policy();
    let new = parse(
        &DEFAULT_POLICY.replace("deleted_over = 5", "deleted_over = 1").replace("deleted = 6", "deleted = 2"),
    );
    let facts = [push("agent/1"), Facts { deleted: 2, ..push("agent/1") }];
    let recorded = facts.iter().map(|facts| ("x".to_owned(), Some(facts))).chain([("y".to_owned(), None)]);
    let compared = compare(old, &new.unwrap(), recorded);
    assert_eq!((compared.decisions, compared.without_facts, compared.differences.len()), (2, 1, 1));
    let one = &compared.differences[0];
    assert_eq!(
        (one.old, one.new, one.new_rules.as_slice()),
        (Outcome::Allow, Outcome::Ask, &["many-deletions".to_owned()][..])
    );
}

fn any_facts() -> impl Strategy<Value = Facts> {
    let flags = prop::collection::vec(any::<bool>(), 12);
    let text = "[a-zA-Zé/.*{\\[]{0,12}";
    let action =
        prop_oneof![prop::sample::select(KNOWN_ACTIONS).prop_map(str::to_owned), text.prop_map(String::from)];
    let label =
        prop::sample::select(vec![Label::Trusted, Label::Instructor, Label::Internal, Label::Untrusted]);
    let branch = prop_oneof![Just(None), Just(Some("agent/1".to_owned())), text.prop_map(Some)];
    (action, flags, branch, prop::collection::vec(text, 0..4), label, any::<u32>()).prop_map(
        |(action, flags, branch, paths, taint, count)| Facts {
            action,
            branch,
            paths,
            taint,
            deleted: count,
            deleted_in_run: count,
            project_served: flags[0],
            own_pull_request: flags[1],
            own_branch: flags[2],
            run_object: flags[3],
            build_green: flags[4],
            touches_ci: flags[5],
            touches_policy: flags[6],
            hidden_characters: flags[7],
            taint_elsewhere: flags[8],
            class_b: flags[9],
            outside_plan: flags[10],
            fork: flags[11],
            ..Facts::default()
        },
    )
}

proptest! {
    #[test]
    fn deciding_is_total_and_deny_closed(facts in any_facts()) {
        let policy = default_policy();
        let verdict = policy.decide(&facts);
        // What is allowed or asked is so by a rule that says it; what no rule names is denied.
        if verdict.rules.is_empty() {
            prop_assert_eq!(verdict.outcome, Outcome::Deny);
        }
        if !KNOWN_ACTIONS.contains(&facts.action.as_str()) || !facts.project_served {
            prop_assert_eq!(verdict.outcome, Outcome::Deny);
        }
        prop_assert_eq!(verdict.terms.is_some(), verdict.outcome == Outcome::Ask);
        // Explaining says the same as deciding.
        let explained = policy.explain(&facts);
        prop_assert_eq!(explained.verdict.outcome, verdict.outcome);
        let deciding: Vec<&str> = explained.rules.iter().filter(|r| r.decides).map(|r| r.id.as_str()).collect();
        prop_assert_eq!(deciding.len(), verdict.rules.len());
    }

    #[test]
    fn more_taint_never_loosens(facts in any_facts()) {
        let policy = default_policy();
        let clean = Facts { taint: Label::Trusted, taint_elsewhere: false, class_b: false, ..facts.clone() };
        prop_assert!(policy.decide(&facts).outcome >= policy.decide(&clean).outcome);
    }
}

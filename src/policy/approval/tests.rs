use proptest::prelude::*;

use super::*;
use crate::action::{Author, BranchName, CommitId, Content, FileChange, ItemPath, RepositoryRef};
use crate::policy::{Approvers, Grant, Terms};

const MINUTE: i64 = 60_000_000;

fn who(name: &str) -> Who {
    Who {
        name: name.into(),
        account: Some(format!("{name}@contoso.example")),
        ids: vec![format!("id-{name}")],
    }
}

fn member(name: &str, memberships: &[&str]) -> Approver {
    let memberships = memberships.iter().map(|&name| name.to_owned()).collect();
    Approver { who: who(name), memberships, is_human: true, signed_in_at: Some(0) }
}

fn push(branch: &str, files: &[&str]) -> Action {
    let change = |path: &&str| FileChange::Edit {
        path: ItemPath::new(path).unwrap(),
        content: Content::Text(format!("text of {path}")),
    };
    Action::Push {
        repository: RepositoryRef { project: "P".into(), repository: "r".into() },
        branch: BranchName::new(branch).unwrap(),
        old_commit: CommitId::new(&"a".repeat(40)).unwrap(),
        message: "Change it\n\nAgent-Run: 1".into(),
        author: Author { name: "a".into(), email: "a@b".into() },
        changes: files.iter().map(change).collect(),
    }
}

fn terms(min: u32, grant: Grant) -> Terms {
    let approvers = Approvers { min, ..Approvers::default() };
    Terms { approvers, grant, ..Terms::default() }
}

fn request(action: &Action, terms: Terms) -> Request {
    let digest = action.digest().unwrap();
    Request {
        id: "a1".into(),
        run: "r1".into(),
        step: 1,
        write: 1,
        tool: "push_changes".into(),
        action: action.for_record(),
        digest: digest.clone(),
        target: Target { what: "branch".into(), version: "v1".into(), url: None },
        verdict: Verdict {
            outcome: Outcome::Ask,
            rules: vec!["ci".into()],
            policy: digest,
            terms: Some(terms),
            ..Verdict::default()
        },
        requested_by: Who { name: "bob".into(), ..Who::default() },
        agent: vec!["id-agent".into(), "agent@contoso.example".into()],
        taint: vec![Source { what: "work item 3".into(), url: None, author: Some(who("mallory")) }],
        shown: Shown::default(),
        expires_at: 30 * MINUTE,
        supersedes: None,
    }
}

fn asked(min: u32, grant: Grant) -> Approval {
    Approval::request(request(&push("agent/x", &["/a", "/b"]), terms(min, grant)), 0)
}

fn yes(approval: &Approval, by: Approver) -> Decision {
    Decision {
        by,
        answer: Answer::Approve,
        digest: approval.digest.clone(),
        reason: String::new(),
        edits: None,
        grant: None,
        break_glass: None,
    }
}

fn decide(approval: &mut Approval, decision: Decision, at: i64) -> Result<(), Refusal> {
    approval.apply(&Change::Decided(Box::new(decision)), at)
}

fn executing(approval: &Approval) -> Change {
    Change::Executing { digest: approval.digest.clone(), target: "v1".into() }
}

#[test]
fn an_approved_action_is_carried_out_once() {
    let mut approval = asked(1, Grant::Once);
    assert!(approval.apply(&executing(&approval.clone()), 1).is_err(), "nobody has approved");
    assert!(approval.proof().is_none());
    let decision = yes(&approval, member("alice", &["approver"]));
    decide(&mut approval, decision.clone(), 1).unwrap();
    assert_eq!((approval.state, approval.approved_by().len()), (State::Approved, 1));
    assert_eq!(decide(&mut approval, decision, 2), Err(Refusal::Closed(State::Approved)));
    assert!(approval.proof().is_none(), "approved is not yet under way");
    approval.apply(&executing(&approval.clone()), 3).unwrap();
    assert_eq!(approval.proof().unwrap().digest(), &approval.digest);
    assert!(approval.apply(&executing(&approval.clone()), 4).is_err(), "it is under way");
    approval.apply(&Change::Unknown { why: "no answer".into() }, 5).unwrap();
    assert!(approval.apply(&executing(&approval.clone()), 6).is_err(), "unknown is never repeated blindly");
    approval.apply(&Change::NotDone, 7).unwrap();
    approval.apply(&executing(&approval.clone()), 8).unwrap();
    approval.apply(&Change::Executed, 9).unwrap();
    assert!(approval.state.is_final() && approval.proof().is_none());
}

#[test]
fn nobody_decides_on_their_own_work_and_admins_are_no_exception() {
    let approval = asked(1, Grant::Once);
    let try_as = |by: Approver| decide(&mut approval.clone(), yes(&approval, by), 1);
    let everything = ["approver", "admin", "break_glass"];
    let bob = Approver { who: Who { name: "Bob Smith".into(), ..who("bob") }, ..member("bob", &everything) };
    for by in [bob, member("mallory", &everything)] {
        assert!(matches!(try_as(by), Err(Refusal::NotEligible(_))));
    }
    let mut agent = member("robot", &everything);
    agent.who.account = Some("AGENT@contoso.example".into());
    assert!(matches!(try_as(agent), Err(Refusal::NotEligible(_))));
    let token = Approver { is_human: false, ..member("alice", &everything) };
    assert!(matches!(try_as(token), Err(Refusal::NotEligible(_))));
    let anonymous = Approver { signed_in_at: None, ..member("alice", &everything) };
    assert!(matches!(try_as(anonymous), Err(Refusal::NotEligible(_))));
    assert!(matches!(try_as(member("carol", &["auditor"])), Err(Refusal::NotEligible(_))));
    assert_eq!(
        decide(&mut approval.clone(), yes(&approval, member("alice", &everything)), FRESH_SIGN_IN + 1),
        Err(Refusal::Expired),
    );
    let mut long = approval.clone();
    long.request.expires_at = i64::MAX;
    let stale = decide(&mut long, yes(&approval, member("alice", &everything)), FRESH_SIGN_IN + 1);
    assert_eq!(stale, Err(Refusal::StaleSignIn));
    assert_eq!(try_as(member("alice", &["Approver"])), Ok(()));
}

#[test]
fn distinct_people_are_counted_and_not_their_groups() {
    let mut approval = asked(2, Grant::Once);
    let alice = member("alice", &["approver", "admin"]);
    let first = yes(&approval, alice.clone());
    decide(&mut approval, first.clone(), 1).unwrap();
    assert_eq!((approval.state, approval.missing()), (State::PartiallyApproved, 1));
    assert_eq!(decide(&mut approval, first, 2), Err(Refusal::Twice("alice".into())));
    // The same person by another account name of theirs.
    let mut again = alice;
    again.who.account = Some("alice.b@contoso.example".into());
    let again = yes(&approval, again);
    assert!(decide(&mut approval, again, 2).is_err());
    let second = yes(&approval, member("dave", &["approver"]));
    decide(&mut approval, second, 3).unwrap();
    assert_eq!(approval.state, State::Approved);
}

#[test]
fn time_never_approves_and_ends_what_was_approved() {
    let mut approval = asked(1, Grant::Once);
    assert!(approval.apply(&Change::Expired, 29 * MINUTE).is_err());
    let late = yes(&approval, member("alice", &["approver"]));
    assert_eq!(decide(&mut approval.clone(), late.clone(), 30 * MINUTE), Err(Refusal::Expired));
    // Approved a second before the end, to be carried out a second after it.
    decide(&mut approval, late, 30 * MINUTE - 1).unwrap();
    let change = executing(&approval);
    assert_eq!(approval.apply(&change, 30 * MINUTE + 1), Err(Refusal::Expired));
    assert_eq!(approval.state_at(30 * MINUTE), State::Expired);
    approval.apply(&Change::Expired, 30 * MINUTE + 1).unwrap();
    assert_eq!(approval.state, State::Expired);
}

#[test]
fn another_action_or_a_moved_target_is_not_carried_out() {
    let mut approval = asked(1, Grant::Once);
    let mut other = yes(&approval, member("alice", &["approver"]));
    other.digest = push("agent/x", &["/c"]).digest().unwrap();
    assert_eq!(decide(&mut approval, other.clone(), 1), Err(Refusal::OtherDigest));
    let good = yes(&approval, member("alice", &["approver"]));
    decide(&mut approval, good, 1).unwrap();
    let changed = Change::Executing { digest: other.digest, target: "v1".into() };
    assert_eq!(approval.apply(&changed, 2), Err(Refusal::OtherDigest));
    let moved = Change::Executing { digest: approval.digest.clone(), target: "v2".into() };
    assert!(matches!(approval.apply(&moved, 2), Err(Refusal::TargetMoved { .. })));
    approval.apply(&Change::Superseded { why: "moved".into() }, 3).unwrap();
    assert!(approval.apply(&executing(&approval.clone()), 4).is_err());
}

#[test]
fn a_no_needs_a_reason_and_ends_it() {
    let mut approval = asked(2, Grant::Once);
    let mut no = Decision { answer: Answer::Deny, ..yes(&approval, member("alice", &["approver"])) };
    assert!(matches!(decide(&mut approval, no.clone(), 1), Err(Refusal::Reason(_))));
    no.reason = "Not on a Friday.".into();
    decide(&mut approval, no, 1).unwrap();
    assert_eq!((approval.state, approval.why.as_str()), (State::Denied, "Not on a Friday."));
    let yes = yes(&approval, member("dave", &["approver"]));
    assert_eq!(decide(&mut approval, yes, 2), Err(Refusal::Closed(State::Denied)));
}

#[test]
fn an_edit_makes_another_action_and_what_widens_needs_one_more() {
    let mut approval = asked(1, Grant::Once);
    let original = approval.digest.clone();
    let narrow = Edits { files: Some(vec!["a".into()]), title: Some("Only a".into()), ..Edits::default() };
    let decision = Decision { edits: Some(narrow.clone()), ..yes(&approval, member("alice", &["approver"])) };
    decide(&mut approval, decision, 1).unwrap();
    assert_eq!(approval.state, State::Approved);
    assert_ne!(approval.digest, original);
    // The worker comes to the same digest from the contents themselves.
    let whole = narrow.apply(&push("agent/x", &["/a", "/b"])).unwrap();
    assert_eq!(whole.digest().unwrap(), approval.digest);
    let stale = Change::Executing { digest: original, target: "v1".into() };
    assert_eq!(approval.apply(&stale, 2), Err(Refusal::OtherDigest));

    let mut approval = asked(1, Grant::Once);
    let wide = Edits { branch: Some("agent/y".into()), ..Edits::default() };
    let decision = Decision { edits: Some(wide), ..yes(&approval, member("alice", &["approver"])) };
    decide(&mut approval, decision.clone(), 1).unwrap();
    assert_eq!((approval.state, approval.missing()), (State::PartiallyApproved, 1));
    let second = yes(&approval, member("dave", &["approver"]));
    decide(&mut approval, second, 2).unwrap();
    assert_eq!(approval.state, State::Approved);

    for edits in [
        Edits { branch: Some("main".into()), ..Edits::default() },
        Edits { files: Some(vec!["/c".into()]), ..Edits::default() },
        Edits { files: Some(vec![]), ..Edits::default() },
        Edits { description: Some("x".into()), ..Edits::default() },
        Edits { title: Some("two\nlines".into()), ..Edits::default() },
    ] {
        let approval = asked(1, Grant::Once);
        let by = member("alice", &["approver"]);
        let decision = Decision { edits: Some(edits), ..yes(&approval, by) };
        assert!(matches!(decide(&mut approval.clone(), decision, 1), Err(Refusal::Edit(_))));
    }
}

#[test]
fn breaking_the_glass_needs_its_own_group_a_ticket_and_a_reason_and_reaches_once() {
    let glass = |approval: &Approval, by: Approver, reason: &str| Decision {
        break_glass: Some("INC-1".into()),
        reason: reason.into(),
        ..yes(approval, by)
    };
    let mut approval = asked(2, Grant::Window);
    let reason = "The shop is down and nobody else is awake.";
    let plain = glass(&approval, member("alice", &["approver"]), reason);
    assert!(matches!(decide(&mut approval, plain, 1), Err(Refusal::NotEligible(_))));
    let short = glass(&approval, member("eve", &[BREAK_GLASS]), "now");
    assert!(matches!(decide(&mut approval, short, 1), Err(Refusal::Reason(_))));
    let asked_more = GrantAsked { kind: Grant::Session, minutes: None, uses: None };
    let mut more = glass(&approval, member("eve", &[BREAK_GLASS]), reason);
    more.grant = Some(asked_more);
    assert!(matches!(decide(&mut approval, more, 1), Err(Refusal::Grant(_))));
    let own = glass(&approval, member("bob", &[BREAK_GLASS]), reason);
    assert!(matches!(decide(&mut approval, own, 1), Err(Refusal::NotEligible(_))));
    let good = glass(&approval, member("eve", &[BREAK_GLASS]), reason);
    decide(&mut approval, good, 1).unwrap();
    assert_eq!(approval.state, State::Approved);
    // What the rules deny is refused before anybody is asked.
    let mut denied = request(&push("agent/x", &["/a"]), terms(1, Grant::Once));
    denied.verdict.outcome = Outcome::Deny;
    let mut denied = Approval::request(denied, 0);
    assert_eq!(denied.state, State::Refused);
    let eve = glass(&denied, member("eve", &[BREAK_GLASS]), reason);
    assert_eq!(decide(&mut denied, eve, 1), Err(Refusal::Closed(State::Refused)));
}

#[test]
fn a_grant_covers_its_kind_and_thing_for_a_while_and_new_text_suspends_it() {
    let kind = |kind| Some(GrantAsked { kind, minutes: Some(10), uses: Some(2) });
    let mut approval = asked(1, Grant::Session);
    let by = member("alice", &["approver"]);
    let window = Decision { grant: kind(Grant::Window), ..yes(&approval, by.clone()) };
    assert!(matches!(decide(&mut approval, window, 1), Err(Refusal::Grant(_))), "wider than the rule's");
    let session = Decision { grant: kind(Grant::Session), ..yes(&approval, by.clone()) };
    decide(&mut approval, session, 1).unwrap();
    let next = push("agent/x", &["/z"]);
    let used = Use {
        run: "r1".into(),
        action: "git.push".into(),
        resource: resource(&next),
        digest: next.digest().unwrap(),
        requested_by: approval.request.requested_by.clone(),
        taint: approval.request.taint.clone(),
    };
    let take = |approval: &mut Approval, used: &Use, at| {
        approval.apply(&Change::GrantUsed { used: used.clone() }, at)
    };
    let more = Source { what: "comment 4".into(), ..Source::default() };
    for wrong in [
        Use { run: "r2".into(), ..used.clone() },
        Use { resource: resource(&push("agent/y", &["/z"])), ..used.clone() },
        Use { action: "build.queue".into(), ..used.clone() },
        Use { requested_by: who("alice"), ..used.clone() },
        Use { taint: [used.taint.clone(), vec![more]].concat(), ..used.clone() },
    ] {
        assert!(take(&mut approval, &wrong, 2).is_err(), "{wrong:?}");
    }
    assert!(take(&mut approval.clone(), &used, 11 * MINUTE).is_err(), "too late");
    assert!(approval.granted(&used.digest).is_none());
    take(&mut approval, &used, 2).unwrap();
    assert_eq!(approval.granted(&used.digest).unwrap().digest(), &used.digest);
    take(&mut approval, &used, 3).unwrap();
    assert!(take(&mut approval, &used, 4).is_err(), "twice was the most");

    let ci =
        Approval::request(request(&push("agent/x", &["/azure-pipelines.yml"]), terms(1, Grant::Window)), 0);
    let decision = Decision { grant: kind(Grant::Session), ..yes(&ci, by) };
    assert!(matches!(decide(&mut ci.clone(), decision, 1), Err(Refusal::Grant(_))));
}

#[test]
fn codes_can_be_said() {
    let code = asked(1, Grant::Once).code();
    assert_eq!(code.len(), 4);
    assert!(code.chars().all(|c| c.is_ascii_uppercase() || ('2'..='9').contains(&c)));
}

/// Changes as anybody might send them, good and bad.
fn changes() -> impl Strategy<Value = Vec<(Change, i64)>> {
    let approval = asked(2, Grant::Session);
    let people = prop::sample::select(vec!["alice", "dave", "bob", "mallory", "agent", "eve"]);
    let decided = (people, any::<bool>(), any::<bool>(), 0..4u8).prop_map(move |(name, no, human, how)| {
        let mut by = member(name, &["approver", "admin"]);
        by.is_human = human || how == 0;
        let mut decision = yes(&approval, by);
        decision.reason = "because".into();
        if no && how == 1 {
            decision.answer = Answer::Deny;
        }
        if how == 2 {
            decision.digest = push("agent/x", &["/other"]).digest().unwrap();
        }
        if how == 3 {
            decision.break_glass = Some("T".into());
        }
        Change::Decided(Box::new(decision))
    });
    let good = asked(2, Grant::Once).digest;
    let other = push("agent/x", &["/other"]).digest().unwrap();
    let begin = (any::<bool>(), any::<bool>()).prop_map(move |(right, here)| Change::Executing {
        digest: if right { good.clone() } else { other.clone() },
        target: if here { "v1".into() } else { "v2".into() },
    });
    let text = || "why".to_owned();
    let rest = prop::sample::select(vec![
        Change::Executed,
        Change::Failed { error: text() },
        Change::Unknown { why: text() },
        Change::NotDone,
        Change::Expired,
        Change::Cancelled { why: text() },
        Change::Superseded { why: text() },
        Change::Revoked { why: text(), by: None },
    ]);
    let change = prop_oneof![4 => decided, 4 => begin, 3 => rest];
    prop::collection::vec((change, 0..MINUTE), 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]
    #[test]
    fn no_path_reaches_execution_without_a_valid_approval_and_none_reaches_it_twice(changes in changes()) {
        let mut approval = asked(2, Grant::Once);
        let (mut now, mut begun, mut done) = (0, false, 0);
        for (change, later) in changes {
            now += later;
            let before = approval.clone();
            match approval.apply(&change, now) {
                Err(_) => prop_assert_eq!(&approval, &before, "a refused change changes nothing"),
                Ok(()) => match change {
                    Change::Executing { digest, target } => {
                        prop_assert_eq!(before.state, State::Approved);
                        let people = before.approved_by();
                        prop_assert!(people.len() >= 2);
                        for person in people {
                            prop_assert!(["alice", "dave", "eve"].contains(&person.name.as_str()));
                        }
                        prop_assert!(now < approval.request.expires_at);
                        prop_assert_eq!((digest, target.as_str()), (approval.digest.clone(), "v1"));
                        prop_assert!(!begun, "it was begun and nobody knows what became of it");
                        begun = true;
                    }
                    Change::NotDone => begun = false,
                    Change::Executed => done += 1,
                    _ => {}
                },
            }
            prop_assert_eq!(approval.proof().is_some(), approval.state == State::Executing);
            prop_assert!(!before.state.is_final() || approval == before, "what ended stays as it is");
            prop_assert!(done <= 1);
        }
    }
}

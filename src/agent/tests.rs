use serde_json::json;

use super::state::{MAX_EMPTY_REPLIES, MAX_OUTAGES, MAX_OUTAGES_OF_A_STOP, Next, RunState};
use crate::journal::{Call, Entry, Logged, Outcome, Person, Source, Status, Usage, WaitingFor};

/// A log that grows by hand, with the state folded from it.
#[derive(Default)]
struct Play {
    state: RunState,
    log: Vec<Logged>,
}

impl Play {
    fn begun(text: &str) -> Self {
        let mut play = Self::default();
        let bob = Person::named("bob");
        play.add(Entry::Created {
            source: Source::Chat,
            requested_by: bob.clone(),
            project: "P".into(),
            repository: "r".into(),
            subject: None,
            trigger: None,
        });
        play.add(Entry::Message { from: bob, text: text.into() });
        assert_eq!(play.state.next(), Next::Prepare);
        play.add(Entry::Prepared {
            system: "s".into(),
            prompts: String::new(),
            tools: String::new(),
            policy: String::new(),
        });
        play
    }

    /// One call of two has written down what it is about to do.
    fn in_a_write() -> Self {
        let mut play = Self::begun("go");
        play.replied("", &[("a", "push_changes", "{}"), ("b", "read_file", "{}")]);
        play.add(Entry::ToolStarted {
            step: 1,
            call_id: "a".into(),
            tool: "push_changes".into(),
            arguments: json!({}),
        });
        let action =
            crate::action::Action::CommentOnWorkItem { project: "P".into(), id: 1, text: "t".into() };
        let digest = action.digest().unwrap();
        let verdict = crate::policy::Verdict {
            outcome: crate::policy::Outcome::Allow,
            rules: vec![],
            message: String::new(),
            policy: digest.clone(),
            ..crate::policy::Verdict::default()
        };
        play.add(Entry::Intended { step: 1, write: 1, action, digest, verdict });
        play
    }

    /// The result of that call when it is not made again.
    fn had_been_done(&mut self) {
        let (call_id, tool) = ("a".to_owned(), "push_changes".to_owned());
        let outcome = bad("it had been done");
        self.add(Entry::ToolFinished { step: 1, call_id, tool, outcome, duration_ms: 0 });
    }

    /// An outside system is down, this many times in a row.
    fn waits(&mut self, times: u32) {
        for _ in 0..times {
            let (waiting_for, reason) = (WaitingFor::RateLimit, String::new());
            self.add(Entry::Waiting { waiting_for, reason, wake_at: None });
        }
    }

    fn add(&mut self, entry: Entry) {
        let seq = self.log.len() as i64 + 1;
        let logged = Logged { seq, ts: 0, body: String::new(), entry };
        self.state.apply(&logged);
        self.log.push(logged);
    }

    fn message(&mut self, text: &str) {
        self.add(Entry::Message { from: Person::named("bob"), text: text.into() });
    }

    fn replied(&mut self, text: &str, calls: &[(&str, &str, &str)]) {
        let read_to = self.state.before_request();
        self.replied_to(read_to, text, calls);
    }

    fn replied_to(&mut self, read_to: i64, text: &str, calls: &[(&str, &str, &str)]) {
        let calls = calls
            .iter()
            .map(|(id, name, arguments)| Call {
                id: (*id).into(),
                name: (*name).into(),
                arguments: (*arguments).into(),
            })
            .collect();
        let turn = self.log.iter().filter(|l| matches!(l.entry, Entry::Replied { .. })).count() as u32 + 1;
        self.add(Entry::Replied {
            turn,
            read_to,
            text: text.into(),
            calls,
            finish: "stop".into(),
            usage: Usage::default(),
            model: "m".into(),
            request_id: None,
            duration_ms: 0,
            outside: Vec::new(),
        });
    }

    fn tool(&mut self, step: u32, id: &str, name: &str, outcome: Outcome) {
        let (call_id, tool) = (id.to_owned(), name.to_owned());
        self.add(Entry::ToolStarted {
            step,
            call_id: call_id.clone(),
            tool: tool.clone(),
            arguments: json!({}),
        });
        self.add(Entry::ToolFinished { step, call_id, tool, outcome, duration_ms: 0 });
    }
}

fn fine() -> Outcome {
    Outcome { ok: true, content: "{}".into(), ..Outcome::default() }
}

fn bad(text: &str) -> Outcome {
    Outcome { ok: false, content: text.into(), ..Outcome::default() }
}

#[test]
fn several_calls_are_worked_in_order_and_then_the_model_is_asked_again() {
    let mut play = Play::begun("go");
    assert_eq!(play.state.next(), Next::AskModel { turn: 1 });
    play.replied("", &[("a", "list_files", "{}"), ("b", "read_file", "{}")]);
    let Next::RunTool { step: 1, call, started: None, .. } = play.state.next() else { panic!() };
    assert_eq!(call.id, "a");
    play.tool(1, "a", "list_files", fine());
    let Next::RunTool { step: 2, call, .. } = play.state.next() else { panic!() };
    assert_eq!(call.id, "b");
    play.tool(2, "b", "read_file", fine());
    assert_eq!(play.state.next(), Next::AskModel { turn: 2 });
    play.replied("Done.", &[]);
    assert_eq!(
        play.state.next(),
        Next::Finish { status: Status::Done, answer: "Done.".into(), remedy: None }
    );
}

#[test]
fn the_same_log_gives_the_same_next_move_at_every_point() {
    let mut play = Play::begun("go");
    play.replied("", &[("a", "list_files", "{}")]);
    play.tool(1, "a", "list_files", bad("no"));
    play.message("also this");
    play.replied("Done.", &[]);
    for end in 0..=play.log.len() {
        let (mut one, mut two) = (RunState::default(), RunState::default());
        play.log[..end].iter().for_each(|logged| one.apply(logged));
        play.log[..end].iter().for_each(|logged| two.apply(logged));
        assert_eq!(one.next(), two.next());
        assert_eq!(one.conversation.bytes(), two.conversation.bytes());
    }
}

#[test]
fn words_that_come_between_a_call_and_its_result_wait_for_the_result() {
    let mut play = Play::begun("go");
    play.replied("", &[("a", "list_files", "{}")]);
    play.message("and hurry");
    assert!(matches!(play.state.next(), Next::RunTool { .. }));
    let before = play.state.conversation.len();
    play.tool(1, "a", "list_files", fine());
    play.state.before_request();
    assert_eq!(play.state.conversation.len(), before + 2);
    assert_eq!(play.state.next(), Next::AskModel { turn: 2 });
}

#[test]
fn words_that_come_while_the_model_thinks_are_for_its_next_turn() {
    let mut play = Play::begun("go");
    let read_to = play.state.before_request();
    play.message("and be brief");
    let usage = Usage::default();
    let (text, model) = ("Done.".to_owned(), "m".to_owned());
    play.add(Entry::Replied {
        turn: 1,
        read_to,
        text,
        calls: vec![],
        finish: "stop".into(),
        usage,
        model,
        request_id: None,
        duration_ms: 0,
        outside: Vec::new(),
    });
    assert_eq!(play.state.next(), Next::AskModel { turn: 2 });
    play.state.before_request();
    let mut again = RunState::default();
    play.log.iter().for_each(|logged| again.apply(logged));
    again.before_request();
    assert_eq!(again.conversation.bytes(), play.state.conversation.bytes());
    assert_eq!(again.conversation.len(), 4, "system, words, answer, words");
}

#[test]
fn an_answer_given_before_new_words_were_read_does_not_end_the_run() {
    let mut play = Play::begun("go");
    play.replied("Done.", &[]);
    play.message("one more thing");
    assert_eq!(play.state.next(), Next::AskModel { turn: 2 });
}

#[test]
fn a_stop_ends_the_run_and_every_call_has_a_result_when_it_goes_on() {
    let mut play = Play::begun("go");
    play.replied("", &[("a", "list_files", "{}"), ("b", "read_file", "{}")]);
    play.add(Entry::CancelRequested { by: Person::named("alice") });
    let Next::Finish { status: Status::Cancelled, answer, remedy } = play.state.next() else { panic!() };
    play.add(Entry::Finished { status: Status::Cancelled, answer, remedy });
    assert_eq!(play.state.next(), Next::Nothing);
    assert!(play.state.conversation.pending_calls().is_empty());
    play.message("go on");
    assert_eq!(play.state.next(), Next::AskModel { turn: 2 });
}

#[test]
fn a_crash_between_intent_and_outcome_is_seen_by_the_next_attempt() {
    let mut play = Play::in_a_write();
    let Next::RunTool { step: 1, started: Some(_), earlier, .. } = play.state.next() else { panic!() };
    assert_eq!((earlier.len(), earlier[0].effect.clone()), (1, None));
    play.add(Entry::Performed { step: 1, write: 1, effect: Some(json!({"id": "7"})), error: None });
    let Next::RunTool { earlier, .. } = play.state.next() else { panic!() };
    assert_eq!(earlier[0].effect, Some(json!({"id": "7"})));
    play.add(Entry::Performed { step: 1, write: 1, effect: None, error: Some("throttled".into()) });
    let Next::RunTool { earlier, .. } = play.state.next() else { panic!() };
    assert!(earlier.is_empty(), "what certainly did not happen may be tried again");
}

#[test]
fn a_stop_in_a_write_looks_first_what_it_did() {
    let mut play = Play::in_a_write();
    play.add(Entry::CancelRequested { by: Person::named("alice") });
    let Next::RunTool { step: 1, closing: true, earlier, .. } = play.state.next() else { panic!() };
    assert_eq!(earlier.len(), 1);
    play.had_been_done();
    assert!(matches!(play.state.next(), Next::Finish { status: Status::Cancelled, .. }));

    let mut play = Play::in_a_write();
    play.waits(MAX_OUTAGES);
    play.add(Entry::CancelRequested { by: Person::named("alice") });
    play.waits(MAX_OUTAGES_OF_A_STOP);
    assert!(matches!(play.state.next(), Next::RunTool { closing: true, .. }));
    play.waits(1);
    assert!(matches!(play.state.next(), Next::Finish { status: Status::Cancelled, .. }), "not for ever");
}

#[test]
fn an_outage_is_waited_out_for_a_day_and_not_for_ever() {
    for mut play in [Play::begun("go"), Play::in_a_write()] {
        play.waits(MAX_OUTAGES);
        assert!(!matches!(play.state.next(), Next::Finish { .. }));
        play.waits(1);
        assert!(matches!(play.state.next(), Next::Finish { status: Status::Failed, .. }));
    }
}

#[test]
fn a_run_that_ended_in_a_write_looks_what_it_did_before_it_goes_on() {
    let mut play = Play::in_a_write();
    play.add(Entry::Finished { status: Status::Parked, answer: String::new(), remedy: None });
    assert_eq!(play.state.next(), Next::Nothing);
    assert_eq!(play.state.conversation.pending_calls(), ["a"], "the other call has its result");
    play.message("go on");
    let Next::RunTool { step: 1, closing: true, earlier, .. } = play.state.next() else { panic!() };
    assert_eq!(earlier.len(), 1);
    play.had_been_done();
    assert_eq!(play.state.next(), Next::AskModel { turn: 2 });
    play.state.before_request();
    assert!(play.state.conversation.pending_calls().is_empty());
    // As an older program did, which did not look.
    let mut older = Play::in_a_write();
    older.add(Entry::Finished { status: Status::Parked, answer: String::new(), remedy: None });
    older.message("go on");
    older.replied_to(older.log.len() as i64, "Done.", &[]);
    assert!(matches!(older.state.next(), Next::Finish { status: Status::Done, .. }));

    // What it had begun is over: the next call of a write is made as ever.
    play.replied("", &[("c", "push_changes", "{}")]);
    let Next::RunTool { step: 2, closing: false, .. } = play.state.next() else { panic!() };
}

#[test]
fn nothing_repeated_goes_on_for_ever() {
    let mut play = Play::begun("go");
    for step in 1..=3 {
        assert!(matches!(play.state.next(), Next::AskModel { .. }));
        play.replied("", &[("a", "read_file", "{\"path\":\"/x\"}")]);
        play.tool(step, "a", "read_file", bad("{\"error\":\"not found\"}"));
    }
    assert!(matches!(play.state.next(), Next::Finish { status: Status::Failed, .. }));
    play.add(Entry::Finished { status: Status::Failed, answer: String::new(), remedy: None });
    play.message("the file is /y");
    assert!(matches!(play.state.next(), Next::AskModel { .. }), "more detail gives it another chance");

    let mut play = Play::begun("go");
    for _ in 0..MAX_EMPTY_REPLIES {
        assert!(matches!(play.state.next(), Next::AskModel { .. }));
        play.replied(" ", &[]);
    }
    assert!(matches!(play.state.next(), Next::Finish { status: Status::Failed, .. }));
}

#[test]
fn a_question_waits_for_a_person_and_the_answer_goes_to_the_model() {
    let mut play = Play::begun("go");
    play.replied("", &[("a", "ask_person", "{\"question\":\"Which branch?\"}")]);
    play.tool(1, "a", "ask_person", fine());
    let wait = Next::Wait { waiting_for: WaitingFor::Person, reason: "Which branch?".into() };
    assert_eq!(play.state.next(), wait);
    play.add(Entry::Waiting {
        waiting_for: WaitingFor::Person,
        reason: "Which branch?".into(),
        wake_at: None,
    });
    play.message("main");
    assert_eq!(play.state.next(), Next::AskModel { turn: 2 });
}

#[test]
fn an_unknown_entry_parks_the_run() {
    let mut play = Play::begun("go");
    play.add(Entry::Unknown);
    assert!(matches!(play.state.next(), Next::Finish { status: Status::Parked, .. }));
}

//! Joins the pieces of one streamed answer. No I/O, no time.

use super::clean::clean;
use super::conversation::{ToolCall, tool_name};
use super::error::{Failure, ModelError, ServerMessage};
use super::wire::{CallDelta, Chunk, Delta, WireUsage};
use super::{Finish, Usage};

/// Most bytes of text, names and arguments that one answer may have.
pub const MAX_TURN_BYTES: usize = 1024 * 1024;
/// Most tool calls that one answer may ask for.
pub const MAX_TURN_CALLS: usize = 32;
/// Longest call id that is kept, in bytes; a longer one is replaced by one of ours.
const MAX_ID_BYTES: usize = 128;

/// What the stream has told so far.
#[derive(Debug, Default)]
pub(super) struct Joiner {
    text: String,
    refused: bool,
    calls: Vec<OpenCall>,
    finish: Option<String>,
    usage: Usage,
    model: String,
    id: String,
    bytes: usize,
}

#[derive(Debug, Default)]
struct OpenCall {
    index: Option<u64>,
    id: String,
    name: String,
    arguments: String,
}

/// A complete answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Joined {
    pub(super) text: String,
    pub(super) refused: bool,
    pub(super) tool_calls: Vec<ToolCall>,
    pub(super) finish: Finish,
    pub(super) usage: Usage,
    pub(super) model: String,
    /// The service's id of the answer; empty where it gives none.
    pub(super) id: String,
}

impl Joiner {
    /// Takes the next event; `on_text` gets the text in it.
    ///
    /// # Errors
    /// When the server reports a failure inside the stream, or a limit is passed.
    pub(super) fn take(&mut self, chunk: Chunk, on_text: &mut dyn FnMut(&str)) -> Result<(), Failure> {
        if let Some(error) = chunk.error.filter(|error| !error.is_null()) {
            return Err(ServerMessage::of(&error).in_stream());
        }
        if let Some(usage) = chunk.usage {
            self.usage = usage.into();
        }
        if let Some(model) = chunk.model.filter(|_| self.model.is_empty()) {
            self.model = clean(&model);
        }
        if let Some(id) = chunk.id.filter(|_| self.id.is_empty()) {
            self.id = clean(&id);
        }
        // We ask for one choice; others, should they come, are not ours.
        for choice in chunk.choices.unwrap_or_default() {
            if choice.index.unwrap_or(0) != 0 {
                continue;
            }
            if let Some(delta) = choice.delta {
                self.take_delta(delta, on_text)?;
            }
            // Late filter results come as choices with an empty finish: the first real one counts.
            if let Some(finish) = choice.finish_reason.filter(|f| !f.is_empty() && self.finish.is_none()) {
                self.finish = Some(finish);
            }
        }
        Ok(())
    }

    /// Whether the server has said why it ended: what follows is only usage.
    pub(super) fn is_finished(&self) -> bool {
        self.finish.is_some()
    }

    fn take_delta(&mut self, delta: Delta, on_text: &mut dyn FnMut(&str)) -> Result<(), Failure> {
        self.refused |= delta.refusal.as_ref().is_some_and(|text| !text.is_empty());
        for text in [delta.content, delta.refusal].into_iter().flatten() {
            if text.is_empty() {
                continue;
            }
            self.count(text.len())?;
            self.text.push_str(&text);
            on_text(&text);
        }
        delta.tool_calls.unwrap_or_default().into_iter().try_for_each(|call| self.take_call(call))
    }

    fn take_call(&mut self, delta: CallDelta) -> Result<(), Failure> {
        let id = delta.id.filter(|id| !id.is_empty());
        let position = match self.position(delta.index, id.as_deref()) {
            Some(position) => position,
            None if self.calls.len() == MAX_TURN_CALLS => {
                return Err(too_much(format!("it asked for more than {MAX_TURN_CALLS} tool calls at once")));
            }
            None => {
                self.calls.push(OpenCall { index: delta.index, ..OpenCall::default() });
                self.calls.len() - 1
            }
        };
        let function = delta.function.unwrap_or_default();
        let name = function.name.unwrap_or_default();
        let arguments = function.arguments.unwrap_or_default();
        self.count(name.len() + arguments.len() + id.as_ref().map_or(0, String::len))?;
        let call = &mut self.calls[position];
        // Id and name come once; some servers repeat them with every piece.
        if let Some(id) = id.filter(|_| call.id.is_empty()) {
            call.id = id;
        }
        if call.name.is_empty() {
            call.name = name;
        }
        call.arguments.push_str(&arguments);
        Ok(())
    }

    /// Which call a piece belongs to; none opens a new one. Pieces of one call share an index;
    /// some servers leave it out, others give every call the same one and tell them apart by id.
    fn position(&self, index: Option<u64>, id: Option<&str>) -> Option<usize> {
        let same_index = |call: &OpenCall| index.is_none() || call.index == index;
        let fits = |call: &OpenCall| match id {
            Some(id) => same_index(call) && (call.id == id || (index.is_some() && call.id.is_empty())),
            None => same_index(call),
        };
        // The newest first: with a shared index a piece without id goes to the call opened last.
        self.calls.iter().rposition(fits)
    }

    fn count(&mut self, bytes: usize) -> Result<(), Failure> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > MAX_TURN_BYTES {
            return Err(too_much(format!("it is longer than {MAX_TURN_BYTES} bytes")));
        }
        Ok(())
    }

    /// The complete answer. Calls without a usable id of their own are named after `turn`, the
    /// number of messages before this answer, so that ids stay unique in the conversation.
    ///
    /// # Errors
    /// When the stream ended before it was finished.
    pub(super) fn finish(self, turn: usize) -> Result<Joined, Failure> {
        let Some(reason) = self.finish else {
            return Err(Failure::broken("it ended before it was finished"));
        };
        let finish = match (reason.as_str(), self.calls.is_empty()) {
            ("tool_calls" | "function_call", true) => {
                return Err(Failure::broken("it announced tool calls and held none"));
            }
            // Some servers end with `stop` although there are calls.
            ("tool_calls" | "function_call" | "stop", false) => Finish::ToolCalls,
            ("stop", true) => Finish::Stop,
            ("length", _) => Finish::Length,
            ("content_filter", _) => Finish::ContentFilter,
            (other, _) => Finish::Other(clean(other)),
        };
        let mut tool_calls: Vec<ToolCall> = Vec::with_capacity(self.calls.len());
        for (i, call) in self.calls.into_iter().enumerate() {
            let unusable = call.id.is_empty()
                || call.id.len() > MAX_ID_BYTES
                || tool_calls.iter().any(|other| other.id == call.id);
            let id = if unusable { format!("call_{turn}_{i}") } else { call.id };
            let arguments = if call.arguments.trim().is_empty() { "{}".to_owned() } else { call.arguments };
            tool_calls.push(ToolCall { id, name: tool_name(&call.name), arguments });
        }
        let Self { text, refused, usage, model, id, .. } = self;
        Ok(Joined { text, refused, tool_calls, finish, usage, model, id })
    }
}

fn too_much(detail: String) -> Failure {
    Failure::never(ModelError::Broken { detail })
}

impl From<WireUsage> for Usage {
    fn from(wire: WireUsage) -> Self {
        Self {
            input: wire.prompt_tokens.unwrap_or(0),
            output: wire.completion_tokens.unwrap_or(0),
            cached: wire.prompt_tokens_details.and_then(|details| details.cached_tokens).unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn feed(chunks: &[Value]) -> (Result<Joined, Failure>, String) {
        let (mut joiner, mut heard) = (Joiner::default(), String::new());
        for chunk in chunks {
            let chunk: Chunk = serde_json::from_value(chunk.clone()).unwrap();
            if let Err(failure) = joiner.take(chunk, &mut |text| heard.push_str(text)) {
                return (Err(failure), heard);
            }
        }
        (joiner.finish(7), heard)
    }

    fn delta(delta: Value) -> Value {
        json!({"choices": [{"index": 0, "delta": delta, "finish_reason": null}]})
    }

    fn finish(reason: &str) -> Value {
        json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
    }

    fn piece(call: Value) -> Value {
        delta(json!({"tool_calls": [call]}))
    }

    fn call(id: &str, name: &str, arguments: &str) -> ToolCall {
        ToolCall { id: id.into(), name: name.into(), arguments: arguments.into() }
    }

    #[test]
    fn what_azure_adds_does_no_harm() {
        let (joined, heard) = feed(&[
            json!({"id": "", "model": "", "choices": [], "prompt_filter_results": [{"prompt_index": 0}]}),
            json!({"model": "gpt-x", "system_fingerprint": null, "usage": null,
                "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": null}]}),
            delta(json!({"content": "hel", "annotations": []})),
            delta(json!({"content": "lo", "refusal": null})),
            finish("stop"),
            json!({"model": "", "choices": [{"index": 0, "finish_reason": null, "content_filter_offsets": {}}]}),
            json!({"choices": [{"index": 1, "delta": {"content": "not ours"}}]}),
            json!({"choices": null}),
            json!({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2, "new": {},
                "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": null}}}),
        ]);
        let joined = joined.unwrap();
        assert_eq!((joined.text.as_str(), heard.as_str()), ("hello", "hello"));
        assert_eq!(joined.usage, Usage { input: 9, output: 2, cached: 4 });
        assert_eq!((joined.model.as_str(), joined.finish), ("gpt-x", Finish::Stop));
    }

    #[test]
    fn calls_are_joined_whatever_a_server_leaves_out() {
        let whole = vec![call("a", "x", "{\"n\":1}"), call("b", "y", "{\"n\":2}")];
        let by_index = [
            piece(
                json!({"index": 0, "id": "a", "type": "function", "function": {"name": "x", "arguments": ""}}),
            ),
            piece(json!({"index": 1, "id": "b", "function": {"name": "y"}})),
            piece(json!({"index": 1, "function": {"arguments": "{\"n\":"}})),
            piece(json!({"index": 0, "function": {"arguments": "{\"n\":"}})),
            piece(json!({"index": 0, "id": "", "function": {"arguments": "1}"}})),
            piece(json!({"index": 1, "id": null, "function": {"arguments": "2}"}})),
        ];
        let without_index = [
            piece(json!({"id": "a", "function": {"name": "x", "arguments": "{\"n\":"}})),
            piece(json!({"function": {"arguments": "1}"}})),
            piece(json!({"id": "b", "function": {"name": "y", "arguments": {"n": 2}}})),
        ];
        let same_index = [
            piece(json!({"index": 0, "id": "a", "function": {"name": "x", "arguments": "{\"n\":1}"}})),
            piece(json!({"index": 0, "id": "b", "function": {"name": "y", "arguments": "{\"n\":"}})),
            piece(json!({"index": 0, "function": {"arguments": "2}"}})),
        ];
        let repeated = [
            piece(json!({"index": 0, "id": "a", "function": {"name": "x", "arguments": "{\"n\":"}})),
            piece(json!({"index": 0, "id": "a", "function": {"name": "x", "arguments": "1}"}})),
            piece(json!({"index": "1", "id": "b", "function": {"name": "y", "arguments": "{\"n\":2}"}})),
        ];
        for pieces in [&by_index[..], &without_index, &same_index, &repeated] {
            for reason in ["tool_calls", "stop"] {
                let joined = feed(&[pieces, &[finish(reason)]].concat()).0.unwrap();
                assert_eq!(joined.tool_calls, whole, "{pieces:?}");
                assert_eq!(joined.finish, Finish::ToolCalls);
            }
        }
    }

    #[test]
    fn missing_and_doubled_ids_become_unique_and_names_sendable() {
        let joined = feed(&[
            piece(json!({"index": 0, "function": {"name": "functions.x"}})),
            piece(json!({"index": 1, "id": "same", "function": {"name": "y", "arguments": "not json"}})),
            piece(json!({"index": 2, "id": "same", "function": {}})),
            finish("tool_calls"),
        ])
        .0
        .unwrap();
        let wanted = vec![
            call("call_7_0", "functions_x", "{}"),
            call("same", "y", "not json"),
            call("call_7_2", "unnamed", "{}"),
        ];
        assert_eq!(joined.tool_calls, wanted);
    }

    #[test]
    fn every_end_has_its_name() {
        for (reason, wanted) in [
            ("length", Finish::Length),
            ("content_filter", Finish::ContentFilter),
            ("eos", Finish::Other("eos".into())),
        ] {
            assert_eq!(feed(&[finish(reason)]).0.unwrap().finish, wanted);
        }
        let refusal = feed(&[delta(json!({"refusal": "I will not."})), finish("stop")]).0.unwrap();
        assert!(refusal.refused);
        assert_eq!(refusal.text, "I will not.");
        for unfinished in
            [vec![], vec![delta(json!({"content": "x"}))], vec![finish("tool_calls")], vec![finish("")]]
        {
            let failure = feed(&unfinished).0.unwrap_err();
            assert!(matches!(failure.error, ModelError::Broken { .. }));
            assert_eq!(failure.retry, super::super::error::Retry::After(None));
        }
        let (joined, heard) = feed(&[
            delta(json!({"content": "x"})),
            json!({"error": {"code": "server_error", "message": "went down"}}),
        ]);
        assert_eq!(heard, "x");
        assert!(joined.unwrap_err().error.to_string().contains("went down"));
    }

    #[test]
    fn an_endless_answer_is_cut_off_and_not_asked_for_again() {
        let text = delta(json!({"content": "x".repeat(MAX_TURN_BYTES / 2)}));
        let calls: Vec<Value> =
            (0..=MAX_TURN_CALLS).map(|i| piece(json!({"index": i, "function": {"name": "x"}}))).collect();
        for chunks in [vec![text.clone(), text.clone(), text], calls] {
            let failure = feed(&chunks).0.unwrap_err();
            assert_eq!(failure.retry, super::super::error::Retry::Never);
        }
    }

    /// Cuts `text` into pieces at `cuts`, each of which is taken modulo the length.
    fn cut(text: &str, cuts: &[usize]) -> Vec<String> {
        let chars: Vec<char> = text.chars().collect();
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut % (chars.len() + 1)).collect();
        places.extend([0, chars.len()]);
        places.sort_unstable();
        places.windows(2).map(|pair| chars[pair[0]..pair[1]].iter().collect()).collect()
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_answer(
            text in "\\PC{0,40}",
            arguments in proptest::collection::vec("\\PC{1,30}", 0..4),
            cuts in proptest::collection::vec(any::<usize>(), 0..8),
            mixing in any::<u64>(),
        ) {
            let mut chunks: Vec<Value> =
                cut(&text, &cuts).into_iter().map(|part| delta(json!({"content": part}))).collect();
            // The pieces of different calls are mixed; those of one call keep their order.
            let mut queues: Vec<Vec<Value>> = arguments.iter().enumerate().map(|(i, arguments)| {
                let head = json!({"index": i, "id": format!("id{i}"), "function": {"name": format!("tool{i}")}});
                let tail = cut(arguments, &cuts).into_iter()
                    .map(|part| piece(json!({"index": i, "function": {"arguments": part}})));
                let mut pieces: Vec<Value> = tail.rev().collect();
                pieces.push(piece(head));
                pieces
            }).collect();
            // Heads come in order, as servers open calls in order.
            for queue in &mut queues {
                chunks.extend(queue.pop());
            }
            let mut state = mixing;
            while queues.iter().any(|queue| !queue.is_empty()) {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let i = (state >> 33) as usize % queues.len();
                chunks.extend(queues[i].pop());
            }
            chunks.push(finish(if arguments.is_empty() { "stop" } else { "tool_calls" }));
            let (joined, heard) = feed(&chunks);
            let joined = joined.unwrap();
            prop_assert_eq!(&joined.text, &text);
            prop_assert_eq!(heard, text);
            let wanted: Vec<ToolCall> = arguments.iter().enumerate().map(|(i, arguments)| {
                let arguments = if arguments.trim().is_empty() { "{}" } else { arguments };
                call(&format!("id{i}"), &format!("tool{i}"), arguments)
            }).collect();
            prop_assert_eq!(joined.tool_calls, wanted);
        }
    }
}

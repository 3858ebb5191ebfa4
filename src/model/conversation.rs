//! The internal form of a conversation and the append-only buffer that requests are made of.

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::digest::Digest;

/// Most bytes of messages that one conversation may hold, as they go over the wire. About a
/// million tokens; more fits no model, so more is a fault of the one who builds the context.
pub const MAX_CONVERSATION_BYTES: usize = 4 * 1024 * 1024;
/// Most tools in one request; the API takes no more.
pub const MAX_TOOLS: usize = 128;
/// Most bytes of all tool schemas together: they are sent again with every request.
pub const MAX_SCHEMA_BYTES: usize = 256 * 1024;
/// Longest name of a tool, in characters; the API takes no longer one.
pub const MAX_NAME_CHARS: usize = 64;

/// One message, independent of any provider. Serialised form: an object with a `role`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "snake_case")]
pub enum Message {
    /// Our own instructions and facts.
    System {
        /// The text.
        text: String,
    },
    /// What a person, or the event that woke the run, said.
    User {
        /// The text.
        text: String,
    },
    /// What the model said and which tools it asked for.
    Assistant {
        /// The text; may be empty.
        text: String,
        /// The calls, in the model's order; each must be answered before the next request.
        tool_calls: Vec<ToolCall>,
    },
    /// The result of one tool call.
    Tool {
        /// Id of the call that this answers.
        call_id: String,
        /// The result as the model reads it.
        content: String,
    },
}

/// One call of a tool that the model asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// Id by which the result is matched; unique within its reply.
    pub id: String,
    /// Name of the tool: 1 to [`MAX_NAME_CHARS`] of letters, digits, `_` and `-`. It may still be
    /// a tool that does not exist.
    pub name: String,
    /// The arguments as the model wrote them: meant to be JSON, not checked.
    pub arguments: String,
}

/// Why a message cannot be appended, or a conversation cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConversationError {
    /// The conversation would outgrow [`MAX_CONVERSATION_BYTES`].
    #[error(
        "the conversation would have {bytes} bytes, the limit is {limit}; shorten or sum up older messages"
    )]
    TooLarge {
        /// Bytes that it would have.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Calls of the last assistant message have no result yet.
    #[error("{count} tool call(s) have no result yet, first {first}; append each one's result first")]
    Unanswered {
        /// How many.
        count: usize,
        /// Id of the first.
        first: String,
    },
    /// A result for a call that is not waiting for one.
    #[error("no tool call {call_id} waits for a result: it is unknown or has one already")]
    NotPending {
        /// The id given.
        call_id: String,
    },
    /// Two calls of one assistant message have the same id.
    #[error("two tool calls of one message have the id {call_id}; give each its own")]
    DuplicateCall {
        /// The id.
        call_id: String,
    },
    /// There is nothing to send.
    #[error("the conversation is empty; append the instruction first")]
    Empty,
    /// The message has no JSON form.
    #[error("a message cannot be written as JSON: {0}")]
    NotJson(String),
}

/// An append-only conversation, kept in the form in which it is sent.
///
/// A message becomes JSON once, when it is appended; a request copies the finished bytes. The
/// invariant: every tool call of an assistant message gets exactly one result before anything
/// else is appended or a request is made.
#[derive(Clone, Debug, Default)]
pub struct Conversation {
    messages: Vec<Box<RawValue>>,
    pending: Vec<String>,
    bytes: usize,
}

impl Conversation {
    /// An empty conversation.
    pub fn new() -> Self {
        Self::default()
    }

    /// A conversation of `messages`, as when a run is resumed from its journal.
    ///
    /// # Errors
    /// The first that [`Conversation::push`] gives.
    pub fn from_messages<'a>(
        messages: impl IntoIterator<Item = &'a Message>,
    ) -> Result<Self, ConversationError> {
        let mut conversation = Self::new();
        messages.into_iter().try_for_each(|message| conversation.push(message))?;
        Ok(conversation)
    }

    /// Appends one message.
    ///
    /// # Errors
    /// When it breaks the pairing of calls and results or the size limit. The conversation is
    /// then as it was before.
    pub fn push(&mut self, message: &Message) -> Result<(), ConversationError> {
        let answered = self.check_pairing(message)?;
        let raw = to_raw_value(&WireMessage::from(message))
            .map_err(|error| ConversationError::NotJson(error.to_string()))?;
        let bytes = self.bytes + raw.get().len();
        if bytes > MAX_CONVERSATION_BYTES {
            return Err(ConversationError::TooLarge { bytes, limit: MAX_CONVERSATION_BYTES });
        }
        if let Some(position) = answered {
            self.pending.remove(position);
        }
        if let Message::Assistant { tool_calls, .. } = message {
            self.pending.extend(tool_calls.iter().map(|call| call.id.clone()));
        }
        self.bytes = bytes;
        self.messages.push(raw);
        Ok(())
    }

    /// Ids of the calls that have no result yet, in the model's order.
    pub fn pending_calls(&self) -> &[String] {
        &self.pending
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether there is no message yet.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Bytes of all messages as they are sent.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The messages in the form in which they are sent.
    pub(super) fn raw(&self) -> &[Box<RawValue>] {
        &self.messages
    }

    /// Whether a request can be made now.
    pub(super) fn check_sendable(&self) -> Result<(), ConversationError> {
        self.check_answered()?;
        if self.is_empty() { Err(ConversationError::Empty) } else { Ok(()) }
    }

    fn check_answered(&self) -> Result<(), ConversationError> {
        match self.pending.first() {
            None => Ok(()),
            Some(first) => {
                Err(ConversationError::Unanswered { count: self.pending.len(), first: first.clone() })
            }
        }
    }

    /// Which pending call `message` answers, if it is a result.
    fn check_pairing(&self, message: &Message) -> Result<Option<usize>, ConversationError> {
        match message {
            Message::Tool { call_id, .. } => match self.pending.iter().position(|id| id == call_id) {
                Some(position) => Ok(Some(position)),
                None => Err(ConversationError::NotPending { call_id: call_id.clone() }),
            },
            Message::Assistant { tool_calls, .. } => {
                self.check_answered()?;
                for (i, call) in tool_calls.iter().enumerate() {
                    if tool_calls[..i].iter().any(|other| other.id == call.id) {
                        return Err(ConversationError::DuplicateCall { call_id: call.id.clone() });
                    }
                }
                Ok(None)
            }
            Message::System { .. } | Message::User { .. } => self.check_answered().map(|()| None),
        }
    }
}

/// What a tool is to the model.
#[derive(Clone, Debug)]
pub struct ToolSchema {
    /// Its name: 1 to [`MAX_NAME_CHARS`] of letters, digits, `_` and `-`.
    pub name: String,
    /// What it does, for the model.
    pub description: String,
    /// JSON schema of its arguments, fit for strict mode: every property is required, no
    /// additional ones.
    pub parameters: serde_json::Value,
}

/// The tools of a run, written as JSON once.
#[derive(Clone, Debug)]
pub struct ToolSchemas {
    raw: Option<Box<RawValue>>,
    hash: Digest,
}

impl ToolSchemas {
    /// Writes the tools in the given order.
    ///
    /// # Errors
    /// When a name is wrong or given twice, or a limit is passed; the text says which.
    pub fn new(tools: &[ToolSchema]) -> anyhow::Result<Self> {
        anyhow::ensure!(
            tools.len() <= MAX_TOOLS,
            "{} tools are too many; the limit is {MAX_TOOLS}",
            tools.len()
        );
        for (i, tool) in tools.iter().enumerate() {
            anyhow::ensure!(
                tool_name(&tool.name) == tool.name,
                "{:?} cannot be a tool's name: use 1 to {MAX_NAME_CHARS} letters, digits, _ and -",
                tool.name
            );
            anyhow::ensure!(
                tools[..i].iter().all(|other| other.name != tool.name),
                "two tools have the name {:?}",
                tool.name
            );
        }
        let wire: Vec<WireTool<'_>> = tools.iter().map(WireTool::from).collect();
        let raw = to_raw_value(&wire)?;
        let bytes = raw.get().len();
        anyhow::ensure!(
            bytes <= MAX_SCHEMA_BYTES,
            "the tool schemas have {bytes} bytes; the limit is {MAX_SCHEMA_BYTES}"
        );
        let hash = Digest::of("tool-schemas/1", raw.get().as_bytes());
        // The API refuses an empty list, so no tools means that the field is left out.
        Ok(Self { raw: (!tools.is_empty()).then_some(raw), hash })
    }

    /// A hash of the tools as they are sent; the journal names it, so that a replay can tell
    /// whether the tools have changed since.
    pub fn hash(&self) -> &Digest {
        &self.hash
    }

    /// The JSON array, where there is a tool at all.
    pub(super) fn raw(&self) -> Option<&RawValue> {
        self.raw.as_deref()
    }
}

/// `name` with what a name cannot hold replaced. The API refuses a whole conversation when one
/// earlier call has a bad name, and models do invent such names.
pub(super) fn tool_name(name: &str) -> String {
    let fit = |c: char| if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c } else { '_' };
    let fixed: String = name.chars().take(MAX_NAME_CHARS).map(fit).collect();
    if fixed.is_empty() { "unnamed".to_owned() } else { fixed }
}

#[derive(Serialize)]
#[serde(tag = "role", rename_all = "lowercase")]
enum WireMessage<'a> {
    System {
        content: &'a str,
    },
    User {
        content: &'a str,
    },
    Assistant {
        content: Option<&'a str>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        tool_calls: Vec<WireCall<'a>>,
    },
    Tool {
        tool_call_id: &'a str,
        content: &'a str,
    },
}

#[derive(Serialize)]
struct WireCall<'a> {
    id: &'a str,
    r#type: &'static str,
    function: WireFunction<'a>,
}

#[derive(Serialize)]
struct WireFunction<'a> {
    name: &'a str,
    arguments: &'a str,
}

impl<'a> From<&'a Message> for WireMessage<'a> {
    fn from(message: &'a Message) -> Self {
        match message {
            Message::System { text } => Self::System { content: text },
            Message::User { text } => Self::User { content: text },
            Message::Assistant { text, tool_calls } => Self::Assistant {
                content: (!text.is_empty() || tool_calls.is_empty()).then_some(text),
                tool_calls: tool_calls.iter().map(WireCall::from).collect(),
            },
            Message::Tool { call_id, content } => Self::Tool { tool_call_id: call_id, content },
        }
    }
}

impl<'a> From<&'a ToolCall> for WireCall<'a> {
    fn from(call: &'a ToolCall) -> Self {
        let function = WireFunction { name: &call.name, arguments: &call.arguments };
        Self { id: &call.id, r#type: "function", function }
    }
}

#[derive(Serialize)]
struct WireTool<'a> {
    r#type: &'static str,
    function: WireSchema<'a>,
}

#[derive(Serialize)]
struct WireSchema<'a> {
    name: &'a str,
    description: &'a str,
    strict: bool,
    parameters: &'a serde_json::Value,
}

impl<'a> From<&'a ToolSchema> for WireTool<'a> {
    fn from(tool: &'a ToolSchema) -> Self {
        let ToolSchema { name, description, parameters } = tool;
        Self { r#type: "function", function: WireSchema { name, description, strict: true, parameters } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn user(text: &str) -> Message {
        Message::User { text: text.to_owned() }
    }

    fn calls(ids: &[&str]) -> Message {
        let call = |id: &&str| ToolCall { id: (*id).to_owned(), name: "t".into(), arguments: "{}".into() };
        Message::Assistant { text: String::new(), tool_calls: ids.iter().map(call).collect() }
    }

    fn result(id: &str) -> Message {
        Message::Tool { call_id: id.to_owned(), content: "{\"ok\":true}".to_owned() }
    }

    #[test]
    fn every_call_gets_exactly_one_result_before_anything_else() {
        let mut talk = Conversation::new();
        assert_eq!(talk.check_sendable(), Err(ConversationError::Empty));
        talk.push(&user("hello")).unwrap();
        talk.push(&calls(&["a", "b"])).unwrap();
        assert_eq!(talk.pending_calls(), ["a", "b"]);
        let unanswered = ConversationError::Unanswered { count: 2, first: "a".into() };
        assert_eq!(talk.push(&user("more")), Err(unanswered.clone()));
        assert_eq!(talk.push(&calls(&["c"])), Err(unanswered.clone()));
        assert_eq!(talk.check_sendable(), Err(unanswered));
        talk.push(&result("b")).unwrap();
        assert_eq!(talk.push(&result("b")), Err(ConversationError::NotPending { call_id: "b".into() }));
        assert_eq!(talk.push(&result("x")), Err(ConversationError::NotPending { call_id: "x".into() }));
        talk.push(&result("a")).unwrap();
        talk.check_sendable().unwrap();
        assert_eq!(
            talk.push(&calls(&["d", "d"])),
            Err(ConversationError::DuplicateCall { call_id: "d".into() })
        );
        assert_eq!(talk.len(), 4);
    }

    #[test]
    fn messages_are_sent_as_the_api_wants_them() {
        let talk = Conversation::from_messages(&[user("h\"i"), calls(&["a"]), result("a")]).unwrap();
        let sent: serde_json::Value =
            serde_json::from_str(&serde_json::to_string(talk.raw()).unwrap()).unwrap();
        assert_eq!(
            sent,
            json!([
                {"role": "user", "content": "h\"i"},
                {"role": "assistant", "content": null, "tool_calls":
                    [{"id": "a", "type": "function", "function": {"name": "t", "arguments": "{}"}}]},
                {"role": "tool", "tool_call_id": "a", "content": "{\"ok\":true}"},
            ])
        );
        assert_eq!(talk.bytes(), talk.raw().iter().map(|raw| raw.get().len()).sum::<usize>());
    }

    #[test]
    fn a_conversation_that_would_be_too_large_stays_as_it_was() {
        let mut talk = Conversation::from_messages(&[user("x")]).unwrap();
        let bytes = talk.bytes();
        let error = talk.push(&user(&"x".repeat(MAX_CONVERSATION_BYTES))).unwrap_err();
        assert!(matches!(error, ConversationError::TooLarge { .. }), "{error}");
        assert_eq!((talk.len(), talk.bytes()), (1, bytes));
    }

    #[test]
    fn schemas_are_written_once_and_hashed() {
        let tool = |name: &str, description: &str| ToolSchema {
            name: name.to_owned(),
            description: description.to_owned(),
            parameters: json!({"type": "object", "properties": {}, "required": []}),
        };
        let one = ToolSchemas::new(&[tool("find_person", "finds")]).unwrap();
        let sent: serde_json::Value = serde_json::from_str(one.raw().unwrap().get()).unwrap();
        assert_eq!(sent[0]["function"]["strict"], true);
        assert_ne!(one.hash(), ToolSchemas::new(&[tool("find_person", "finds one")]).unwrap().hash());
        assert!(ToolSchemas::new(&[]).unwrap().raw().is_none());
        assert!(ToolSchemas::new(&[tool("find person", "")]).is_err());
        assert!(ToolSchemas::new(&[tool("a", ""), tool("a", "")]).is_err());
    }

    #[test]
    fn invented_names_become_names_that_can_be_sent() {
        assert_eq!(tool_name("functions.read_file"), "functions_read_file");
        assert_eq!(tool_name(""), "unnamed");
        assert_eq!(tool_name(&"é".repeat(100)), "_".repeat(MAX_NAME_CHARS));
    }
}

//! The model: one internal form of a conversation, and the adapter to Azure OpenAI.
//!
//! Purpose: turn a [`Conversation`] and the [`ToolSchemas`] into one [`Reply`], whatever the wire
//! does in between: streams that break, servers that throttle, tokens that run out.
//!
//! Invariant: a reply is whole or there is none. What [`Piece::Text`] showed along the way is
//! either the beginning of the reply's text or was taken back by [`Piece::Restart`]. A request
//! costs one copy of what the model must see; nothing of the history is serialised again.
//!
//! It must never know what a tool does, what a run is, or that anything is simulated; and no
//! token, key or text of the conversation may leave it through an error or a log line.

mod clean;
mod conversation;
mod error;
mod join;
mod surface;
mod transport;
mod wire;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

pub use clean::MAX_DETAIL_CHARS;
pub use conversation::{
    Conversation, ConversationError, MAX_CONVERSATION_BYTES, MAX_NAME_CHARS, MAX_SCHEMA_BYTES, MAX_TOOLS,
    Message, ToolCall, ToolSchema, ToolSchemas,
};
pub use error::{ModelError, NoBearer};
pub use join::{MAX_TURN_BYTES, MAX_TURN_CALLS};
pub use transport::{
    FIRST_BYTE_TIMEOUT, IDLE_TIMEOUT, MAX_ATTEMPTS, MAX_RETRY_AFTER, MAX_TOTAL_WAIT, MAX_WIRE_BYTES,
};

use crate::clock::Clock;
use crate::config;
use crate::http::Quiet;
use crate::meter;
use crate::trace::{self, Span};
use error::Failure;
use join::{Joined, Joiner};
use surface::Surface;
use transport::{Call, Carrier, Credential, Line};
use wire::{Chunk, Request, StreamOptions};

/// What every log filter must end with, whatever else `LOG` says: async-openai writes whole
/// bodies, and with them prompts, to its log when it cannot read them. We log such failures
/// ourselves, without content.
pub const LOG_DIRECTIVES: &str = "async_openai=off";

/// Longest time for one attempt's stream, from its head to its end, however lively it is.
pub const TURN_TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// Longest wait for the usage after the answer itself is complete.
const USAGE_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the tokens for the model come from. `app` puts the identity here.
pub trait BearerSource: Send + Sync {
    /// A token that is good now.
    fn bearer(&self) -> BoxFuture<'_, anyhow::Result<SecretString>>;

    /// Entra's id of the token that was given last, where there is one.
    fn token_id(&self) -> Option<String> {
        None
    }

    /// A token in place of `rejected`, which the model did not accept. Asked at most once per call.
    fn renew<'a>(&'a self, rejected: &'a SecretString) -> BoxFuture<'a, anyhow::Result<SecretString>>;
}

/// What comes while the model answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// The next piece of the text.
    Text(&'a str),
    /// The stream broke and begins anew: forget the text so far.
    Restart,
}

/// One whole answer of the model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The text; may be empty, also without tool calls.
    pub text: String,
    /// Whether the model refused; the text then says so.
    pub refused: bool,
    /// The tools it asks for, in its order. Execute them only when `finish` is `ToolCalls`:
    /// with another one the last may be cut off.
    pub tool_calls: Vec<ToolCall>,
    /// Why it ended.
    pub finish: Finish,
    /// Tokens used; all zero where the server did not say.
    pub usage: Usage,
    /// The model's own name, as the service gives it; the deployment's where it gives none.
    pub model: String,
    /// The service's id of the request, where it gives one.
    pub request_id: Option<String>,
    /// The service's id of the answer, where it gives one.
    pub response_id: Option<String>,
    /// How many attempts it took.
    pub attempts: u32,
}

impl Reply {
    /// Whether there is nothing in it: neither text nor calls.
    pub fn is_empty(&self) -> bool {
        self.text.trim().is_empty() && self.tool_calls.is_empty()
    }

    /// The message to append to the conversation.
    pub fn to_message(&self) -> Message {
        Message::Assistant { text: self.text.clone(), tool_calls: self.tool_calls.clone() }
    }
}

/// Why an answer ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// The model was done.
    Stop,
    /// The model waits for the results of its calls.
    ToolCalls,
    /// The token limit was reached; text and calls may be cut off.
    Length,
    /// The content filter cut the answer off.
    ContentFilter,
    /// A reason we do not know, in the service's word.
    Other(String),
}

impl Finish {
    /// The service's word for it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Stop => "stop",
            Self::ToolCalls => "tool_calls",
            Self::Length => "length",
            Self::ContentFilter => "content_filter",
            Self::Other(other) => other,
        }
    }
}

/// Tokens of one answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens read, cached ones included.
    pub input: u64,
    /// Tokens written, reasoning included.
    pub output: u64,
    /// Tokens read from the service's cache.
    pub cached: u64,
}

/// What a span tells of an answer: numbers and ids, nothing that was said.
fn describe(span: &Span, reply: &Reply) {
    let number = |tokens: u64| i64::try_from(tokens).unwrap_or(i64::MAX);
    span.set(trace::RESPONSE_MODEL, reply.model.clone());
    span.set_some(trace::RESPONSE_ID, reply.response_id.clone());
    span.set_some(trace::MODEL_REQUEST, reply.request_id.clone());
    span.set(trace::FINISH, reply.finish.as_str().to_owned());
    span.set(trace::INPUT_TOKENS, number(reply.usage.input));
    span.set(trace::CACHED_TOKENS, number(reply.usage.cached));
    span.set(trace::OUTPUT_TOKENS, number(reply.usage.output));
}

/// A deployment of a model on Azure OpenAI. Cheap to clone.
#[derive(Clone)]
pub struct Model {
    client: async_openai::Client<Surface>,
    line: Arc<Line>,
    deployment: Arc<str>,
    /// Host and port that are asked.
    server: (Arc<str>, Option<u16>),
}

impl Model {
    /// The deployment of the settings. With a key in them `bearer` is never asked. `http` must
    /// not follow redirects (`config::http_client`): it would carry the token along.
    pub fn new(
        settings: &config::Model,
        bearer: Arc<dyn BearerSource>,
        http: reqwest::Client,
        clock: Clock,
    ) -> Self {
        let credential = match &settings.api_key {
            Some(key) => Credential::Key(key.clone()),
            None => Credential::Bearer(bearer),
        };
        Self {
            client: async_openai::Client::build(http.clone(), Surface::new(settings)),
            line: Arc::new(Line { http, credential, clock, quiet: Arc::new(Quiet::new("model")) }),
            deployment: settings.deployment.as_str().into(),
            server: (
                settings.endpoint.host_str().unwrap_or_default().into(),
                settings.endpoint.port_or_known_default(),
            ),
        }
    }

    /// The pause that the deployment asked for.
    pub fn quiet(&self) -> Arc<Quiet> {
        self.line.quiet.clone()
    }

    /// Name of the deployment.
    pub fn deployment(&self) -> &str {
        &self.deployment
    }

    /// Asks the model for its next message. `on_piece` hears the text while it comes.
    ///
    /// Dropping the future, or `cancel`, closes the connection at once.
    ///
    /// # Errors
    /// [`ModelError`]; transient failures have been tried again before, within the limits of
    /// this module.
    pub async fn reply(
        &self,
        conversation: &Conversation,
        tools: &ToolSchemas,
        on_piece: &mut (dyn FnMut(Piece<'_>) + Send),
        cancel: &CancellationToken,
    ) -> Result<Reply, ModelError> {
        let (since, span) = (Instant::now(), Arc::new(self.span()));
        let reply = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(ModelError::Cancelled),
            reply = self.turn(conversation, tools, on_piece, &span) => reply,
        };
        match &reply {
            Ok(reply) => describe(&span, reply),
            Err(error) => span.failed(error.kind()),
        }
        meter::model_call(&self.deployment, since.elapsed(), reply.as_ref().err().map(ModelError::kind));
        if let Ok(Reply { usage, .. }) = &reply {
            meter::model_tokens(&self.deployment, usage.input, usage.output);
        }
        reply
    }

    async fn turn(
        &self,
        conversation: &Conversation,
        tools: &ToolSchemas,
        on_piece: &mut (dyn FnMut(Piece<'_>) + Send),
        span: &Arc<Span>,
    ) -> Result<Reply, ModelError> {
        conversation.check_sendable()?;
        let request = Request {
            model: &self.deployment,
            messages: conversation.raw(),
            tools: tools.raw(),
            stream: true,
            stream_options: StreamOptions { include_usage: true },
        };
        let call = Arc::new(Call::default());
        let carrier = Carrier { line: self.line.clone(), call: call.clone(), span: span.clone() };
        let client = self.client.clone().with_http_service(carrier);
        loop {
            let mut heard = false;
            let mut listen = |text: &str| {
                heard = true;
                on_piece(Piece::Text(text));
            };
            let joined = self.stream(&client, &request, &call, conversation.len(), &mut listen).await;
            let Failure { error, retry } = match joined {
                Ok(joined) => return Ok(self.reply_of(joined, &call)),
                Err(failure) => failure,
            };
            let Some(wait) = call.wait(retry) else { return Err(error) };
            let attempt = call.attempts();
            tracing::warn!(attempt, wait_ms = wait.as_millis(), %error, "the model's answer broke, asking again");
            if heard {
                on_piece(Piece::Restart);
            }
            self.line.clock.sleep(wait).await;
        }
    }

    /// One stream from its head to its end.
    async fn stream(
        &self,
        client: &async_openai::Client<Surface>,
        request: &Request<'_>,
        call: &Call,
        turn: usize,
        on_text: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Joined, Failure> {
        let opened = client.chat().create_stream_byot::<_, Chunk>(request).await;
        let mut events = opened.map_err(|error| transport::unwrap(error, call))?;
        let mut joiner = Joiner::default();
        let deadline = self.line.clock.sleep(TURN_TIMEOUT);
        tokio::pin!(deadline);
        loop {
            let is_finished = joiner.is_finished();
            let event = tokio::select! {
                biased;
                event = events.next() => event,
                () = &mut deadline => {
                    let detail = format!("it was not finished within {} s", TURN_TIMEOUT.as_secs());
                    return Err(Failure::never(ModelError::Broken { detail }));
                }
                () = self.line.clock.sleep(USAGE_TIMEOUT), if is_finished => None,
            };
            match event {
                None => return joiner.finish(turn),
                Some(Ok(chunk)) => joiner.take(chunk, &mut |text| on_text(text))?,
                // The answer is whole; only its usage, or the end mark, was lost.
                Some(Err(_)) if is_finished => return joiner.finish(turn),
                Some(Err(error)) => return Err(transport::unwrap(error, call)),
            }
        }
    }

    fn reply_of(&self, joined: Joined, call: &Call) -> Reply {
        let Joined { text, refused, tool_calls, finish, usage, model, id } = joined;
        let response_id = Some(id).filter(|id| !id.is_empty());
        let model = if model.is_empty() { self.deployment.to_string() } else { model };
        let (request_id, attempts) = (call.request_id(), call.attempts());
        Reply { text, refused, tool_calls, finish, usage, model, request_id, response_id, attempts }
    }

    fn span(&self) -> Span {
        Span::request(format!("chat {}", self.deployment), || {
            let mut known = vec![
                trace::attribute(trace::OPERATION, "chat"),
                trace::attribute(trace::PROVIDER, meter::PROVIDER),
                trace::attribute(trace::REQUEST_MODEL, self.deployment.to_string()),
                trace::attribute(trace::SERVER, self.server.0.to_string()),
            ];
            known.extend(self.server.1.map(|port| trace::attribute(trace::PORT, i64::from(port))));
            known
        })
    }
}

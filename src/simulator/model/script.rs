//! Behaviours that a test queues for the next requests, to play a model that misbehaves.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Most behaviours that may wait.
pub const MAX_QUEUED: usize = 1_000;

/// What the model does with one request instead of thinking.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Behaviour {
    /// Thinks as always. Lets a test count requests until the next fault.
    Normal,
    /// Says this.
    Reply {
        /// The text, word for word.
        text: String,
    },
    /// Makes these calls, whether such tools exist or not.
    Calls {
        /// In order, all in one message.
        calls: Vec<RawCall>,
        /// Text before them.
        #[serde(default)]
        text: Option<String>,
        /// All of them under one id.
        #[serde(default)]
        same_id: bool,
    },
    /// Makes the call it would make, with arguments that are cut in the middle.
    MalformedArguments,
    /// Calls a tool that nobody offers.
    UnknownTool,
    /// Neither text nor calls.
    Empty,
    /// Thinks as always, but the connection breaks after some pieces of the stream.
    BrokenStream {
        /// Pieces (server-sent events) that still arrive.
        after: usize,
    },
    /// Stops in the middle of its text with finish reason `length`.
    Length,
    /// Waits before it answers as always.
    Delay {
        /// Milliseconds.
        ms: u64,
    },
    /// 429, as the service's rate limiter gives it.
    Throttle {
        /// Seconds for `retry-after`.
        #[serde(default = "one")]
        retry_after: u64,
        /// The body of a gateway in front of the service, which is not in the service's own shape.
        #[serde(default)]
        gateway: bool,
    },
    /// 404, as when the resource has no deployment of that name.
    DeploymentNotFound,
    /// Refuses the prompt as longer than what the model can read.
    ContextOverflow,
    /// Refuses the prompt, as the service's content filter does.
    ContentFilter,
    /// Fails.
    ServerError {
        /// 500 unless given; 400 to 599.
        #[serde(default = "internal")]
        status: u16,
    },
}

/// A call as a bad model might write it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RawCall {
    /// Any name.
    pub name: String,
    /// A string goes out as it is; anything else as its JSON.
    pub arguments: Value,
}

fn one() -> u64 {
    1
}

fn internal() -> u16 {
    StatusCode::INTERNAL_SERVER_ERROR.as_u16()
}

/// The waiting behaviours.
#[derive(Default)]
pub struct Script(Mutex<VecDeque<Behaviour>>);

impl Script {
    /// Adds behaviours at the end; how many then wait.
    ///
    /// # Errors
    /// A sentence when there would be more than [`MAX_QUEUED`].
    pub fn queue(&self, more: Vec<Behaviour>) -> Result<usize, String> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() + more.len() > MAX_QUEUED {
            return Err(format!("at most {MAX_QUEUED} behaviours may wait; send fewer or clear them"));
        }
        waiting.extend(more);
        Ok(waiting.len())
    }

    /// The behaviour for the request at hand.
    pub fn next(&self) -> Behaviour {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front().unwrap_or(Behaviour::Normal)
    }

    /// What waits, in order.
    pub fn waiting(&self) -> Vec<Behaviour> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Forgets everything that waits.
    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

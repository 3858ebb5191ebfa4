//! Where work stands in a trace, on every hop.
//!
//! Purpose: spans by OpenTelemetry's conventions, the ids that outside systems are sent, and the ids
//! that they gave back.
//! Invariant: the trace of a run is the run's own id, so whoever takes it up goes on in the same
//! trace; what is sent to an outside system can be computed from trace and span. Nothing that
//! anybody wrote gets into a span. Without [`start`] the same ids are made and sent, and no span.
//! Must never know: prompts, tokens, what a tool does.

mod called;
mod names;

use std::borrow::Cow;
use std::cell::Cell;
use std::future::Future;
use std::sync::OnceLock;

use opentelemetry::trace::{
    FutureExt as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags,
    TraceId, TraceState, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::trace::{IdGenerator, SdkTracer, SdkTracerProvider};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

pub use called::{Called, MAX_CALLS, called, collecting};
pub use names::*;

/// The name under which this program makes spans.
const SCOPE: &str = "ado-coworker";

static TRACER: OnceLock<SdkTracer> = OnceLock::new();

thread_local! {
    /// The ids of the span that is being made.
    static NEXT: Cell<Option<(TraceId, SpanId)>> = const { Cell::new(None) };
}

/// Makes spans from now on, and gives them to `provider`, whose ids must come from [`Ids`].
pub fn start(provider: &SdkTracerProvider) {
    let _ = TRACER.set(provider.tracer(SCOPE));
}

/// Gives the ids that this room has chosen.
#[derive(Debug, Default)]
pub struct Ids;

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        NEXT.get().map_or_else(random_trace, |(trace, _)| trace)
    }

    fn new_span_id(&self) -> SpanId {
        NEXT.get().map_or_else(random_span, |(_, span)| span)
    }
}

fn random_trace() -> TraceId {
    TraceId::from_bytes(Uuid::new_v4().into_bytes())
}

fn random_span() -> SpanId {
    let [.., a, b, c, d, e, f, g, h] = Uuid::new_v4().into_bytes();
    SpanId::from_bytes([a, b, c, d, e, f, g, h])
}

/// The span of a run's `part`, the same in every process.
fn known_span(run: TraceId, part: &str) -> SpanId {
    let digest = Sha256::new().chain_update(run.to_bytes()).chain_update(part).finalize();
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest[..8]);
    SpanId::from_bytes(bytes)
}

fn flags() -> TraceFlags {
    if TRACER.get().is_some() { TraceFlags::SAMPLED } else { TraceFlags::default() }
}

fn remote(trace: TraceId, span: SpanId) -> SpanContext {
    SpanContext::new(trace, span, flags(), true, TraceState::default())
}

/// A piece of work in a trace; it ends when this goes.
#[derive(Debug)]
pub struct Span {
    context: Context,
}

impl Span {
    /// Work on a run, or on another thing whose id has 32 hexadecimal digits. The `first` time it is
    /// the root of the trace; later its child, whoever made the root.
    pub fn of_run(
        id: &str,
        first: bool,
        name: impl Into<Cow<'static, str>>,
        attributes: impl FnOnce() -> Vec<KeyValue>,
    ) -> Self {
        let trace = TraceId::from_hex(id).unwrap_or_else(|_| random_trace());
        let root = known_span(trace, "root");
        // Nothing of what is around it: a worker's own task has no trace.
        let around = Context::new();
        let (parent, span) = match first {
            true => (around, root),
            false => (around.with_remote_span_context(remote(trace, root)), random_span()),
        };
        Self::at(parent, trace, span, name.into(), SpanKind::Internal, attributes)
    }

    /// Work inside the work under way.
    pub fn inside(name: impl Into<Cow<'static, str>>, attributes: impl FnOnce() -> Vec<KeyValue>) -> Self {
        Self::under_way(name.into(), SpanKind::Internal, attributes, None)
    }

    /// A request to another system.
    pub fn request(name: impl Into<Cow<'static, str>>, attributes: impl FnOnce() -> Vec<KeyValue>) -> Self {
        Self::under_way(name.into(), SpanKind::Client, attributes, None)
    }

    /// A tool call of a run. The first time its span is known from the step's number, so that an
    /// approval that is carried out later can point to it.
    pub fn of_step(
        step: u32,
        first: bool,
        name: impl Into<Cow<'static, str>>,
        attributes: impl FnOnce() -> Vec<KeyValue>,
    ) -> Self {
        let trace = Context::map_current(|context| context.span().span_context().trace_id());
        let of_step = known_span(trace, &format!("step {step}"));
        let span = Self::under_way(name.into(), SpanKind::Internal, attributes, first.then_some(of_step));
        if !first && TRACER.get().is_some() {
            span.context.span().add_link(remote(trace, of_step), Vec::new());
        }
        span
    }

    fn under_way(
        name: Cow<'static, str>,
        kind: SpanKind,
        attributes: impl FnOnce() -> Vec<KeyValue>,
        span: Option<SpanId>,
    ) -> Self {
        let parent = Context::current();
        let trace = parent.span().span_context().trace_id();
        let trace = if trace == TraceId::INVALID { random_trace() } else { trace };
        Self::at(parent, trace, span.unwrap_or_else(random_span), name, kind, attributes)
    }

    fn at(
        parent: Context,
        trace: TraceId,
        span: SpanId,
        name: Cow<'static, str>,
        kind: SpanKind,
        attributes: impl FnOnce() -> Vec<KeyValue>,
    ) -> Self {
        let Some(tracer) = TRACER.get() else {
            return Self { context: parent.with_remote_span_context(remote(trace, span)) };
        };
        let builder = SpanBuilder::from_name(name).with_kind(kind).with_attributes(attributes());
        NEXT.set(Some((trace, span)));
        let made = tracer.build_with_context(builder, &parent);
        NEXT.set(None);
        Self { context: parent.with_span(made) }
    }

    /// Does `work` inside this span.
    pub async fn over<F: Future>(&self, work: F) -> F::Output {
        work.with_context(self.context.clone()).await
    }

    /// Adds what became known.
    pub fn set(&self, name: &'static str, value: impl Into<Value>) {
        self.context.span().set_attribute(KeyValue::new(name, value));
    }

    /// Adds what became known, where it did.
    pub fn set_some(&self, name: &'static str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.set(name, value);
        }
    }

    /// It failed; `kind` is one of few words.
    pub fn failed(&self, kind: &'static str) {
        self.set(ERROR, kind);
        self.context.span().set_status(Status::error(kind));
    }

    /// People approved what this carries out, after so many microseconds.
    pub fn decided(&self, approval: &str, wait: i64) {
        let attributes = vec![
            attribute(APPROVAL, approval.to_owned()),
            attribute(APPROVAL_OUTCOME, "approve"),
            attribute(APPROVAL_WAIT, wait / 1_000_000),
        ];
        self.context.span().add_event("adoc.approval.decided", attributes);
    }

    /// W3C's header for what is sent from here: `00-<trace>-<span>-<flags>`.
    pub fn traceparent(&self) -> String {
        let span = self.context.span();
        let here = span.span_context();
        format!("00-{}-{}-{:02x}", here.trace_id(), here.span_id(), here.trace_flags().to_u8())
    }

    /// A GUID for one request: the first half of the trace's id, then the span's.
    pub fn guid(&self) -> String {
        let span = self.context.span();
        let (trace, own) =
            (span.span_context().trace_id().to_bytes(), span.span_context().span_id().to_bytes());
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&trace[..8]);
        bytes[8..].copy_from_slice(&own);
        Uuid::from_bytes(bytes).to_string()
    }

    /// A GUID for all requests of one trace: the trace's id.
    pub fn session(&self) -> String {
        Uuid::from_bytes(self.context.span().span_context().trace_id().to_bytes()).to_string()
    }
}

/// Something that takes no time: a span that begins and ends now.
pub fn point(name: impl Into<Cow<'static, str>>, attributes: impl FnOnce() -> Vec<KeyValue>) {
    if TRACER.get().is_some() {
        drop(Span::inside(name, attributes));
    }
}

/// Something that happened in the work under way.
pub fn event(name: &'static str, attributes: impl FnOnce() -> Vec<KeyValue>) {
    if TRACER.get().is_some() {
        Context::map_current(|context| context.span().add_event(name, attributes()));
    }
}

/// An attribute.
pub fn attribute(name: &'static str, value: impl Into<Value>) -> KeyValue {
    KeyValue::new(name, value)
}

/// The trace of the work under way, as a GUID.
pub fn current() -> Option<Uuid> {
    let trace = Context::map_current(|context| context.span().span_context().trace_id());
    (trace != TraceId::INVALID).then(|| Uuid::from_bytes(trace.to_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = "019365e2b1c47d3a8f00112233445566";

    #[tokio::test]
    async fn a_run_that_is_taken_up_again_goes_on_in_its_trace() {
        let first = Span::of_run(RUN, true, "invoke_agent", Vec::new);
        let again = Span::of_run(RUN, false, "invoke_agent", Vec::new);
        let part = |span: &Span, at: usize| span.traceparent().split('-').nth(at).unwrap().to_owned();
        assert_eq!(part(&first, 1), RUN);
        assert_eq!(part(&again, 1), RUN);
        assert_eq!(part(&first, 2), part(&Span::of_run(RUN, true, "x", Vec::new), 2), "the root is known");
        assert_ne!(part(&first, 2), part(&again, 2));
        let (inside, trace) = again
            .over(async {
                tokio::task::yield_now().await;
                (Span::request("GET x", Vec::new), current())
            })
            .await;
        assert_eq!(part(&inside, 1), RUN);
        assert_ne!(part(&inside, 2), part(&again, 2));
        assert_eq!(trace.unwrap().simple().to_string(), RUN);
        assert_eq!(current(), None, "nothing is left behind");
    }

    #[test]
    fn ids_for_others_can_be_computed_from_trace_and_span() {
        let run = Span::of_run(RUN, true, "invoke_agent", Vec::new);
        let span = run.traceparent().split('-').nth(2).unwrap().to_owned();
        assert_eq!(run.guid().replace('-', ""), format!("{}{span}", &RUN[..16]));
        assert_eq!(run.session().replace('-', ""), RUN);
        let alone = Span::request("GET x", Vec::new);
        assert_ne!(alone.session(), Uuid::nil().to_string(), "work outside a run has a trace of its own");
    }
}

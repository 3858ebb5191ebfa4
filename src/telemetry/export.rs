//! Spans and metrics to a collector, by OTLP over HTTP (`OTEL_EXPORTER_OTLP_ENDPOINT`).
//!
//! The exporter's client blocks and works in threads of its own: on the threads of the runtime it
//! would end at the first export, without a word.

use std::sync::OnceLock;
use std::time::Duration;

use anyhow::Context as _;
use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_otlp::{MetricExporter, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider};
use url::Url;

use crate::{meter, trace};

/// Longest time for one export; what cannot be sent in it is lost, and nothing waits for it.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for the last export of spans, and of metrics, when the process ends.
const LAST: Duration = Duration::from_secs(3);
/// Between two exports of spans.
const SPANS_EVERY: Duration = Duration::from_secs(2);
/// Most spans that wait for export; more are lost.
const MAX_SPANS: usize = 4_096;
/// Most spans of one export.
const BATCH: usize = 512;
/// Between two exports of metrics.
const METRICS_EVERY: Duration = Duration::from_secs(15);

/// What is exported, until the process ends.
struct Export {
    spans: SdkTracerProvider,
    metrics: SdkMeterProvider,
}

static EXPORT: OnceLock<Export> = OnceLock::new();

/// Begins counting, and with a `collector` sends it spans and metrics. The first call counts.
///
/// # Errors
/// When the exporter cannot be made. A collector that does not answer is no error, now or later.
pub fn export(collector: Option<&Url>) -> anyhow::Result<()> {
    match collector {
        Some(collector) if EXPORT.get().is_none() => {
            let export = begin(collector).with_context(|| {
                format!("OTEL_EXPORTER_OTLP_ENDPOINT is {collector}, which cannot be used")
            })?;
            meter::start(Some(&export.metrics.meter("ado-coworker")));
            trace::start(&export.spans);
            let _ = EXPORT.set(export);
        }
        _ => meter::start(None),
    }
    Ok(())
}

fn begin(collector: &Url) -> anyhow::Result<Export> {
    let at = |signal: &str| format!("{}/v1/{signal}", collector.as_str().trim_end_matches('/'));
    let resource = Resource::builder_empty()
        .with_attributes([
            KeyValue::new("service.name", "ado-coworker"),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", uuid::Uuid::new_v4().to_string()),
        ])
        .build();
    let spans =
        SpanExporter::builder().with_http().with_endpoint(at("traces")).with_timeout(TIMEOUT).build()?;
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(MAX_SPANS)
        .with_max_export_batch_size(BATCH)
        .with_scheduled_delay(SPANS_EVERY)
        .build();
    let processor = BatchSpanProcessor::builder(spans).with_batch_config(batches).build();
    let spans = SdkTracerProvider::builder()
        .with_id_generator(trace::Ids)
        .with_resource(resource.clone())
        .with_span_processor(processor)
        .build();
    let metrics =
        MetricExporter::builder().with_http().with_endpoint(at("metrics")).with_timeout(TIMEOUT).build()?;
    let reader = PeriodicReader::builder(metrics).with_interval(METRICS_EVERY).build();
    let metrics = SdkMeterProvider::builder().with_resource(resource).with_reader(reader).build();
    Ok(Export { spans, metrics })
}

/// Sends what has not been sent yet. Waits for the collector, at most a few seconds: not to be called
/// on a thread that others need.
pub fn end() {
    let Some(export) = EXPORT.get() else { return };
    let ended = [export.spans.shutdown_with_timeout(LAST), export.metrics.shutdown_with_timeout(LAST)];
    for error in ended.into_iter().filter_map(Result::err) {
        tracing::warn!(%error, "the last spans or metrics did not reach the collector");
    }
}

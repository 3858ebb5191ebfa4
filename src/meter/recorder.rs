//! Where a counted thing goes: always to what Prometheus reads, and to a collector where there is one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, SharedString, Unit,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use opentelemetry::KeyValue;
use opentelemetry::metrics as otlp;

use super::instruments::{INSTRUMENTS, Instrument, Kind};

/// The recorder of the process.
pub(super) struct Recorder {
    prometheus: PrometheusRecorder,
    /// The collector's instruments by name; empty without one.
    collected: HashMap<&'static str, Collected>,
}

enum Collected {
    Counter(otlp::Counter<u64>),
    Gauge(otlp::Gauge<f64>),
    Histogram(otlp::Histogram<f64>),
}

impl Recorder {
    pub(super) fn new(collector: Option<&otlp::Meter>) -> Self {
        let mut builder = PrometheusBuilder::new().with_recommended_naming(true);
        for instrument in INSTRUMENTS {
            if let Kind::Histogram(bounds) = instrument.kind {
                let which = Matcher::Full(instrument.name.to_owned());
                // It refuses only an empty list of bounds; ours have some, and a test reads them all.
                builder = match builder.set_buckets_for_metric(which, bounds) {
                    Ok(builder) => builder,
                    Err(_) => {
                        return Self {
                            prometheus: PrometheusBuilder::new().build_recorder(),
                            collected: HashMap::new(),
                        };
                    }
                };
            }
        }
        let recorder = Self { prometheus: builder.build_recorder(), collected: collected(collector) };
        for Instrument { name, kind, unit, help } in INSTRUMENTS {
            let (name, unit, help) = (KeyName::from_const_str(name), Some(*unit), (*help).into());
            match kind {
                Kind::Counter => metrics::Recorder::describe_counter(&recorder, name, unit, help),
                Kind::Gauge => metrics::Recorder::describe_gauge(&recorder, name, unit, help),
                Kind::Histogram(_) => metrics::Recorder::describe_histogram(&recorder, name, unit, help),
            }
        }
        recorder
    }

    pub(super) fn handle(&self) -> PrometheusHandle {
        self.prometheus.handle()
    }
}

fn collected(collector: Option<&otlp::Meter>) -> HashMap<&'static str, Collected> {
    let Some(meter) = collector else { return HashMap::new() };
    let made = INSTRUMENTS.iter().map(|Instrument { name, kind, unit, help }| {
        let (name, unit) = (*name, unit.as_canonical_label());
        let made = match kind {
            Kind::Counter => {
                Collected::Counter(meter.u64_counter(name).with_unit(unit).with_description(*help).build())
            }
            Kind::Gauge => {
                Collected::Gauge(meter.f64_gauge(name).with_unit(unit).with_description(*help).build())
            }
            Kind::Histogram(bounds) => Collected::Histogram(
                meter
                    .f64_histogram(name)
                    .with_unit(unit)
                    .with_description(*help)
                    .with_boundaries(bounds.to_vec())
                    .build(),
            ),
        };
        (name, made)
    });
    made.collect()
}

fn attributes(key: &Key) -> Vec<KeyValue> {
    let labels = key.labels().filter(|label| !label.value().is_empty());
    labels.map(|label| KeyValue::new(label.key().to_owned(), label.value().to_owned())).collect()
}

impl metrics::Recorder for Recorder {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, help: SharedString) {
        self.prometheus.describe_counter(key, unit, help);
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, help: SharedString) {
        self.prometheus.describe_gauge(key, unit, help);
    }

    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, help: SharedString) {
        self.prometheus.describe_histogram(key, unit, help);
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        let own = self.prometheus.register_counter(key, metadata);
        match self.collected.get(key.name()) {
            Some(Collected::Counter(there)) => {
                Counter::from_arc(Arc::new(Both { own, there: there.clone(), attributes: attributes(key) }))
            }
            _ => own,
        }
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        let own = self.prometheus.register_gauge(key, metadata);
        match self.collected.get(key.name()) {
            Some(Collected::Gauge(there)) => {
                let value = Mutex::new(0.0);
                let both = Both { own, there: there.clone(), attributes: attributes(key) };
                Gauge::from_arc(Arc::new(Standing { both, value }))
            }
            _ => own,
        }
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        let own = self.prometheus.register_histogram(key, metadata);
        match self.collected.get(key.name()) {
            Some(Collected::Histogram(there)) => {
                Histogram::from_arc(Arc::new(Both { own, there: there.clone(), attributes: attributes(key) }))
            }
            _ => own,
        }
    }
}

/// An instrument here and at the collector.
struct Both<Own, There> {
    own: Own,
    there: There,
    attributes: Vec<KeyValue>,
}

impl CounterFn for Both<Counter, otlp::Counter<u64>> {
    fn increment(&self, value: u64) {
        self.own.increment(value);
        self.there.add(value, &self.attributes);
    }

    fn absolute(&self, value: u64) {
        // Nothing of ours counts by setting; the collector's counters cannot.
        self.own.absolute(value);
    }
}

impl HistogramFn for Both<Histogram, otlp::Histogram<f64>> {
    fn record(&self, value: f64) {
        self.own.record(value);
        self.there.record(value, &self.attributes);
    }
}

/// A gauge here and at the collector, which takes only what it stands at.
struct Standing {
    both: Both<Gauge, otlp::Gauge<f64>>,
    value: Mutex<f64>,
}

impl Standing {
    fn change(&self, to: impl FnOnce(f64) -> f64) {
        let mut value = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        *value = to(*value);
        self.both.own.set(*value);
        self.both.there.record(*value, &self.both.attributes);
    }
}

impl GaugeFn for Standing {
    fn increment(&self, by: f64) {
        self.change(|value| value + by);
    }

    fn decrement(&self, by: f64) {
        self.change(|value| value - by);
    }

    fn set(&self, to: f64) {
        self.change(|_| to);
    }
}

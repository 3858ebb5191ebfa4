//! A collector that keeps what it is sent, and a run as it sees it.

use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::{Value, json};

use crate::harness::{World, eventually};

#[derive(Default)]
struct Kept {
    /// Every byte of every request, to look for what must not be there.
    bytes: Vec<u8>,
    spans: Vec<Span>,
    metrics: Vec<String>,
}

#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Kept>>);

impl Collector {
    async fn start(&self) -> String {
        let router = axum::Router::new()
            .route("/v1/traces", post(traces))
            .route("/v1/metrics", post(metrics))
            .with_state(self.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    fn of_trace(&self, id: &str) -> Vec<Span> {
        let kept = self.0.lock().unwrap();
        kept.spans.iter().filter(|span| hex(&span.trace_id) == id).cloned().collect()
    }
}

async fn traces(State(collector): State<Collector>, body: Bytes) {
    let request = ExportTraceServiceRequest::decode(body.clone()).unwrap();
    let mut kept = collector.0.lock().unwrap();
    kept.bytes.extend_from_slice(&body);
    let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    kept.spans.extend(scopes.flat_map(|scope| scope.spans));
}

async fn metrics(State(collector): State<Collector>, body: Bytes) {
    let request = ExportMetricsServiceRequest::decode(body.clone()).unwrap();
    let mut kept = collector.0.lock().unwrap();
    kept.bytes.extend_from_slice(&body);
    let scopes = request.resource_metrics.into_iter().flat_map(|resource| resource.scope_metrics);
    kept.metrics.extend(scopes.flat_map(|scope| scope.metrics).map(|metric| metric.name));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A span's attributes as JSON.
fn attributes(span: &Span) -> Value {
    let value = |any: &Any| match any {
        Any::StringValue(text) => json!(text),
        Any::IntValue(number) => json!(number),
        Any::BoolValue(flag) => json!(flag),
        other => json!(format!("{other:?}")),
    };
    let pairs = span.attributes.iter().map(|pair| {
        let any = pair.value.as_ref().and_then(|any| any.value.as_ref()).unwrap();
        (pair.key.clone(), value(any))
    });
    Value::Object(pairs.collect())
}

fn named<'a>(spans: &'a [Span], name: &str) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.name.starts_with(name)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_one_trace_with_everybodys_ids_and_nobodys_words() {
    let collector = Collector::default();
    let url = collector.start().await;
    let mut world = World::start_set("0", &[("OTEL_EXPORTER_OTLP_ENDPOINT", &url)]).await;
    let order =
        "Create an issue titled 'Zanzibar timeout', push a fix to a new branch, and open a PR for it.";
    let run = world.order(order).await;
    assert_eq!(run["status"], "done", "{run:#}");
    let id = run["id"].as_str().unwrap();
    let spans = eventually("the run's root at the collector", async || {
        let spans = collector.of_trace(id);
        (!named(&spans, "invoke_agent").is_empty()).then_some(spans)
    })
    .await;
    check_shape(&spans);
    check_hops(&world, id, &spans).await;

    // Another process takes the run up: the same trace, under the same root.
    world.kill_and_restart().await;
    let (status, _) = world.post(&format!("/api/runs/{id}/messages"), json!({ "text": "Thank you." })).await;
    assert_eq!(status, 202);
    let spans = eventually("the second part of the run", async || {
        let spans = collector.of_trace(id);
        (named(&spans, "invoke_agent").len() == 2).then_some(spans)
    })
    .await;
    let parts = named(&spans, "invoke_agent");
    let (root, again): (Vec<&Span>, Vec<&Span>) =
        parts.iter().partition(|span| span.parent_span_id.is_empty());
    assert_eq!(again[0].parent_span_id, root[0].span_id);

    // A process that ends sends what it has not sent yet.
    let (beside, page) = world.beside(&[]).await;
    let order = json!({ "instruction": "What can you do?" });
    let taken = world.http.post(format!("{page}/api/runs")).json(&order).send().await.unwrap();
    assert_eq!(taken.status(), 202);
    assert!(beside.stop().await);
    let kept = collector.0.lock().unwrap();
    for name in ["process.resident_memory", "adoc.runs.unfinished", "adoc.journal.commit.duration"] {
        assert!(kept.metrics.iter().any(|metric| metric == name), "{name} is not among {:?}", kept.metrics);
    }
    let text = String::from_utf8_lossy(&kept.bytes);
    for said in ["Zanzibar", "Thank you", "agent/", "eyJ", "Bearer"] {
        assert!(!text.contains(said), "the collector was told: {said}");
    }
}

/// One root, nothing loose, and the conventions' names and attributes.
fn check_shape(spans: &[Span]) {
    let roots: Vec<&Span> = spans.iter().filter(|span| span.parent_span_id.is_empty()).collect();
    assert_eq!(roots.len(), 1, "{:?}", roots.iter().map(|span| &span.name).collect::<Vec<_>>());
    let root = attributes(roots[0]);
    assert_eq!(root["gen_ai.operation.name"], "invoke_agent");
    assert_eq!(root["gen_ai.agent.id"], "44444444-dddd-4ddd-8ddd-444444444444");
    assert_eq!(root["gen_ai.agent.name"], "ado-coworker@contoso.example");
    assert_eq!(root["gen_ai.conversation.id"].as_str().unwrap(), hex(&roots[0].trace_id));
    for span in spans.iter().filter(|span| !span.parent_span_id.is_empty()) {
        let parent = spans.iter().any(|other| other.span_id == span.parent_span_id);
        assert!(parent, "{} hangs in the air", span.name);
    }
    let chat = attributes(named(spans, "chat stand-in")[0]);
    assert_eq!(chat["gen_ai.provider.name"], "azure.ai.openai");
    assert_eq!(chat["gen_ai.request.model"], "stand-in");
    assert!(chat["gen_ai.usage.input_tokens"].as_i64().unwrap() > 0, "{chat:#}");
    for name in ["gen_ai.response.model", "gen_ai.response.finish_reasons", "server.address", "server.port"] {
        assert!(!chat[name].is_null(), "{name} is missing: {chat:#}");
    }
    let push = attributes(named(spans, "execute_tool push_changes")[0]);
    assert_eq!(
        (&push["gen_ai.tool.type"], &push["gen_ai.tool.name"]),
        (&json!("function"), &json!("push_changes"))
    );
    let judged = attributes(named(spans, "run_guardrail policy")[0]);
    assert_eq!(judged["gen_ai.guardrail.target.subtype"], "tool_call");
    let judged: Vec<Value> = named(spans, "run_guardrail policy").into_iter().map(attributes).collect();
    assert!(judged.iter().any(|one| one["adoc.policy.action"] == "git.push"), "{judged:#?}");
}

/// The ids of each hop, here, there and in the record.
async fn check_hops(world: &World, id: &str, spans: &[Span]) {
    let pushes = named(spans, "POST {project}/_apis/git/repositories/{repository}/pushes");
    let push = attributes(pushes[0]);
    assert_eq!(push["http.response.status_code"], 201);
    let activity = push["adoc.ado.activity_id"].as_str().unwrap();
    let e2eid = push["adoc.ado.e2eid"].as_str().unwrap();
    assert_eq!(e2eid.replace('-', ""), format!("{}{}", &id[..16], hex(&pushes[0].span_id)));
    assert!(!push["adoc.token.id"].as_str().unwrap().is_empty(), "Entra's id of the token");
    let origin = url::Url::parse(&world.organization).unwrap().origin().ascii_serialization();
    let ledger =
        world.http.get(format!("{origin}/_simulator/ledger")).send().await.unwrap().text().await.unwrap();
    assert!(ledger.contains(activity), "the organisation knows the push as {activity}");
    let record: Value =
        world.http.get(format!("{}/api/audit/{id}", world.page)).send().await.unwrap().json().await.unwrap();
    let entries = record["entries"].as_array().unwrap();
    let outside = |kind: &str| -> Vec<&Value> {
        let of_kind = entries.iter().filter(|entry| entry["entry"]["type"] == kind);
        let list = if kind == "exchanged" { "exchanges" } else { "outside" };
        of_kind.flat_map(|entry| entry["entry"][list].as_array().into_iter().flatten()).collect()
    };
    let told = outside("exchanged");
    let told = told.iter().find(|call| call["activity_id"] == activity).expect("the record has the request");
    assert_eq!((&told["sent"], &told["system"]), (&json!(e2eid), &json!("azure_devops")));
    assert_eq!(told["token"], push["adoc.token.id"]);
    let model = attributes(named(spans, "POST chat/completions")[0]);
    let asked = outside("replied");
    assert!(asked.iter().any(|call| call["sent"] == model["adoc.model.client_request_id"]), "{asked:#?}");
    assert!(asked.iter().all(|call| call["system"] == "model" && call["status"] == 200), "{asked:#?}");
}

//! The collector takes what is sent in each way, and misbehaves when it is told to.

#![expect(clippy::unwrap_used, reason = "test code fails by panicking")]

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Attribute;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics,
    Sum,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;
use serde_json::json;
use tasks_testkit::servers::{Collector, CollectorFault};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;
use tonic::codec::CompressionEncoding;

/// Long enough for any answer; a frozen collector uses it up.
const PATIENCE: Duration = Duration::from_millis(300);
/// Longer than a test takes.
const AGES: Duration = Duration::from_hours(1);

fn attribute(key: &str, value: Attribute) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(any(value)),
        ..KeyValue::default()
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Attribute::StringValue(value.to_owned()))
}

fn any(value: Attribute) -> AnyValue {
    AnyValue { value: Some(value) }
}

fn trace(spans: Vec<Span>) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource {
                attributes: vec![text("service.name", "test")],
                ..Resource::default()
            }),
            scope_spans: vec![ScopeSpans {
                scope: Some(InstrumentationScope {
                    name: "scope".to_owned(),
                    ..InstrumentationScope::default()
                }),
                spans,
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    }
}

fn bare(name: &str) -> ExportTraceServiceRequest {
    trace(vec![Span {
        name: name.to_owned(),
        ..Span::default()
    }])
}

fn metrics(figures: Vec<(&str, Data)>) -> ExportMetricsServiceRequest {
    let metrics = figures.into_iter().map(|(name, data)| Metric {
        name: name.to_owned(),
        data: Some(data),
        ..Metric::default()
    });
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            scope_metrics: vec![ScopeMetrics {
                metrics: metrics.collect(),
                ..ScopeMetrics::default()
            }],
            ..ResourceMetrics::default()
        }],
    }
}

fn point(label: &str, value: Number) -> NumberDataPoint {
    NumberDataPoint {
        attributes: vec![text("label", label)],
        value: Some(value),
        ..NumberDataPoint::default()
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// What is answered over HTTP: the status.
async fn post(
    collector: &Collector,
    path: &str,
    headers: &str,
    body: &[u8],
) -> std::io::Result<u16> {
    let address = collector.endpoint().replace("http://", "");
    let mut stream = TcpStream::connect(address).await?;
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    Ok(answer.split(' ').nth(1).unwrap().parse().unwrap())
}

const PROTOBUF: &str = "content-type: application/x-protobuf\r\n";

async fn post_trace(
    collector: &Collector,
    request: &ExportTraceServiceRequest,
) -> std::io::Result<u16> {
    post(collector, "/v1/traces", PROTOBUF, &request.encode_to_vec()).await
}

async fn call(
    collector: &Collector,
    request: ExportTraceServiceRequest,
) -> Result<(), tonic::Status> {
    let client = TraceServiceClient::connect(collector.endpoint()).await;
    let mut client = client.map_err(|error| tonic::Status::aborted(error.to_string()))?;
    client.export(request).await.map(drop)
}

/// Sends it in each way; returns who got it.
async fn sent(
    traces: &ExportTraceServiceRequest,
    metrics: &[ExportMetricsServiceRequest],
) -> [Collector; 4] {
    let collectors = [
        Collector::start_http(),
        Collector::start_http(),
        Collector::start_grpc(),
        Collector::start_grpc(),
    ];
    let [plain, compressed, called, call_compressed] = &collectors;
    let bytes = traces.encode_to_vec();
    let gzipped = format!("{PROTOBUF}content-encoding: gzip\r\n");
    let path = "/v1/traces";
    assert_eq!(post(plain, path, PROTOBUF, &bytes).await.unwrap(), 200);
    let answer = post(compressed, path, &gzipped, &gzip(&bytes)).await;
    assert_eq!(answer.unwrap(), 200);
    call(called, traces.clone()).await.unwrap();
    let client = TraceServiceClient::connect(call_compressed.endpoint()).await;
    let mut client = client.unwrap().send_compressed(CompressionEncoding::Gzip);
    client.export(traces.clone()).await.unwrap();

    for request in metrics {
        let bytes = request.encode_to_vec();
        let path = "/v1/metrics";
        assert_eq!(post(plain, path, PROTOBUF, &bytes).await.unwrap(), 200);
        let answer = post(compressed, path, &gzipped, &gzip(&bytes)).await;
        assert_eq!(answer.unwrap(), 200);
        let client = MetricsServiceClient::connect(called.endpoint()).await;
        client.unwrap().export(request.clone()).await.unwrap();
        let client = MetricsServiceClient::connect(call_compressed.endpoint()).await;
        let mut client = client.unwrap().send_compressed(CompressionEncoding::Gzip);
        client.export(request.clone()).await.unwrap();
    }
    collectors
}

#[tokio::test]
async fn all_of_a_span_arrives_in_each_way() {
    let span = Span {
        trace_id: vec![0xAB; 16],
        span_id: vec![0x01; 8],
        parent_span_id: vec![0xF0; 8],
        trace_state: "vendor=1".to_owned(),
        name: "inner".to_owned(),
        kind: SpanKind::Client.into(),
        attributes: vec![
            text("text", "a"),
            attribute("number", Attribute::IntValue(7)),
            attribute("truth", Attribute::BoolValue(true)),
            attribute("fraction", Attribute::DoubleValue(0.5)),
            attribute("bytes", Attribute::BytesValue(vec![0x0F])),
            attribute(
                "list",
                Attribute::ArrayValue(ArrayValue {
                    values: vec![any(Attribute::IntValue(1))],
                }),
            ),
            attribute(
                "map",
                Attribute::KvlistValue(KeyValueList {
                    values: vec![text("key", "value")],
                }),
            ),
        ],
        events: vec![Event {
            name: "event".to_owned(),
            attributes: vec![text("why", "because")],
            ..Event::default()
        }],
        links: vec![Link {
            trace_id: vec![0xCD; 16],
            span_id: vec![0x02; 8],
            ..Link::default()
        }],
        status: Some(Status {
            code: StatusCode::Error.into(),
            message: "broken".to_owned(),
        }),
        ..Span::default()
    };
    let root = Span {
        span_id: vec![0xF0; 8],
        name: "outer".to_owned(),
        kind: SpanKind::Internal.into(),
        ..Span::default()
    };
    for collector in sent(&trace(vec![span, root]), &[]).await {
        let spans = collector.until("both spans", |spans| {
            (spans.len() == 2).then(|| spans.to_vec())
        });
        let [span, root] = &spans[..] else {
            panic!("{spans:?}");
        };
        assert_eq!(span.name, "inner");
        assert_eq!(span.trace_id, "ab".repeat(16));
        assert_eq!(span.span_id, "01".repeat(8));
        assert_eq!(span.parent_id.as_ref(), Some(&root.span_id));
        assert_eq!(span.trace_state, "vendor=1");
        assert_eq!(span.kind, "client");
        assert_eq!((&*span.status, &*span.status_message), ("error", "broken"));
        let attributes = json!({
            "text": "a",
            "number": 7,
            "truth": true,
            "fraction": 0.5,
            "bytes": "0f",
            "list": [1],
            "map": { "key": "value" },
        });
        assert_eq!(span.attributes, attributes);
        let event = ("event".to_owned(), json!({ "why": "because" }));
        assert_eq!(span.events, [event]);
        assert_eq!(span.links, [("cd".repeat(16), "02".repeat(8))]);
        assert_eq!(span.resource, json!({ "service.name": "test" }));
        assert_eq!(span.scope, "scope");
        assert_eq!((&*root.kind, &*root.status), ("internal", "unset"));
        assert_eq!(root.parent_id, None);
    }
}

#[tokio::test]
async fn the_last_figures_are_kept() {
    let counts = |value| {
        Data::Sum(Sum {
            data_points: vec![
                point("a", Number::AsInt(value)),
                point("b", Number::AsDouble(0.5)),
            ],
            ..Sum::default()
        })
    };
    let level = Data::Gauge(Gauge {
        data_points: vec![point("a", Number::AsInt(-1))],
    });
    let times = Data::Histogram(Histogram {
        data_points: vec![HistogramDataPoint {
            count: 3,
            ..HistogramDataPoint::default()
        }],
        ..Histogram::default()
    });
    let first = metrics(vec![("counts", counts(1)), ("level", level)]);
    let second = metrics(vec![("counts", counts(2)), ("times", times)]);
    for collector in sent(&bare("span"), &[first, second]).await {
        let figures = collector.until_metrics("the histogram", |metrics| {
            let came = metrics.iter().any(|metric| metric.name == "times");
            came.then(|| metrics.to_vec())
        });
        let mut figures: Vec<_> = figures
            .iter()
            .map(|metric| {
                let label = metric.attributes["label"].as_str().unwrap_or_default();
                format!("{} {label} {}", metric.name, metric.value)
            })
            .collect();
        figures.sort();
        assert_eq!(
            figures,
            ["counts a 2", "counts b 0.5", "level a -1", "times  3"]
        );
        assert_eq!(collector.metrics().len(), figures.len());
    }
}

#[tokio::test]
async fn what_is_no_otlp_is_refused() {
    let collector = Collector::start_http();
    let body = bare("span").encode_to_vec();
    let json = "content-type: application/json\r\n";
    let brotli = format!("{PROTOBUF}content-encoding: br\r\n");
    let gzipped = format!("{PROTOBUF}content-encoding: gzip\r\n");
    for (path, headers, body, status) in [
        ("/v1/traces", json, &body[..], 415),
        ("/v1/traces", &brotli, &body[..], 415),
        ("/v1/traces", &gzipped, &body[..], 400),
        ("/v1/traces", PROTOBUF, b"nonsense", 400),
        ("/traces", PROTOBUF, &body[..], 404),
    ] {
        let answer = post(&collector, path, headers, body).await;
        assert_eq!(answer.unwrap(), status, "{path} {headers}");
    }
    assert!(collector.spans().is_empty());
}

#[tokio::test]
async fn it_misbehaves_over_http_until_it_is_told_to_stop() {
    let collector = Collector::start_http();
    let post = |name| {
        let request = bare(name);
        let collector = &collector;
        async move { post_trace(collector, &request).await }
    };

    collector.set_fault(CollectorFault::Refuse);
    assert_eq!(post("refused").await.unwrap(), 503);
    assert_eq!(collector.headers().len(), 1);
    collector.until_asked();

    collector.set_fault(CollectorFault::Slow(AGES));
    let slow = tokio::time::timeout(PATIENCE, post("slow")).await;
    slow.unwrap_err();
    collector.set_fault(CollectorFault::Freeze);
    let frozen = tokio::time::timeout(PATIENCE, post("frozen")).await;
    frozen.unwrap_err();
    assert_eq!(collector.headers().len(), 2, "nothing reaches it");

    collector.set_fault(CollectorFault::Close);
    let closed = post("closed").await.unwrap_err();
    assert_eq!(closed.kind(), std::io::ErrorKind::ConnectionRefused);
    assert!(collector.spans().is_empty());

    collector.set_fault(CollectorFault::None);
    assert_eq!(post("taken").await.unwrap(), 200);
    let spans = collector.spans();
    assert_eq!(spans.last().unwrap().name, "taken");
    let headers = collector.headers();
    let media_type = &headers.last().unwrap()["content-type"];
    assert_eq!(media_type, "application/x-protobuf");
}

#[tokio::test]
async fn it_misbehaves_over_grpc_until_it_is_told_to_stop() {
    let collector = Collector::start_grpc();

    collector.set_fault(CollectorFault::Refuse);
    let refused = call(&collector, bare("refused")).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    collector.until_asked();

    collector.set_fault(CollectorFault::Slow(AGES));
    let slow = tokio::time::timeout(PATIENCE, call(&collector, bare("slow"))).await;
    slow.unwrap_err();
    collector.set_fault(CollectorFault::Freeze);
    let frozen = tokio::time::timeout(PATIENCE, call(&collector, bare("frozen"))).await;
    frozen.unwrap_err();
    assert_eq!(collector.headers().len(), 2, "nothing reaches it");

    collector.set_fault(CollectorFault::Close);
    call(&collector, bare("closed")).await.unwrap_err();
    assert!(collector.spans().is_empty());

    collector.set_fault(CollectorFault::None);
    call(&collector, bare("taken")).await.unwrap();
    let names: Vec<_> = collector.spans().into_iter().map(|s| s.name).collect();
    assert!(names.contains(&"taken".to_owned()), "{names:?}");
    let headers = collector.headers();
    assert_eq!(headers.last().unwrap()["content-type"], "application/grpc");
}

//! An OTLP receiver that keeps the spans and metrics it gets, and can be told to misbehave.

use std::collections::HashSet;
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use flate2::read::GzDecoder;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    self, MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    self, TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Attribute;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{Metric, NumberDataPoint};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde_json::Value;
use tokio::sync::oneshot;
use tonic::codec::CompressionEncoding::Gzip;

use super::Proxy;

/// How long spans are waited for: longer than whatever sends them keeps them back.
const PATIENCE: Duration = Duration::from_mins(1);

/// The media type of OTLP over HTTP.
const PROTOBUF: &str = "application/x-protobuf";

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CollectorFault {
    /// Nothing.
    None,
    /// Connections are accepted, and nothing is said. One that exists already goes silent too.
    Freeze,
    /// Every answer comes late.
    Slow(Duration),
    /// 503, or UNAVAILABLE by gRPC; nothing is kept.
    Refuse,
    /// Nobody listens, and connections are closed.
    Close,
}

/// A span that the collector has taken responsibility for. Ids are in hexadecimal digits, attributes
/// a JSON object, as they are elsewhere in this file.
#[derive(Clone, Debug)]
pub struct ReceivedSpan {
    /// What is done.
    pub name: String,
    /// The trace that it belongs to.
    pub trace_id: String,
    /// Its own id.
    pub span_id: String,
    /// The id of the span around it, if there is one.
    pub parent_id: Option<String>,
    /// What vendors pass along with the trace.
    pub trace_state: String,
    /// `internal`, `server`, `client`, `producer` or `consumer`.
    pub kind: String,
    /// `unset`, `ok` or `error`.
    pub status: String,
    /// What the status says besides.
    pub status_message: String,
    /// What is known of it.
    pub attributes: Value,
    /// What happened within it: names and attributes.
    pub events: Vec<(String, Value)>,
    /// Spans that it has to do with: trace ids and span ids.
    pub links: Vec<(String, String)>,
    /// What is known of the process.
    pub resource: Value,
    /// The instrumentation that made it.
    pub scope: String,
}

/// A figure, as the collector was told it last.
#[derive(Clone, Debug)]
pub struct ReceivedMetric {
    /// What is measured.
    pub name: String,
    /// What tells it from others of that name.
    pub attributes: Value,
    /// The figure; of a histogram, how many values there were.
    pub value: f64,
}

/// An OTLP receiver on 127.0.0.1, on a thread of its own. It ends when it is dropped.
pub struct Collector {
    shared: Arc<Shared>,
    /// In front of it, for what goes wrong with connections.
    proxy: Proxy,
    /// Dropped, it ends the thread.
    _running: oneshot::Sender<()>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<Received>,
    arrived: Condvar,
}

struct Received {
    fault: CollectorFault,
    spans: Vec<ReceivedSpan>,
    metrics: Vec<ReceivedMetric>,
    headers: Vec<HeaderMap>,
}

impl Default for Received {
    fn default() -> Self {
        Self {
            fault: CollectorFault::None,
            spans: Vec::new(),
            metrics: Vec::new(),
            headers: Vec::new(),
        }
    }
}

impl Received {
    /// What there is, in a line each.
    fn told(&self) -> String {
        let spans = self.spans.iter().map(|span| {
            let parent = span.parent_id.as_deref().unwrap_or("none");
            format!(
                "span {} {}, parent {parent}: {}",
                span.trace_id, span.span_id, span.name
            )
        });
        let metrics = self.metrics.iter();
        let metrics = metrics.map(|m| format!("metric {} {}: {}", m.name, m.attributes, m.value));
        spans.chain(metrics).collect::<Vec<_>>().join("\n")
    }
}

impl Collector {
    /// A collector that speaks OTLP over HTTP, in protobuf, compressed by gzip or not.
    pub fn start_http() -> Self {
        Self::start(|shared| {
            Router::new()
                .route("/v1/traces", post(traces))
                .route("/v1/metrics", post(metrics))
                .with_state(shared)
        })
    }

    /// A collector that speaks OTLP over gRPC, compressed by gzip or not.
    pub fn start_grpc() -> Self {
        let path = |service| format!("/{service}/{{method}}");
        Self::start(|shared| {
            let traces = TraceServiceServer::from_arc(Arc::clone(&shared));
            let metrics = MetricsServiceServer::from_arc(shared);
            Router::new()
                .route_service(
                    &path(trace_service_server::SERVICE_NAME),
                    traces.accept_compressed(Gzip),
                )
                .route_service(
                    &path(metrics_service_server::SERVICE_NAME),
                    metrics.accept_compressed(Gzip),
                )
        })
    }

    fn start(routes: impl FnOnce(Arc<Shared>) -> Router) -> Self {
        let shared = Arc::new(Shared::default());
        let faults = from_fn_with_state(Arc::clone(&shared), misbehave);
        let service = routes(Arc::clone(&shared)).layer(faults);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let proxy = Proxy::to(&listener.local_addr().unwrap().to_string());
        let (running, over) = oneshot::channel();
        let serving = async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            tokio::select! {
                served = axum::serve(listener, service) => served.unwrap(),
                _ = over => {}
            }
        };
        std::thread::spawn(move || super::block_on(serving));
        Self {
            shared,
            proxy,
            _running: running,
        }
    }

    /// Its URL, without a path.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.proxy.address())
    }

    /// Has something go wrong from now on, or nothing any more. What was received is kept.
    pub fn set_fault(&self, fault: CollectorFault) {
        self.shared.state.lock().unwrap().fault = fault;
        match fault {
            CollectorFault::Freeze => self.proxy.stall(),
            CollectorFault::Close => self.proxy.cut(),
            CollectorFault::None | CollectorFault::Slow(_) | CollectorFault::Refuse => {
                self.proxy.resume();
            }
        }
    }

    /// All spans so far, in the order in which they came.
    pub fn spans(&self) -> Vec<ReceivedSpan> {
        self.shared.state.lock().unwrap().spans.clone()
    }

    /// All figures, each as it came last.
    pub fn metrics(&self) -> Vec<ReceivedMetric> {
        self.shared.state.lock().unwrap().metrics.clone()
    }

    /// The headers of every request so far, also of those that were refused.
    pub fn headers(&self) -> Vec<HeaderMap> {
        self.shared.state.lock().unwrap().headers.clone()
    }

    /// Blocks until there is something to see in the spans. Gives up with a panic.
    pub fn until<T>(&self, what: &str, look: impl Fn(&[ReceivedSpan]) -> Option<T>) -> T {
        self.wait(what, |received| look(&received.spans))
    }

    /// Blocks until there is something to see in the figures. Gives up with a panic.
    pub fn until_metrics<T>(&self, what: &str, look: impl Fn(&[ReceivedMetric]) -> Option<T>) -> T {
        self.wait(what, |received| look(&received.metrics))
    }

    /// Blocks until a request has come, answered or not. Gives up with a panic.
    pub fn until_asked(&self) {
        self.wait("a request", |received| received.headers.first().map(drop));
    }

    fn wait<T>(&self, what: &str, look: impl Fn(&Received) -> Option<T>) -> T {
        let mut seen = None;
        let received = self.shared.state.lock().unwrap();
        let (received, _) = self
            .shared
            .arrived
            .wait_timeout_while(received, PATIENCE, |received| {
                seen = look(received);
                seen.is_none()
            })
            .unwrap();
        let told = received.told();
        drop(received);
        seen.unwrap_or_else(|| panic!("never: {what}; there are only\n{told}"))
    }
}

impl Shared {
    fn change<T>(&self, change: impl FnOnce(&mut Received) -> T) -> T {
        let changed = change(&mut self.state.lock().unwrap());
        self.arrived.notify_all();
        changed
    }

    fn take_spans(&self, request: ExportTraceServiceRequest) {
        let spans = request.resource_spans.into_iter().flat_map(|resource| {
            let process = attributes_of(resource.resource);
            resource.scope_spans.into_iter().flat_map(move |scope| {
                let name = scope.scope.unwrap_or_default().name;
                let process = process.clone();
                let spans = scope.spans.into_iter();
                spans.map(move |span| received(span, process.clone(), name.clone()))
            })
        });
        self.change(|received| received.spans.extend(spans));
    }

    fn take_metrics(&self, request: ExportMetricsServiceRequest) {
        let scopes = request
            .resource_metrics
            .into_iter()
            .flat_map(|resource| resource.scope_metrics);
        let metrics: Vec<_> = scopes
            .flat_map(|scope| scope.metrics)
            .flat_map(figures)
            .collect();
        let key = |metric: &ReceivedMetric| (metric.name.clone(), metric.attributes.to_string());
        let new: HashSet<_> = metrics.iter().map(key).collect();
        self.change(|received| {
            received.metrics.retain(|old| !new.contains(&key(old)));
            received.metrics.extend(metrics);
        });
    }
}

/// Does to a request what goes wrong now.
async fn misbehave(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let fault = shared.change(|received| {
        received.headers.push(request.headers().clone());
        received.fault
    });
    let media_type = request.headers().get(CONTENT_TYPE);
    let is_grpc = media_type.is_some_and(|media_type| media_type.as_bytes() == b"application/grpc");
    match fault {
        CollectorFault::Slow(time) => tokio::time::sleep(time).await,
        CollectorFault::Refuse if is_grpc => {
            return tonic::Status::unavailable("not now").into_http::<Body>();
        }
        CollectorFault::Refuse => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
        CollectorFault::None | CollectorFault::Freeze | CollectorFault::Close => {}
    }
    next.run(request).await
}

/// What OTLP over HTTP answers.
type Answer = ([(HeaderName, &'static str); 1], Vec<u8>);

async fn traces(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Answer, StatusCode> {
    shared.take_spans(decode(&headers, &body)?);
    Ok(answer(&ExportTraceServiceResponse::default()))
}

async fn metrics(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Answer, StatusCode> {
    shared.take_metrics(decode(&headers, &body)?);
    Ok(answer(&ExportMetricsServiceResponse::default()))
}

fn decode<M: Message + Default>(headers: &HeaderMap, body: &[u8]) -> Result<M, StatusCode> {
    let header = |name| headers.get(name).map(axum::http::HeaderValue::as_bytes);
    if header(CONTENT_TYPE) != Some(PROTOBUF.as_bytes()) {
        return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    let mut bytes = Vec::new();
    let read = match header(CONTENT_ENCODING) {
        None => (&*body).read_to_end(&mut bytes),
        Some(b"gzip") => GzDecoder::new(body).read_to_end(&mut bytes),
        Some(_) => return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE),
    };
    let message = read.ok().and_then(|_| M::decode(&*bytes).ok());
    message.ok_or(StatusCode::BAD_REQUEST)
}

fn answer(message: &impl Message) -> Answer {
    ([(CONTENT_TYPE, PROTOBUF)], message.encode_to_vec())
}

#[tonic::async_trait]
impl TraceService for Shared {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        self.take_spans(request.into_inner());
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Shared {
    async fn export(
        &self,
        request: tonic::Request<ExportMetricsServiceRequest>,
    ) -> Result<tonic::Response<ExportMetricsServiceResponse>, tonic::Status> {
        self.take_metrics(request.into_inner());
        Ok(tonic::Response::new(ExportMetricsServiceResponse::default()))
    }
}

fn received(span: Span, resource: Value, scope: String) -> ReceivedSpan {
    let kind = span.kind().as_str_name();
    let status = span.status.clone().unwrap_or_default();
    let code = status.code().as_str_name();
    let events = span.events.into_iter();
    let links = span.links.into_iter();
    ReceivedSpan {
        name: span.name,
        trace_id: hex(&span.trace_id),
        span_id: hex(&span.span_id),
        parent_id: Some(hex(&span.parent_span_id)).filter(|id| !id.is_empty()),
        trace_state: span.trace_state,
        kind: kind.trim_start_matches("SPAN_KIND_").to_lowercase(),
        status: code.trim_start_matches("STATUS_CODE_").to_lowercase(),
        status_message: status.message,
        attributes: object(span.attributes),
        events: events
            .map(|event| (event.name, object(event.attributes)))
            .collect(),
        links: links
            .map(|link| (hex(&link.trace_id), hex(&link.span_id)))
            .collect(),
        resource,
        scope,
    }
}

fn figures(metric: Metric) -> Vec<ReceivedMetric> {
    let figure = |attributes, value| ReceivedMetric {
        name: metric.name.clone(),
        attributes: object(attributes),
        value,
    };
    let numbers = |points: Vec<NumberDataPoint>| {
        let points = points.into_iter();
        points
            .map(|point| figure(point.attributes, number(point.value)))
            .collect()
    };
    match metric.data {
        Some(Data::Gauge(gauge)) => numbers(gauge.data_points),
        Some(Data::Sum(sum)) => numbers(sum.data_points),
        Some(Data::Histogram(histogram)) => {
            let points = histogram.data_points.into_iter();
            points
                .map(|point| figure(point.attributes, count(point.count)))
                .collect()
        }
        other @ (Some(Data::ExponentialHistogram(_) | Data::Summary(_)) | None) => {
            panic!("nobody sends these: {other:?}")
        }
    }
}

fn number(value: Option<Number>) -> f64 {
    match value.unwrap() {
        Number::AsDouble(value) => value,
        Number::AsInt(value) => f64::from(i32::try_from(value).unwrap()),
    }
}

fn count(value: u64) -> f64 {
    f64::from(u32::try_from(value).unwrap())
}

fn attributes_of(resource: Option<Resource>) -> Value {
    object(resource.unwrap_or_default().attributes)
}

fn object(attributes: Vec<KeyValue>) -> Value {
    let attributes = attributes.into_iter();
    attributes
        .map(|attribute| (attribute.key, json(attribute.value)))
        .collect()
}

fn json(value: Option<AnyValue>) -> Value {
    match value.and_then(|value| value.value) {
        Some(Attribute::StringValue(text)) => text.into(),
        Some(Attribute::BoolValue(truth)) => truth.into(),
        Some(Attribute::IntValue(number)) => number.into(),
        Some(Attribute::DoubleValue(number)) => number.into(),
        Some(Attribute::ArrayValue(array)) => {
            let values = array.values.into_iter();
            values.map(|value| json(Some(value))).collect()
        }
        Some(Attribute::KvlistValue(list)) => object(list.values),
        Some(Attribute::BytesValue(bytes)) => hex(&bytes).into(),
        // The second occurs in profiles only.
        None | Some(Attribute::StringValueStrindex(_)) => Value::Null,
    }
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xF]);
    digits
        .map(|digit| char::from_digit(digit.into(), 16).unwrap())
        .collect()
}

//! Routes: what is where, what may be asked without a key, and what every request goes through.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{MatchedPath, Path, Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use axum::middleware::{self, Next};
use axum::routing::{get, post};
use axum::{Extension, Router};
use serde_json::json;
use tower_http::catch_panic::CatchPanicLayer;

use crate::app::App;
use crate::converse::{converse, count_tokens};
use crate::dialect::Dialect;
use crate::error::{ApiError, Family, Kind, json_response, text_response};
use crate::log::Receipt;
use crate::tenant::Tenant;
use crate::{guard, ids, page, pages};

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// What a request is known by behind the guards.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) tenant: Tenant,
    pub(crate) receipt: Receipt,
}

/// Paths that nobody needs a key for.
const OPEN: [&str; 3] = ["/health", "/api/hello", "/openapi.json"];

/// All routes.
pub(crate) fn router(app: Arc<App>) -> Router {
    let talk = |dialect: Dialect| {
        post(move |State(app): State<Arc<App>>, request: Request| converse(app, dialect, request))
    };
    Router::new()
        .route("/v1/chat/completions", talk(Dialect::Chat))
        .route("/v1/completions", talk(Dialect::Completions))
        .route("/v1/responses", talk(Dialect::Responses))
        .route("/v1/responses/{id}", get(kept).delete(forget))
        .route("/v1/messages", talk(Dialect::Messages))
        .route("/v1/messages/count_tokens", post(count))
        .route("/v1/models", get(pages::models))
        .route("/v1/models/{*id}", get(model))
        .route("/health", get(pages::health))
        .route("/metrics", get(metrics))
        .route("/openapi.json", get(pages::openapi))
        .route("/", get(page::page))
        .route("/page/{*file}", get(page::page))
        .route("/api/hello", get(pages::front))
        .fallback(nowhere)
        .method_not_allowed_fallback(other_method)
        .layer(middleware::from_fn_with_state(Arc::clone(&app), guarded))
        .layer(CatchPanicLayer::custom(panicked))
        .with_state(app)
}

async fn count(State(app): State<Arc<App>>, request: Request) -> Response<Body> {
    count_tokens(app, request).await
}

async fn model(state: State<Arc<App>>, Path(id): Path<String>) -> Response<Body> {
    pages::model(&state, &id)
}

async fn kept(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Response<Body> {
    match app.replies.find(caller.tenant, &id) {
        Some(kept) => reply(&kept.reply),
        None => unknown(&id),
    }
}

async fn forget(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Response<Body> {
    match app.forget(caller.tenant, &id) {
        true => reply(&json!({"id": id, "object": "response", "deleted": true})),
        false => unknown(&id),
    }
}

fn unknown(id: &str) -> Response<Body> {
    let id: String = id.chars().take(100).collect();
    let message = format!("no response {id:?} is kept here");
    ApiError::new(Kind::NotFound, message).response(Family::OpenAi)
}

async fn metrics(State(app): State<Arc<App>>) -> Response<Body> {
    // Asking the engine may take as long as one step.
    let text = tokio::task::spawn_blocking(move || app.metrics.text(&app)).await;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    text_response(StatusCode::OK, kind, text.unwrap_or_default())
}

async fn nowhere(request: Request) -> Response<Body> {
    let (method, path) = (request.method(), request.uri().path());
    let path: String = path.chars().take(200).collect();
    let message = format!("there is no {method} {path}; see /openapi.json");
    ApiError::new(Kind::NotFound, message).response(family(request.headers(), &path))
}

async fn other_method(request: Request) -> Response<Body> {
    let (method, path) = (request.method(), request.uri().path());
    let message = format!("{path} does not take {method}");
    ApiError::new(Kind::Method, message).response(family(request.headers(), path))
}

/// What is left of a request that panicked. The panic hook has printed why.
fn panicked(_: Box<dyn std::any::Any + Send>) -> Response<Body> {
    let message = "the server failed at this request; its log says where";
    ApiError::internal(message).response(Family::OpenAi)
}

/// What every request goes through: the log, the guards, the headers of replies.
async fn guarded(
    State(app): State<Arc<App>>,
    matched: Option<MatchedPath>,
    mut request: Request,
    next: Next,
) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let peer = request
        .extensions()
        .get::<Peer>()
        .map_or("-".to_owned(), |peer| peer.0.to_string());
    let receipt = Receipt::new(app.log.clone(), &peer, request.method().as_str(), &path);
    let family = family(request.headers(), &path);
    let route = matched
        .as_ref()
        .map_or("other", |matched| known(matched.as_str()));
    let allowed = check(&app, &request, &path);
    let (mut response, page) = match allowed {
        Err(error) => {
            receipt.failed(&error);
            (error.response(family), None)
        }
        Ok((_, page)) if request.method() == Method::OPTIONS => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            (response, page)
        }
        Ok((tenant, page)) => {
            receipt.tenant(tenant);
            let receipt = receipt.clone();
            request.extensions_mut().insert(Caller { tenant, receipt });
            (next.run(request).await, page)
        }
    };
    receipt.status(response.status().as_u16());
    app.metrics.replied(route, response.status().as_u16());
    let headers = response.headers_mut();
    // What the model wrote must never run as something else in the page's name.
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(id) = HeaderValue::from_str(&ids::fresh("req_")) {
        headers.insert("x-request-id", id.clone());
        headers.insert("request-id", id);
    }
    if let Some(page) = page {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, page);
        headers.insert(
            ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static("GET, POST"),
        );
        headers.insert(
            ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static(CORS_HEADERS),
        );
        headers.insert(VARY, HeaderValue::from_static("Origin"));
    }
    response
}

/// Headers that pages may send.
const CORS_HEADERS: &str = "authorization, content-type, x-api-key, anthropic-version, \
    anthropic-beta, anthropic-dangerous-direct-browser-access, openai-organization, \
    openai-project, x-stainless-arch, x-stainless-lang, x-stainless-os, \
    x-stainless-package-version, x-stainless-retry-count, x-stainless-runtime, \
    x-stainless-runtime-version, x-stainless-timeout, x-stainless-helper-method";

/// Who asks, and which page.
fn check(
    app: &App,
    request: &Request,
    path: &str,
) -> Result<(Tenant, Option<HeaderValue>), ApiError> {
    let headers = request.headers();
    guard::size(&app.config, headers)?;
    guard::host(&app.config, headers)?;
    let page = guard::origin(&app.config, headers)?;
    // A browser asks before it sends; the question carries no key.
    if OPEN.contains(&path) || page::is_of_page(path) || request.method() == Method::OPTIONS {
        return Ok((Tenant::EVERYBODY, page));
    }
    Ok((guard::tenant(&app.keys, headers)?, page))
}

/// In whose words an error is, where the route does not say.
fn family(headers: &HeaderMap, path: &str) -> Family {
    let is_anthropic =
        path.starts_with("/v1/messages") || headers.contains_key("anthropic-version");
    match is_anthropic {
        true => Family::Anthropic,
        false => Family::OpenAi,
    }
}

/// A route's own name for the metrics: one of ours, never a client's text.
fn known(path: &str) -> &'static str {
    const PATHS: [&str; 13] = [
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/responses",
        "/v1/responses/{id}",
        "/v1/messages",
        "/v1/messages/count_tokens",
        "/v1/models",
        "/v1/models/{*id}",
        "/health",
        "/metrics",
        "/openapi.json",
        "/",
        "/page/{*file}",
    ];
    PATHS
        .into_iter()
        .find(|known| *known == path)
        .unwrap_or("other")
}

/// A JSON reply.
pub(crate) fn reply(body: &serde_json::Value) -> Response<Body> {
    json_response(StatusCode::OK, body)
}

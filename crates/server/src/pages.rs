//! What can be looked at: the model, its health.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::app::App;
use crate::clock;
use crate::error::{json_response, text_response};
use crate::model::Model;
use crate::route::reply;

/// `/v1/models`, for both families of clients at once.
pub(crate) async fn models(State(app): State<Arc<App>>) -> Response<Body> {
    let models: Vec<Value> = app
        .model()
        .map(|model| entry(model, model.id()))
        .into_iter()
        .collect();
    let id = app.model().map(|model| model.id().to_owned());
    reply(&json!({
        "object": "list",
        "data": models,
        "has_more": false,
        "first_id": id,
        "last_id": id,
    }))
}

/// `/v1/models/ID`: whatever it is called, it is the loaded one.
pub(crate) fn model(app: &App, id: &str) -> Response<Body> {
    match app.serving() {
        Ok((model, _)) => reply(&entry(model, id)),
        Err(error) => error.response(crate::error::Family::OpenAi),
    }
}

fn entry(model: &Model, id: &str) -> Value {
    let context = model.engine().context();
    json!({
        "id": id,
        "object": "model",
        "created": model.created(),
        "owned_by": "ds4",
        "type": "model",
        "display_name": model.id(),
        "created_at": clock::rfc3339(model.created()),
        "lifecycle": "active",
        "deprecated_at": null,
        "retires_at": null,
        "line": null,
        "capabilities": null,
        "max_input_tokens": context,
        "max_tokens": context,
        "context_length": context,
        "max_model_len": context,
    })
}

/// `/health`: 200 when it can answer, 503 with progress before.
pub(crate) async fn health(State(app): State<Arc<App>>) -> Response<Body> {
    if let Ok((model, line)) = app.serving() {
        let (running, waiting) = line.counts();
        return reply(&json!({
            "status": "ok",
            "model": model.id(),
            "running": running,
            "waiting": waiting,
        }));
    }
    let (done, total, failure) = app.loading();
    let status = if failure.is_some() {
        "failed"
    } else {
        "loading"
    };
    let body = json!({"status": status, "loaded": done, "total": total, "error": failure});
    json_response(StatusCode::SERVICE_UNAVAILABLE, &body)
}

/// `/openapi.json`: what can be asked, for machines.
pub(crate) async fn openapi() -> Response<Body> {
    text_response(
        StatusCode::OK,
        "application/json",
        include_str!("openapi.json"),
    )
}

/// `/api/hello`: somebody looks whether anything is here.
pub(crate) async fn front() -> Response<Body> {
    text_response(StatusCode::OK, "text/plain; charset=utf-8", "ds4 is here\n")
}

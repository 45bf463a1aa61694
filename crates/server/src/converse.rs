//! From a request to a reply: read, understand, join the line, answer.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::Response;
use serde_json::json;

use crate::app::App;
use crate::ask::Ask;
use crate::body;
use crate::dialect::Dialect;
use crate::error::ApiError;
use crate::fields::Fields;
use crate::job::Job;
use crate::model::Model;
use crate::prepare::{Prepared, count, prepare};
use crate::route::{Caller, reply};
use crate::tenant::Tenant;
use crate::voice::Voice;
use crate::way::Way;

/// A turn in a dialect.
pub(crate) async fn converse(app: Arc<App>, dialect: Dialect, request: Request) -> Response<Body> {
    let caller = request.extensions().get::<Caller>().cloned();
    match answer(app, dialect, request).await {
        Ok(response) => response,
        Err(error) => {
            if let Some(caller) = caller {
                caller.receipt.failed(&error);
            }
            error.response(dialect.family())
        }
    }
}

/// A request that was understood.
struct Understood {
    ask: Ask,
    prepared: Prepared,
    voice: Box<dyn Voice>,
}

async fn answer(
    app: Arc<App>,
    dialect: Dialect,
    request: Request,
) -> Result<Response<Body>, ApiError> {
    let (caller, text, model) = receive(&app, request).await?;
    let (shared, own, tenant) = (Arc::clone(&app), model.clone(), caller.tenant);
    let understood = aside(move || {
        let understood = understand(&shared, &own, tenant, dialect, &text)?;
        // Kept only for whoever traces: bodies are large.
        let body = shared.traces.is_some().then(|| text.into_text());
        Ok((understood, body))
    });
    let (understood, body) = understood.await?;
    let (_, line) = app.serving()?;
    let ticket = line.join(caller.tenant)?;
    let job = Job {
        app,
        model,
        tenant: caller.tenant,
        prepared: Arc::new(understood.prepared),
        way: Way::Exact,
        ticket,
        voice: understood.voice,
        dialect,
        body,
        receipt: caller.receipt,
        ask: understood.ask,
    };
    match job.ask.is_streamed {
        true => Ok(job.stream()),
        false => Ok(reply(&job.whole().await?)),
    }
}

/// `/v1/messages/count_tokens`: how long the prompt would be. It waits for nobody.
pub(crate) async fn count_tokens(app: Arc<App>, request: Request) -> Response<Body> {
    let counted = async {
        let (caller, text, model) = receive(&app, request).await?;
        let app = Arc::clone(&app);
        aside(move || {
            let body = text.json()?;
            let body = Fields::root(&body)?;
            let memory = app.memory(caller.tenant);
            let serving = app.serves(&model);
            let ask = Dialect::Messages.read(&body, serving, &app.config.limits, memory)?;
            count(&model, &app.config, &ask, memory)
        })
        .await
    };
    match counted.await {
        Ok(tokens) => reply(&json!({"input_tokens": tokens})),
        Err(error) => error.response(Dialect::Messages.family()),
    }
}

/// Who asks, what, and of whom.
async fn receive(app: &App, request: Request) -> Result<(Caller, body::Text, Model), ApiError> {
    let caller = request.extensions().get::<Caller>().cloned();
    let caller = caller.ok_or_else(|| ApiError::internal("a request passed no guard"))?;
    let model = app.serving()?.0.clone();
    let (head, body) = request.into_parts();
    Ok((caller, body::read(app, &head, body).await?, model))
}

fn understand(
    app: &Arc<App>,
    model: &Model,
    tenant: Tenant,
    dialect: Dialect,
    text: &body::Text,
) -> Result<Understood, ApiError> {
    let body = text.json()?;
    let body = Fields::root(&body)?;
    let memory = app.memory(tenant);
    let ask = dialect.read(&body, app.serves(model), &app.config.limits, memory)?;
    let prepared = prepare(model, &app.config, &ask, memory)?;
    let prepared = prepared.shaped(app.shape(model, &ask)?);
    let voice = dialect.voice(&body, &ask, app, tenant)?;
    Ok(Understood {
        ask,
        prepared,
        voice,
    })
}

/// Work that may take a while, on a thread that may block.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| {
        let message = "the server failed at this request; its log says where";
        Err(ApiError::internal(message))
    })
}

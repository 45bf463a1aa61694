//! [`ApiError`]: everything a client can be told instead of an answer, in the words of its dialect.
//!
//! Real clients read these bodies: the wording of an overflow starts the compaction of one agent, a
//! code stops the retries of another. So status, type, code and message stand together here, and no
//! handler writes an error of its own.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};

/// Whose words a reply is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Family {
    /// Chat Completions, Completions, Responses.
    #[default]
    OpenAi,
    /// Messages.
    Anthropic,
}

/// What went wrong, as far as a client can act on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The request cannot be served as it is.
    Invalid,
    /// Prompt and answer do not fit the context.
    Context {
        /// Tokens of the prompt.
        prompt: usize,
        /// Tokens of the context.
        context: usize,
    },
    /// No key, or not one of ours.
    Unauthorized,
    /// A page of another origin, or a name that is not this machine's.
    Forbidden,
    /// No such route, model or response.
    NotFound,
    /// The route exists for another method.
    Method,
    /// The request did not arrive in time.
    Timeout,
    /// The request is larger than allowed.
    TooLarge,
    /// Its headers are.
    Headers,
    /// Too much is waiting.
    Busy,
    /// Not now: loading, or going down.
    Unavailable,
    /// Our fault.
    Internal,
}

/// A refusal or failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) kind: Kind,
    /// What is wrong, and the cure.
    pub(crate) message: String,
    /// The field that is meant, as a path.
    pub(crate) param: Option<String>,
}

impl ApiError {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            param: None,
        }
    }

    /// A field that cannot be what it is. The message names it too: many clients show nothing else.
    pub(crate) fn field(path: &str, problem: impl std::fmt::Display) -> Self {
        Self {
            param: Some(path.to_owned()),
            ..Self::new(Kind::Invalid, format!("{path}: {problem}"))
        }
    }

    pub(crate) fn context(prompt: usize, context: usize) -> Self {
        Self::new(Kind::Context { prompt, context }, "")
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message)
    }

    pub(crate) fn status(&self) -> StatusCode {
        match self.kind {
            Kind::Invalid | Kind::Context { .. } => StatusCode::BAD_REQUEST,
            Kind::Unauthorized => StatusCode::UNAUTHORIZED,
            Kind::Forbidden => StatusCode::FORBIDDEN,
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::Method => StatusCode::METHOD_NOT_ALLOWED,
            Kind::Timeout => StatusCode::REQUEST_TIMEOUT,
            Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Kind::Headers => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Kind::Busy => StatusCode::TOO_MANY_REQUESTS,
            Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What it says. An overflow is worded as the client's own vendor words it.
    pub(crate) fn message(&self, family: Family) -> String {
        match (&self.kind, family) {
            (Kind::Context { prompt, context }, Family::Anthropic) => {
                format!("prompt is too long: {prompt} tokens > {context} maximum")
            }
            (Kind::Context { prompt, context }, Family::OpenAi) => format!(
                "This model's maximum context length is {context} tokens. However, your messages \
                 resulted in {prompt} tokens."
            ),
            _ => self.message.clone(),
        }
    }

    /// OpenAI's `code`, where there is one.
    pub(crate) fn code(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Context { .. } => Some("context_length_exceeded"),
            Kind::Unauthorized => Some("invalid_api_key"),
            Kind::NotFound => Some("not_found"),
            Kind::Busy => Some("rate_limit_exceeded"),
            Kind::Unavailable | Kind::Internal => Some("server_error"),
            _ => None,
        }
    }

    fn kind_name(&self, family: Family) -> &'static str {
        match (family, &self.kind) {
            (Family::OpenAi, Kind::Busy) => "rate_limit_error",
            (Family::OpenAi, Kind::Unavailable | Kind::Internal) => "server_error",
            (Family::Anthropic, Kind::Unauthorized) => "authentication_error",
            (Family::Anthropic, Kind::Forbidden) => "permission_error",
            (Family::Anthropic, Kind::NotFound) => "not_found_error",
            (Family::Anthropic, Kind::TooLarge) => "request_too_large",
            (Family::Anthropic, Kind::Busy) => "rate_limit_error",
            (Family::Anthropic, Kind::Unavailable) => "overloaded_error",
            (Family::Anthropic, Kind::Internal | Kind::Timeout) => "api_error",
            _ => "invalid_request_error",
        }
    }

    /// The body, which is also what an `error` event carries.
    pub(crate) fn body(&self, family: Family) -> Value {
        let (message, kind) = (self.message(family), self.kind_name(family));
        match family {
            Family::OpenAi => json!({"error": {
                "message": message,
                "type": kind,
                "param": self.param,
                "code": self.code(),
            }}),
            Family::Anthropic => json!({
                "type": "error",
                "error": {"type": kind, "message": message},
            }),
        }
    }

    pub(crate) fn response(&self, family: Family) -> Response<Body> {
        let mut response = json_response(self.status(), &self.body(family));
        let headers = response.headers_mut();
        if matches!(self.kind, Kind::Busy | Kind::Unavailable) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        }
        if self.kind == Kind::Unauthorized {
            let scheme = HeaderValue::from_static("Bearer");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

/// A JSON body with a status.
pub(crate) fn json_response(status: StatusCode, body: &Value) -> Response<Body> {
    text_response(status, "application/json", body.to_string())
}

/// A text body with a status.
pub(crate) fn text_response(
    status: StatusCode,
    kind: &'static str,
    body: impl Into<Body>,
) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

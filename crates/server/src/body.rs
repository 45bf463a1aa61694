//! Bodies: read within bounds of size, time and memory, and understood.

use axum::body::Body;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use axum::http::request::Parts;
use ds4_prompt::json::{Grammar, JsonError, MAX_DEPTH, Value, parse};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use crate::app::App;
use crate::error::{ApiError, Kind};

/// A body, and the room it takes until it is dropped.
pub(crate) struct Text {
    text: String,
    _room: OwnedSemaphorePermit,
}

/// Reads a body.
///
/// # Errors
/// If it is too large, too slow, or no text.
pub(crate) async fn read(app: &App, head: &Parts, body: Body) -> Result<Text, ApiError> {
    let most = app.config.limits.body_bytes;
    let too_large = || {
        let message = format!("the body is larger than {most} bytes");
        ApiError::new(Kind::TooLarge, message)
    };
    if let Some(encoding) = head.headers.get(CONTENT_ENCODING)
        && encoding != "identity"
    {
        return Err(ApiError::new(
            Kind::Invalid,
            "send the body without Content-Encoding",
        ));
    }
    let length = head.headers.get(CONTENT_LENGTH);
    let announced = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|bytes| bytes > most) {
        return Err(too_large());
    }
    let patience = app.config.patience.body;
    let slow = |_| ApiError::new(Kind::Timeout, "the body did not arrive in time");
    // What does not say how large it is may be as large as allowed.
    let room = announced
        .unwrap_or(most)
        .min(app.config.limits.bodies_bytes) as u32;
    let room = timeout(patience, app.bodies.clone().acquire_many_owned(room)).await;
    let room = room.map_err(|_| ApiError::new(Kind::Busy, "too many large requests at once"))?;
    let room = room.map_err(|_| ApiError::new(Kind::Unavailable, "the server is going down"))?;
    let bytes = timeout(patience, axum::body::to_bytes(body, most)).await;
    let bytes = bytes.map_err(slow)?.map_err(|error| {
        match std::error::Error::source(&error).is_some_and(is_limit) {
            true => too_large(),
            false => ApiError::new(Kind::Invalid, "the body broke off"),
        }
    })?;
    match String::from_utf8(bytes.into()) {
        Ok(text) => Ok(Text { text, _room: room }),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let message = format!("the body is not UTF-8 at byte {at}");
            Err(ApiError::new(Kind::Invalid, message))
        }
    }
}

/// Whether a body was cut for its size.
fn is_limit(error: &(dyn std::error::Error + 'static)) -> bool {
    error.to_string().contains("length limit")
}

impl Text {
    /// The text itself.
    pub(crate) fn into_text(self) -> String {
        self.text
    }

    /// The JSON in it.
    ///
    /// # Errors
    /// If it is none, or nested too deeply.
    pub(crate) fn json(&self) -> Result<Value, ApiError> {
        parse_json(&self.text)
    }
}

/// The JSON in a text.
pub(crate) fn parse_json(text: &str) -> Result<Value, ApiError> {
    parse(text, Grammar::Python).map_err(|error| {
        let problem = match error {
            JsonError::TooDeep { .. } => {
                format!("the body is nested deeper than {MAX_DEPTH} levels")
            }
            error => format!("the body is not JSON: {error}"),
        };
        ApiError::new(Kind::Invalid, problem)
    })
}

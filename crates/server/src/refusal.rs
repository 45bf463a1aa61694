//! What the engine refuses, in words for clients.

use ds4_engine::{EngineError, RequestError};

use crate::error::{ApiError, Kind};

/// What to tell a client of an engine's error.
pub(crate) fn of_engine(error: &EngineError) -> ApiError {
    match error {
        EngineError::Request(RequestError::Context { prompt, context }) => {
            ApiError::context(*prompt, *context)
        }
        EngineError::Request(error) => ApiError::new(Kind::Invalid, error.to_string()),
        EngineError::Busy { .. } | EngineError::Sessions { .. } | EngineError::Generating => {
            ApiError::new(Kind::Busy, error.to_string())
        }
        EngineError::Admission(error) => ApiError::new(Kind::Busy, error.to_string()),
        EngineError::Stopped => ApiError::new(Kind::Unavailable, "the engine has stopped"),
        _ => ApiError::internal(error.to_string()),
    }
}

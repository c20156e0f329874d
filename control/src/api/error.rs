//! How a call over the API fails.

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

/// The kind of a failure: one HTTP status each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The request's words make no sense. 400.
    BadInput,
    /// What it names does not exist. 404.
    Unknown,
    /// It contradicts what is there. 409.
    Conflict,
    /// The system refused. 500.
    Refused,
}

impl Kind {
    /// The HTTP status.
    pub const fn status(self) -> StatusCode {
        match self {
            Kind::BadInput => StatusCode::BAD_REQUEST,
            Kind::Unknown => StatusCode::NOT_FOUND,
            Kind::Conflict => StatusCode::CONFLICT,
            Kind::Refused => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// A failed call: its kind and one sentence.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// What kind of failure.
    pub kind: Kind,
    /// What was wrong, with which value, and what to do.
    pub message: String,
}

impl ApiError {
    /// Words that make no sense.
    pub fn bad(why: impl ToString) -> ApiError {
        ApiError::new(Kind::BadInput, why)
    }

    /// Something that does not exist.
    pub fn unknown(why: impl ToString) -> ApiError {
        ApiError::new(Kind::Unknown, why)
    }

    /// Something that is there already.
    pub fn conflict(why: impl ToString) -> ApiError {
        ApiError::new(Kind::Conflict, why)
    }

    /// A refusal by the system.
    pub fn refused(why: impl ToString) -> ApiError {
        ApiError::new(Kind::Refused, why)
    }

    fn new(kind: Kind, why: impl ToString) -> ApiError {
        ApiError {
            kind,
            message: why.to_string(),
        }
    }
}

/// The body of every failed call.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct ErrorBody {
    /// What was wrong, in one sentence.
    pub error: String,
}

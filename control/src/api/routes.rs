//! The one table of what can be asked.

use super::types::{AttachRequest, PublishRequest};
use super::{ApiError, Backend};
use axum::http::StatusCode;
use axum::routing::MethodFilter;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What a call brings along.
#[derive(Default)]
pub struct Call {
    /// The part of the path that names something, decoded.
    pub name: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Call {
    /// The body as the request type.
    fn json<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        serde_json::from_slice(&self.body).map_err(|e| {
            ApiError::bad(format!(
                "the body is not the JSON that was asked for: {e}; see /v1/openapi.json"
            ))
        })
    }

    fn name(&self) -> Result<&str, ApiError> {
        self.name
            .as_deref()
            .ok_or_else(|| ApiError::bad("the path names nothing"))
    }
}

/// The JSON text of an answer.
pub type Answer = Result<Vec<u8>, ApiError>;

fn answer<T: Serialize>(t: &T) -> Answer {
    serde_json::to_vec(t).map_err(ApiError::refused)
}

/// A method on a path.
pub struct Route {
    /// `GET`, `POST` or `DELETE`.
    pub method: &'static str,
    /// The path, as axum and OpenAPI write it.
    pub path: &'static str,
    /// Status of success.
    pub status: StatusCode,
    /// What is done.
    pub handler: fn(&dyn Backend, &Call) -> Answer,
}

impl Route {
    /// The method, for axum.
    pub fn filter(&self) -> MethodFilter {
        match self.method {
            "POST" => MethodFilter::POST,
            "DELETE" => MethodFilter::DELETE,
            _ => MethodFilter::GET,
        }
    }
}

const fn get(path: &'static str, handler: fn(&dyn Backend, &Call) -> Answer) -> Route {
    Route {
        method: "GET",
        path,
        status: StatusCode::OK,
        handler,
    }
}

const fn post(path: &'static str, handler: fn(&dyn Backend, &Call) -> Answer) -> Route {
    Route {
        method: "POST",
        path,
        status: StatusCode::CREATED,
        handler,
    }
}

const fn delete(path: &'static str, handler: fn(&dyn Backend, &Call) -> Answer) -> Route {
    Route {
        method: "DELETE",
        path,
        status: StatusCode::OK,
        handler,
    }
}

/// The API's description for machines, as it is served.
pub const OPENAPI: &str = include_str!("../../openapi.json");

/// Everything that version 1 answers.
pub const ROUTES: &[Route] = &[
    get("/v1/openapi.json", |_, _| Ok(OPENAPI.into())),
    get("/v1/status", |b, _| answer(&b.status())),
    get("/v1/ports", |b, _| answer(&b.ports())),
    post("/v1/ports", |b, c| {
        answer(&b.attach(&c.json::<AttachRequest>()?.spec)?)
    }),
    delete("/v1/ports/{port}", |b, c| answer(&b.detach(c.name()?)?)),
    get("/v1/publications", |b, _| answer(&b.publications())),
    post("/v1/publications", |b, c| {
        answer(&b.publish(&c.json::<PublishRequest>()?.spec)?)
    }),
    delete("/v1/publications/{publication}", |b, c| {
        answer(&b.unpublish(c.name()?)?)
    }),
    get("/v1/fdb", |b, _| answer(&b.fdb())),
    get("/v1/neigh", |b, _| answer(&b.neighbours())),
    get("/v1/rules", |b, _| answer(&b.rules())),
    get("/v1/conntrack", |b, _| answer(&b.connections())),
    get("/v1/stats", |b, _| answer(&b.stats())),
];

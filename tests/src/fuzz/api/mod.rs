//! The control API: any calls with any paths and bodies, on the routes that the daemon serves,
//! in front of a switch in memory.

mod backend;

use arbitrary::{Result, Unstructured};
use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request};
use backend::Memory;
use control::api::error::ErrorBody;
use control::api::server::router;
use control::api::types::*;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use std::sync::{Arc, LazyLock};
use tokio::runtime::Runtime;
use tower::ServiceExt;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(1)
        .build()
        .expect("a runtime")
});

/// The bytes choose calls.
pub fn api(data: &[u8]) {
    let _ = play(&mut Unstructured::new(data));
}

fn play(u: &mut Unstructured<'_>) -> Result<()> {
    let served = Served(router(Arc::new(Memory::new())));
    for _ in 0..16 {
        if u.is_empty() {
            break;
        }
        let (method, path, body) = call(u)?;
        // What is no request at all never reaches the routes.
        let request = Request::builder().method(method.clone()).uri(&path);
        let Ok(request) = request.body(Body::from(body)) else {
            continue;
        };
        let (status, text) = served.ask(request);
        judge(&method, &path, status, &text);
    }
    served.consistent();
    Ok(())
}

const PATHS: [&str; 10] = [
    "/v1/openapi.json",
    "/v1/status",
    "/v1/ports",
    "/v1/publications",
    "/v1/fdb",
    "/v1/neigh",
    "/v1/rules",
    "/v1/conntrack",
    "/v1/stats",
    "/",
];

fn text(u: &mut Unstructured<'_>, most: usize) -> Result<String> {
    let len = u.int_in_range(0..=most)?.min(u.len());
    Ok(String::from_utf8_lossy(u.bytes(len)?).into_owned())
}

/// Words that make sense often enough.
fn spec(u: &mut Unstructured<'_>) -> Result<String> {
    let d: u8 = u.int_in_range(1..=6)?;
    let port: u16 = u.int_in_range(0..=9)?;
    Ok(match u.int_in_range(0..=7u8)? {
        0 => format!("ns{d}:10.0.0.{d}"),
        1 => format!("ns{d},name=eth{port}"),
        2 => format!("ns{d}"),
        3 => format!("eth0@ns{d}"),
        4 => format!("{}:10.0.0.{d}:80/tcp", 5_000 + port),
        5 => format!("{}-{}:10.0.0.{d}:80-{}", 5_000 + port, 5_004 + port, 84),
        6 => port.to_string(),
        _ => text(u, 60)?,
    })
}

fn call(u: &mut Unstructured<'_>) -> Result<(Method, String, Vec<u8>)> {
    let method = u.choose(&[
        Method::GET,
        Method::POST,
        Method::POST,
        Method::DELETE,
        Method::PUT,
        Method::HEAD,
    ])?;
    let mut path = (*u.choose(&PATHS)?).to_owned();
    let mut body = Vec::new();
    if method == Method::POST {
        path = (*u.choose(&["/v1/ports", "/v1/publications"])?).to_owned();
        body = match u.int_in_range(0..=3u8)? {
            0 => text(u, 100)?.into_bytes(),
            1 => vec![b'['; u.int_in_range(0..=70_000)?],
            _ => serde_json::json!({ "spec": spec(u)? })
                .to_string()
                .into_bytes(),
        };
    } else if method == Method::DELETE {
        path = format!("{}/{}", *u.choose(&["/v1/ports", "/v1/publications"])?, {
            let words = spec(u)?;
            if u.arbitrary()? {
                escaped(&words)
            } else {
                words
            }
        });
    } else if u.ratio(1, 4)? {
        path.push_str(&text(u, 30)?);
    }
    Ok((method.clone(), path, body))
}

fn escaped(words: &str) -> String {
    words.bytes().map(|b| format!("%{b:02x}")).collect()
}

/// Every answer is one that the description promises.
fn judge(method: &Method, path: &str, status: u16, text: &[u8]) {
    let at = || {
        format!(
            "{method} {path}: {status} {}",
            String::from_utf8_lossy(text)
        )
    };
    if method == Method::HEAD {
        return;
    }
    match status {
        200 | 201 => {
            let json: serde_json::Value = serde_json::from_slice(text).expect("JSON");
            assert!(!json.is_null(), "{}", at());
        }
        400 | 404 | 405 | 409 | 413 => {
            let e: ErrorBody = serde_json::from_slice(text).unwrap_or_else(|_| panic!("{}", at()));
            assert!(!e.error.is_empty() || path.contains('%'), "{}", at());
        }
        _ => panic!("{}", at()),
    }
}

struct Served(Router);

impl Served {
    fn ask(&self, request: Request<Body>) -> (u16, Vec<u8>) {
        RUNTIME.block_on(async {
            let answer = self.0.clone().oneshot(request).await;
            let answer = answer.unwrap_or_else(|e| match e {});
            let status = answer.status().as_u16();
            let body = answer.into_body().collect().await.expect("a body");
            (status, body.to_bytes().to_vec())
        })
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        let request = Request::get(path).body(Body::empty()).expect("a request");
        let (status, text) = self.ask(request);
        assert_eq!(status, 200, "{path}");
        serde_json::from_slice(&text).unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    /// All that can be asked fits together, whatever was called before.
    fn consistent(&self) {
        let status: Status = self.get("/v1/status");
        let ports: Vec<Port> = self.get("/v1/ports");
        let published: Vec<Publication> = self.get("/v1/publications");
        assert_eq!(
            (status.ports, status.publications),
            (ports.len(), published.len())
        );
        let rules: Rules = self.get("/v1/rules");
        let listed = rules.chains.iter().flat_map(|c| &c.rules);
        let dnat = listed.filter(|r| r.target == "DNAT").count();
        assert_eq!(dnat, published.len());
        let stats: Stats = self.get("/v1/stats");
        assert!(stats.balance.holds);
        let _: Vec<FdbEntry> = self.get("/v1/fdb");
        let _: Vec<Neighbour> = self.get("/v1/neigh");
        let _: Vec<Connection> = self.get("/v1/conntrack");
    }
}

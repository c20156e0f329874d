//! The server: axum on a Unix socket, in a thread of its own.

use super::error::ErrorBody;
use super::routes::{Call, ROUTES, Route};
use super::{ApiError, Backend, ControlSocket};
use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{DefaultBodyLimit, Path};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::on;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// Largest body that is read; every request of version 1 is far smaller.
pub const BODY_LIMIT: usize = 64 * 1024;

/// How long open calls may take to end when the server stops.
const GRACE: Duration = Duration::from_millis(500);

/// A running server. It ends when dropped or stopped, and the socket goes with it.
pub struct Server {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Answers on `socket` from now on.
    ///
    /// # Errors
    /// No thread, no event loop, or a socket that can't be listened on.
    pub fn start(socket: ControlSocket, backend: Arc<dyn Backend>) -> io::Result<Server> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(8)
            .build()?;
        let listener = {
            let _in = runtime.enter();
            tokio::net::UnixListener::from_std(socket.listener()?)?
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let app = router(backend);
        let thread = std::thread::Builder::new()
            .name("api".to_owned())
            .spawn(move || {
                runtime.block_on(async move {
                    let (closing, close) = oneshot::channel::<()>();
                    let serve = axum::serve(listener, app).with_graceful_shutdown(async {
                        let _ = close.await;
                    });
                    let mut serve = std::pin::pin!(serve.into_future());
                    tokio::select! {
                        r = &mut serve => {
                            if let Err(e) = r {
                                tracing::error!("the control API ended: {e}");
                            }
                        }
                        _ = stopped => {
                            let _ = closing.send(());
                            let _ = tokio::time::timeout(GRACE, serve).await;
                        }
                    }
                });
                runtime.shutdown_timeout(GRACE);
                drop(socket);
            })?;
        Ok(Server {
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Ends it: open calls get half a second, the socket is removed.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        drop(self.stop.take());
        if let Some(t) = self.thread.take() {
            let _ = t.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// The routes of the table, with JSON for what is not in it.
pub fn router(backend: Arc<dyn Backend>) -> Router {
    let mut app = Router::new();
    for route in ROUTES {
        let backend = backend.clone();
        let handler = move |name: Option<Result<Path<String>, PathRejection>>,
                            body: Result<Bytes, BytesRejection>| {
            call(route, backend.clone(), name, body)
        };
        app = if route.path.contains('{') {
            let named =
                move |name: Result<Path<String>, PathRejection>, body| handler(Some(name), body);
            app.route(route.path, on(route.filter(), named))
        } else {
            app.route(
                route.path,
                on(route.filter(), move |body| handler(None, body)),
            )
        };
    }
    app.fallback(|uri: Uri| async move {
        let why = format!("there is no {}: see /v1/openapi.json", uri.path());
        failure(StatusCode::NOT_FOUND, why)
    })
    .method_not_allowed_fallback(|uri: Uri| async move {
        let why = format!(
            "{} does not take this method: see /v1/openapi.json",
            uri.path()
        );
        failure(StatusCode::METHOD_NOT_ALLOWED, why)
    })
    .layer(DefaultBodyLimit::max(BODY_LIMIT))
}

/// One call, run where it may block.
async fn call(
    route: &'static Route,
    backend: Arc<dyn Backend>,
    name: Option<Result<Path<String>, PathRejection>>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let name = match name.transpose() {
        Ok(name) => name.map(|Path(n)| n),
        Err(e) => return failure(StatusCode::BAD_REQUEST, e.body_text()),
    };
    let body = match body {
        Ok(body) => body.to_vec(),
        Err(e) if e.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            let why = format!("the body is larger than {BODY_LIMIT} bytes");
            return failure(StatusCode::PAYLOAD_TOO_LARGE, why);
        }
        Err(e) => return failure(e.status(), e.body_text()),
    };
    let call = Call { name, body };
    let done = tokio::task::spawn_blocking(move || (route.handler)(backend.as_ref(), &call)).await;
    match done {
        Ok(Ok(json)) => (
            route.status,
            [(header::CONTENT_TYPE, "application/json")],
            json,
        )
            .into_response(),
        Ok(Err(ApiError { kind, message })) => failure(kind.status(), message),
        Err(_) => failure(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the call failed inside the daemon: see its log".to_owned(),
        ),
    }
}

fn failure(status: StatusCode, error: String) -> Response {
    (status, axum::Json(ErrorBody { error })).into_response()
}

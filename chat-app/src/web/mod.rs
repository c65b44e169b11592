//! HTTP: the routes, and what holds for every request. Each answer carries a strict Content-Security-Policy, each change
//! must come from our own pages, and no body is larger than [`MOST_BYTES`].

pub mod api;
pub mod assets;
pub mod auth;
pub mod dashboard;
pub mod feed;
pub mod health;
pub mod metrics;
pub mod pages;
pub mod reply;
pub mod socket;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::net::TcpListener;

use crate::app::App;
use crate::error::AppError;

/// The largest body of a request.
pub const MOST_BYTES: usize = 64 << 10;
/// How long requests may go on when the program ends.
const PATIENCE: Duration = Duration::from_secs(3);

/// Serves until `ended`.
///
/// # Errors
/// A socket that cannot be accepted on.
pub async fn serve(
    app: Arc<App>,
    listener: TcpListener,
    ended: impl Future<Output = ()> + Send + 'static,
) -> Result<(), String> {
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "listening");
    }
    let (begin, begun) = tokio::sync::oneshot::channel();
    let shutdown = async move {
        ended.await;
        let _ = begin.send(());
    };
    let service = router(app).into_make_service_with_connect_info::<SocketAddr>();
    let server = axum::serve(listener, service).with_graceful_shutdown(shutdown).into_future();
    // Readers keep their sockets open for good, so patience has an end.
    let impatience = async {
        if begun.await.is_err() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(PATIENCE).await;
    };
    tokio::select! {
        served = server => served.map_err(|error| error.to_string()),
        () = impatience => Ok(()),
    }
}

/// All routes.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/", get(pages::start))
        .route("/sign-in", post(pages::sign_in))
        .route("/sign-out", post(pages::sign_out))
        .route("/rooms", get(pages::rooms).post(pages::create_room))
        .route("/rooms/{room}", get(pages::room))
        .route("/rooms/{room}/messages", post(pages::post_message))
        .route("/api/sign-in", post(api::sign_in))
        .route("/api/sign-out-everywhere", post(api::sign_out_everywhere))
        .route("/api/rooms", get(api::rooms).post(api::create_room))
        .route("/api/rooms/{room}/messages", get(api::messages).post(api::post_message))
        .route("/api/rooms/{room}/page", get(api::room_page))
        .route("/api/rooms/{room}/changes", get(api::changes))
        .route("/api/messages/{id}", axum::routing::put(api::edit).delete(api::delete))
        .route("/api/messages/{id}/reactions", post(api::react))
        .route("/api/users/{id}", get(api::profile))
        .route("/api/feed", get(feed::feed))
        .route("/api/posts", post(feed::publish))
        .route("/api/posts/{id}", axum::routing::delete(feed::delete))
        .route("/api/posts/{id}/likes", post(feed::like))
        .route("/api/follows/{id}", axum::routing::put(feed::follow).delete(feed::unfollow))
        .route("/feed", get(feed::page).post(feed::publish_form))
        .route("/users/{id}", get(feed::user_page))
        .route("/users/{id}/follow", post(feed::follow_form))
        .route("/posts/{id}/like", post(feed::like_form))
        .route("/posts/{id}/delete", post(feed::delete_form))
        .route("/ws/{room}", get(socket::upgrade))
        .route("/dashboard", get(dashboard::page))
        .route("/api/stats", get(dashboard::stats))
        .route("/health", get(health::health))
        .route("/metrics", get(metrics::metrics))
        .route("/assets/{name}", get(assets::asset))
        .fallback(reply::not_found)
        .layer(DefaultBodyLimit::max(MOST_BYTES))
        .layer(middleware::from_fn_with_state(app.clone(), guard))
        .with_state(app)
}

/// What holds for every request and every answer.
async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    app.metrics.requests.add(1);
    let is_change = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let is_foreign = is_change && !comes_from_here(request.headers(), false);
    let wants_json = request.uri().path().starts_with("/api/");
    let mut response = if is_foreign {
        AppError::Forbidden("the request comes from another site".into()).into_response()
    } else {
        next.run(request).await
    };
    if let Some(error) = response.extensions().get::<AppError>().cloned()
        && !wants_json
    {
        response = pages::error(&error, response);
    }
    if response.status().is_server_error() {
        app.metrics.failures.add(1);
    }
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Nothing is loaded from elsewhere, nothing inline is run, nobody frames us.
const HEADERS: [(HeaderName, &str); 4] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; \
         base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "same-origin"),
    (header::X_FRAME_OPTIONS, "DENY"),
];

/// Whether a request was made by one of our own pages. Browsers say where a change comes from; a program that says
/// nothing has no cookies of somebody else to misuse, but a socket must say it (`must_say`).
pub fn comes_from_here(headers: &HeaderMap, must_say: bool) -> bool {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let site = text(HeaderName::from_static("sec-fetch-site"));
    match (headers.contains_key(header::ORIGIN), text(header::ORIGIN), text(header::HOST)) {
        (false, ..) => !must_say && site.is_none_or(|site| site == "same-origin" || site == "none"),
        (true, Some(origin), Some(host)) => origin
            .split_once("://")
            .is_some_and(|(scheme, from)| (scheme == "http" || scheme == "https") && from.eq_ignore_ascii_case(host)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::comes_from_here;
    use axum::http::{HeaderMap, HeaderName, HeaderValue};

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn foreign_origins_are_told_apart() {
        let ours = headers(&[("host", "chat.example:8080"), ("origin", "http://chat.example:8080")]);
        assert!(comes_from_here(&ours, true));
        for origin in ["http://evil.example", "null", "http://chat.example", "file://chat.example:8080"] {
            assert!(
                !comes_from_here(&headers(&[("host", "chat.example:8080"), ("origin", origin)]), false),
                "{origin}"
            );
        }
        let silent = headers(&[("host", "chat.example")]);
        assert!(comes_from_here(&silent, false) && !comes_from_here(&silent, true));
        assert!(!comes_from_here(&headers(&[("host", "a"), ("sec-fetch-site", "cross-site")]), false));
    }
}

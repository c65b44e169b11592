//! Style sheet, icon and scripts, which are part of the program: nothing is built and nothing is loaded from elsewhere.

use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::error::AppError;

const ASSETS: &[(&str, &str, &str)] = &[
    ("style.css", "text/css; charset=utf-8", include_str!("../../assets/style.css")),
    ("icon.svg", "image/svg+xml", include_str!("../../assets/icon.svg")),
    ("dashboard.js", "text/javascript; charset=utf-8", include_str!("../../assets/dashboard.js")),
    ("times.js", "text/javascript; charset=utf-8", include_str!("../../assets/times.js")),
    ("room.js", "text/javascript; charset=utf-8", include_str!("../../assets/room.js")),
];

/// Answers `/assets/...`.
pub async fn asset(Path(name): Path<String>) -> Response {
    match ASSETS.iter().find(|(asset, ..)| *asset == name) {
        Some((_, kind, text)) => {
            ([(header::CONTENT_TYPE, *kind), (header::CACHE_CONTROL, "public, max-age=300")], *text).into_response()
        }
        None => AppError::NotFound("there is no such file".into()).into_response(),
    }
}

//! Answers: errors with their status, JSON that comes from the cache as it is, and bodies of requests.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;

use crate::cache::layers::Served;
use crate::error::AppError;
use crate::limit::Quota;

/// How much of a body that is too long is read and thrown away.
const READ_ON: usize = 4 << 20;

/// Says which layer answered.
pub const X_CACHE: HeaderName = HeaderName::from_static("x-cache");

impl IntoResponse for AppError {
    fn into_response(self) -> Response {
        let status = match &self {
            AppError::Invalid(_) => StatusCode::BAD_REQUEST,
            AppError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            AppError::SignedOut => StatusCode::UNAUTHORIZED,
            AppError::Forbidden(_) => StatusCode::FORBIDDEN,
            AppError::NotFound(_) => StatusCode::NOT_FOUND,
            AppError::Limited(_) => StatusCode::TOO_MANY_REQUESTS,
            AppError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        let body = serde_json::json!({ "error": self.to_string() });
        let mut response = (status, axum::Json(body)).into_response();
        if let AppError::Limited(refusal) = &self {
            let headers = response.headers_mut();
            insert(headers, header::RETRY_AFTER, refusal.retry_after_s());
            quota_headers(headers, &Quota { limit: refusal.limit, remaining: 0, reset_ms: refusal.retry_after_ms });
        }
        // For the pages, which say it in HTML.
        response.extensions_mut().insert(self);
        response
    }
}

/// JSON as the cache holds it, and where it came from.
pub fn cached((body, served): (Arc<[u8]>, Served)) -> Response {
    let mut response = Body::from(Bytes::from_owner(body)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(X_CACHE, HeaderValue::from_static(served.layer.name()));
    response
}

/// Tells what is left of a limit.
pub fn quota_headers(headers: &mut HeaderMap, quota: &Quota) {
    insert(headers, HeaderName::from_static("ratelimit-limit"), quota.limit);
    insert(headers, HeaderName::from_static("ratelimit-remaining"), quota.remaining);
    insert(headers, HeaderName::from_static("ratelimit-reset"), (quota.reset_ms.max(0) + 999) / 1_000);
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: impl ToString) {
    if let Ok(value) = HeaderValue::from_str(&value.to_string()) {
        headers.insert(name, value);
    }
}

/// What no route matches.
pub async fn not_found() -> AppError {
    AppError::NotFound("there is no such page".into())
}

/// A body of JSON; everything that is none is a clear error.
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = AppError;

    async fn from_request(request: Request, _: &S) -> Result<Self, AppError> {
        let body = body_of(request).await?;
        let text = std::str::from_utf8(&body).map_err(|_| AppError::invalid("the body is not valid UTF-8"))?;
        serde_json::from_str(text).map(Self).map_err(|error| AppError::Invalid(format!("the body: {error}")))
    }
}

/// A form; everything that is none is a clear error.
pub struct Form<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Form<T> {
    type Rejection = AppError;

    async fn from_request(request: Request, state: &S) -> Result<Self, AppError> {
        let (parts, body) = request.into_parts();
        let body = body_of(Request::new(body)).await?;
        // The form's own decoder would put a replacement in the place of what is not valid, and it would be stored.
        if std::str::from_utf8(&form_bytes(&body)).is_err() {
            return Err(AppError::invalid("the form is not valid UTF-8"));
        }
        let request = Request::from_parts(parts, Body::from(body));
        match axum::Form::<T>::from_request(request, state).await {
            Ok(axum::Form(form)) => Ok(Self(form)),
            Err(rejection) => Err(AppError::Invalid(rejection.body_text())),
        }
    }
}

/// The bytes that a form's percent signs stand for.
fn form_bytes(mut form: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = Vec::with_capacity(form.len());
    while let Some((first, rest)) = form.split_first() {
        let coded = match (first, rest) {
            (b'%', [high, low, ..]) => digit(*high).zip(digit(*low)),
            _ => None,
        };
        match coded {
            Some((high, low)) => {
                bytes.push(high << 4 | low);
                form = &rest[2..];
            }
            None => {
                bytes.push(*first);
                form = rest;
            }
        }
    }
    bytes
}

/// A body of at most [`super::MOST_BYTES`]. One that is longer is read on for a while, so that whoever sends it gets to
/// read the answer instead of a closed connection.
async fn body_of(request: Request) -> Result<Bytes, AppError> {
    let (mut body, mut kept, mut length) = (request.into_body(), BytesMut::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| AppError::invalid("the body was not sent in full"))?;
        let Ok(data) = frame.into_data() else { continue };
        length += data.len();
        if length <= super::MOST_BYTES {
            kept.extend_from_slice(&data);
        } else if length > READ_ON {
            break;
        }
    }
    if length > super::MOST_BYTES {
        return Err(AppError::TooLarge(format!("more than {} bytes", super::MOST_BYTES)));
    }
    Ok(kept.freeze())
}

//! A small HTTP client for measurements and tests: one connection that is kept, and the cookie that the server set.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Mutex;

/// No answer takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// One user of one server.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    host: String,
    connection: Mutex<Option<SendRequest<Full<Bytes>>>>,
    cookie: parking_lot::Mutex<String>,
}

/// What a server answered.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON, null if it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header, empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

impl Client {
    /// Somebody who is not signed in, at a server, as `127.0.0.1:8080`.
    pub fn new(host: &str) -> Self {
        Self::with_cookie(host, "")
    }

    /// The same user at the same or another server, over a connection of its own.
    pub fn with_cookie(host: &str, cookie: &str) -> Self {
        let cookie = parking_lot::Mutex::new(cookie.to_owned());
        Self { shared: Arc::new(Shared { host: host.to_owned(), connection: Mutex::new(None), cookie }) }
    }

    /// The server.
    pub fn host(&self) -> &str {
        &self.shared.host
    }

    /// The cookie, as `name=value`.
    pub fn cookie(&self) -> String {
        self.shared.cookie.lock().clone()
    }

    /// Signs in.
    ///
    /// # Errors
    /// A server that refuses or cannot be reached.
    pub async fn sign_in(&self, name: &str) -> Result<(), String> {
        let answer = self.post("/api/sign-in", &serde_json::json!({ "name": name })).await?;
        if answer.status.is_success() { Ok(()) } else { Err(answer.text()) }
    }

    /// GET.
    ///
    /// # Errors
    /// A server that cannot be reached.
    pub async fn get(&self, path: &str) -> Result<Answer, String> {
        self.send(Method::GET, path, &[], Bytes::new()).await
    }

    /// POST of JSON.
    ///
    /// # Errors
    /// A server that cannot be reached.
    pub async fn post(&self, path: &str, body: &serde_json::Value) -> Result<Answer, String> {
        self.send(Method::POST, path, &[], body.to_string().into()).await
    }

    /// Any request.
    ///
    /// # Errors
    /// A server that cannot be reached.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Answer, String> {
        let work = self.exchange(method, path, headers, body);
        match tokio::time::timeout(PATIENCE, work).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("{path}: no answer")),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Answer, String> {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, self.host());
        let cookie = self.cookie();
        if !cookie.is_empty() {
            request = request.header(header::COOKIE, cookie);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).map_err(|error| error.to_string())?;
        let mut connection = self.shared.connection.lock().await;
        let mut sender = match connection.take().filter(SendRequest::is_ready) {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        let response = sender.send_request(request).await.map_err(|error| format!("{path}: {error}"))?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| format!("{path}: {error}"))?.to_bytes();
        if sender.ready().await.is_ok() {
            *connection = Some(sender);
        }
        if let Some(set) = parts.headers.get(header::SET_COOKIE).and_then(|value| value.to_str().ok()) {
            *self.shared.cookie.lock() = set.split(';').next().unwrap_or_default().to_owned();
        }
        Ok(Answer { status: parts.status, headers: parts.headers, body })
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, String> {
        let stream = TcpStream::connect(self.host()).await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        tokio::spawn(async move {
            // Its errors come with the request that they concern.
            let _ = connection.await;
        });
        Ok(sender)
    }
}

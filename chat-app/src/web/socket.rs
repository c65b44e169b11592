//! Live messages over WebSocket. A reader says which change it saw last and gets what came after it, then what comes.
//!
//! Nothing is lost in between: the reader is put on the list before the database is asked, and what it gets twice it knows
//! by its id. A reader that is too slow is told to catch up instead of being waited for.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message as Frame, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{Query as UrlQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use super::api::{self, Part};
use super::auth::{User, cookie};
use super::comes_from_here;
use crate::app::App;
use crate::error::AppError;
use crate::keys::Query;
use crate::model::{PAGE_LIMIT, RoomId};
use crate::session::Session;

/// The longest frame that is read, so that one that is too long gets an answer; what is taken is much shorter.
const LONGEST_FRAME: usize = 2 << 20;
/// How far back a reader that comes back is told again: ids of different servers do not arrive in their order.
const OVERLAP_MS: i64 = 10_000;
/// How often sessions are looked at again, and silent connections are asked.
const CHECK: Duration = Duration::from_secs(15);

/// Where a reader left off.
#[derive(Debug, Default, Deserialize)]
pub struct Resume {
    after: Option<String>,
}

/// What a reader sends.
#[derive(Debug, Deserialize)]
struct Say {
    body: String,
    /// Comes back with the answer, so that the reader knows what was taken and what was refused.
    tag: Option<u32>,
}

/// Begins a connection.
///
/// # Errors
/// Another site's page, nobody signed in, a room that does not exist.
pub async fn upgrade(
    State(app): State<Arc<App>>,
    user: User,
    headers: HeaderMap,
    room: Part,
    resume: Result<UrlQuery<Resume>, axum::extract::rejection::QueryRejection>,
    upgrade: WebSocketUpgrade,
) -> Result<Response, AppError> {
    if !comes_from_here(&headers, true) {
        return Err(AppError::Forbidden("the request comes from another site".into()));
    }
    let room = RoomId::new(&api::part(room)?)?;
    app.read(&Query::Room { room: room.clone() }).await?;
    let UrlQuery(resume) = resume.map_err(|error| AppError::Invalid(error.body_text()))?;
    let after = match resume.after.as_deref() {
        None | Some("") => None,
        Some(text) => Some(text.parse().map_err(|_| AppError::invalid("after is the id of a change"))?),
    };
    let cookie = cookie(&headers).map(str::to_owned);
    let reader = Reader { app, session: user.0, room, cookie };
    let upgrade = upgrade.max_message_size(LONGEST_FRAME).max_frame_size(LONGEST_FRAME);
    Ok(upgrade.on_upgrade(move |socket| async move {
        // How a connection ends is nobody's concern.
        let _ = reader.run(socket, after).await;
    }))
}

struct Reader {
    app: Arc<App>,
    session: Session,
    room: RoomId,
    cookie: Option<String>,
}

impl Reader {
    async fn run(self, mut socket: WebSocket, after: Option<i64>) -> Result<(), axum::Error> {
        let (mut live, mut revoked) = (self.app.hub.listen(&self.room), self.app.hub.revocations());
        if let Some(after) = after {
            self.catch_up(&mut socket, after).await?;
        }
        let mut check = tokio::time::interval(CHECK);
        check.tick().await;
        loop {
            tokio::select! {
                biased;
                ended = revoked.recv() => match ended {
                    Ok(session) if *session != *self.session.id => {}
                    _ if self.is_signed_in().await => {}
                    _ => return sign_out(&mut socket).await,
                },
                event = live.recv() => self.forward(&mut socket, event).await?,
                frame = socket.recv() => match frame {
                    None => return Ok(()),
                    Some(frame) => self.take(&mut socket, frame?).await?,
                },
                _ = check.tick() => {
                    if !self.is_signed_in().await {
                        return sign_out(&mut socket).await;
                    }
                    socket.send(Frame::Ping(Vec::new().into())).await?;
                }
            }
        }
    }

    async fn forward(
        &self,
        socket: &mut WebSocket,
        event: Result<Arc<str>, broadcast::error::RecvError>,
    ) -> Result<(), axum::Error> {
        match event {
            Ok(message) => {
                let text = format!("{{\"type\":\"message\",\"message\":{message}}}");
                socket.send(Frame::Text(text.into())).await
            }
            Err(RecvError::Lagged(_)) => send(socket, &json!({ "type": "behind" })).await,
            Err(RecvError::Closed) => Err(axum::Error::new(AppError::Unavailable("the server ends".into()))),
        }
    }

    /// Takes what the reader says.
    async fn take(&self, socket: &mut WebSocket, frame: Frame) -> Result<(), axum::Error> {
        let text = match frame {
            Frame::Text(text) => text,
            Frame::Binary(_) => return send_error(socket, &AppError::invalid("send text, not bytes")).await,
            Frame::Close(_) | Frame::Ping(_) | Frame::Pong(_) => return Ok(()),
        };
        if text.len() > super::MOST_BYTES {
            let error = AppError::TooLarge(format!("more than {} bytes", super::MOST_BYTES));
            return send_error(socket, &error).await;
        }
        let said = match serde_json::from_str::<Say>(text.as_str()) {
            Ok(said) => said,
            Err(error) => return send_error(socket, &AppError::Invalid(format!("the message: {error}"))).await,
        };
        let outcome = match self.is_signed_in().await {
            true => self.app.post(&self.session, &self.room, &said.body).await,
            false => Err(AppError::SignedOut),
        };
        match (outcome, said.tag) {
            // It comes back with what everybody hears.
            (Ok(_), None) => Ok(()),
            (Ok(_), Some(tag)) => send(socket, &json!({ "type": "taken", "tag": tag })).await,
            (Err(error), tag) => send_error_about(socket, &error, tag).await,
        }
    }

    /// Sends what changed since the reader was here last.
    async fn catch_up(&self, socket: &mut WebSocket, after: i64) -> Result<(), axum::Error> {
        let from = after.saturating_sub(OVERLAP_MS << 22);
        // Without an answer the connection ends, and the reader comes again: what it goes on from here, it has all before.
        let changes = self.app.changes(&self.room, from, PAGE_LIMIT).await.map_err(axum::Error::new)?;
        let is_all = i64::try_from(changes.len()).unwrap_or(i64::MAX) < PAGE_LIMIT;
        if !is_all && changes.first().is_some_and(|first| first.changed > after) {
            // More than a page: the reader loads the page anew.
            return send(socket, &json!({ "type": "behind" })).await;
        }
        for message in changes {
            send(socket, &json!({ "type": "message", "message": message })).await?;
        }
        // A connection that was begun is none yet that works: the reader waits ever longer between its tries until this.
        send(socket, &json!({ "type": "caught_up" })).await
    }

    async fn is_signed_in(&self) -> bool {
        match &self.cookie {
            Some(value) => !matches!(self.app.sessions.check(value).await, Err(AppError::SignedOut)),
            None => false,
        }
    }
}

async fn sign_out(socket: &mut WebSocket) -> Result<(), axum::Error> {
    let frame = CloseFrame { code: close_code::POLICY, reason: "signed out".into() };
    socket.send(Frame::Close(Some(frame))).await
}

async fn send_error(socket: &mut WebSocket, error: &AppError) -> Result<(), axum::Error> {
    send_error_about(socket, error, None).await
}

/// Refuses what came with this tag.
async fn send_error_about(socket: &mut WebSocket, error: &AppError, tag: Option<u32>) -> Result<(), axum::Error> {
    let retry_after_s = match error {
        AppError::Limited(refusal) => Some(refusal.retry_after_s()),
        _ => None,
    };
    let is_signed_out = *error == AppError::SignedOut;
    let said = json!({
        "type": "error", "error": error.to_string(), "retry_after": retry_after_s, "tag": tag, "signed_out": is_signed_out,
    });
    send(socket, &said).await
}

async fn send(socket: &mut WebSocket, value: &serde_json::Value) -> Result<(), axum::Error> {
    socket.send(Frame::Text(value.to_string().into())).await
}

//! Who is signed in.
//!
//! The cookie says who, until when and in which session, and carries an HMAC-SHA256 over it, so that nobody can write one
//! of their own. A signature alone could not be revoked: the session must also exist. Its truth is a row in the database;
//! the state server is asked first and remembers whose the session is for a minute, which is also the longest that a revoked
//! session lives on when the state server could not be told. Open connections end by a message to all servers.

use hmac::{Hmac, KeyInit, Mac};
use rustis::resp::cmd;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::clock::Clock;
use crate::db::Db;
use crate::error::AppError;
use crate::random;
use crate::store::{Store, Unreachable};

/// The name of the cookie.
pub const COOKIE: &str = "chat_session";
/// How long a session lasts.
pub const LIFE_MS: i64 = 7 * 24 * 3_600 * 1_000;
const REMEMBERED_S: u64 = 60;
/// What is remembered of a session that is nobody's.
const REVOKED: &str = "0";
/// A cookie that is longer is none of ours.
const LONGEST: usize = 1_024;

/// What the cookie says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Of the session.
    pub id: String,
    /// Who it is.
    pub user: i64,
    /// The user's name.
    pub name: String,
    /// When it ends, in milliseconds since 1970.
    pub expires_ms: i64,
}

/// Begins, checks and revokes sessions.
pub struct Sessions {
    /// The key of the signatures.
    pub secret: Vec<u8>,
    /// The truth.
    pub db: Db,
    /// What remembers it.
    pub state: Store,
    /// The time.
    pub clock: Clock,
}

impl Sessions {
    /// Signs a user in and gives the value of the cookie.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn begin(&self, user: i64, name: &str) -> Result<String, AppError> {
        let now_ms = self.clock.now_ms();
        let expires_ms = now_ms + LIFE_MS;
        let session = Session { id: random::token(), user, name: name.to_owned(), expires_ms };
        self.db.begin_session(&session.id, user, expires_ms, now_ms).await?;
        self.remember(&session.id, Some(user)).await;
        Ok(self.sign(&session))
    }

    /// The session of a cookie's value.
    ///
    /// # Errors
    /// [`AppError::SignedOut`] for one that is not ours, has ended, or was revoked; a database that does not answer.
    pub async fn check(&self, cookie: &str) -> Result<Session, AppError> {
        let session = self.verify(cookie).ok_or(AppError::SignedOut)?;
        let now_ms = self.clock.now_ms();
        if session.expires_ms <= now_ms {
            return Err(AppError::SignedOut);
        }
        let key = self.key(&session.id);
        match self.state.call::<Option<String>>(cmd("GET").key(&key)).await {
            Ok(Some(user)) if user == REVOKED => return Err(AppError::SignedOut),
            Ok(Some(user)) if user == session.user.to_string() => return Ok(session),
            Ok(None) | Err(Unreachable::Down | Unreachable::Timeout | Unreachable::Broken(_)) => {}
            // None of ours. It goes before the database is asked, so a revocation that it may be by now is found there.
            Ok(Some(_)) | Err(Unreachable::Refused(_)) => {
                if self.state.call::<i64>(cmd("UNLINK").key(&key)).await == Ok(1) {
                    self.state.note_mended(&key, "no session is remembered so");
                }
            }
        }
        let is_valid = self.db.has_session(&session.id, session.user, now_ms).await?;
        self.remember(&session.id, is_valid.then_some(session.user)).await;
        if is_valid { Ok(session) } else { Err(AppError::SignedOut) }
    }

    /// Ends one session.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn end(&self, session: &Session) -> Result<(), AppError> {
        self.db.end_session(&session.id).await?;
        self.remember(&session.id, None).await;
        Ok(())
    }

    /// Ends all sessions of a user, wherever they were begun; gives their ids.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn end_all(&self, user: i64) -> Result<Vec<String>, AppError> {
        let ended = self.db.end_sessions(user).await?;
        for id in &ended {
            self.remember(id, None).await;
        }
        Ok(ended)
    }

    /// Remembers whose a session is; `None`: nobody's.
    async fn remember(&self, id: &str, user: Option<i64>) {
        let value = user.map_or_else(|| REVOKED.to_owned(), |user| user.to_string());
        // A revocation outlives every answer that was remembered before it.
        let life_s = if user.is_some() { REMEMBERED_S } else { 2 * REMEMBERED_S };
        let set = cmd("SET").key(self.key(id)).arg(value).arg("EX").arg(life_s);
        // What was read before a revocation must not cover it.
        let set = if user.is_some() { set.arg("NX") } else { set };
        if let Err(error) = self.state.call::<rustis::resp::Value>(set).await {
            tracing::debug!(%error, "a session was not remembered");
        }
    }

    fn key(&self, id: &str) -> String {
        self.state.key(&format!("session:{id}"))
    }

    fn sign(&self, session: &Session) -> String {
        let text = hex(serde_json::to_string(session).unwrap_or_default().as_bytes());
        let mark = self.mac(&text).map(|mac| hex(&mac.finalize().into_bytes())).unwrap_or_default();
        format!("{text}.{mark}")
    }

    fn verify(&self, cookie: &str) -> Option<Session> {
        if cookie.len() > LONGEST {
            return None;
        }
        let (text, mark) = cookie.split_once('.')?;
        // In constant time.
        self.mac(text)?.verify_slice(&unhex(mark)?).ok()?;
        serde_json::from_slice(&unhex(text)?).ok()
    }

    fn mac(&self, text: &str) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).ok()?;
        mac.update(text.as_bytes());
        Some(mac)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    text.as_bytes().chunks(2).map(pair).collect()
}

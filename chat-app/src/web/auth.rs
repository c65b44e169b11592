//! Who makes a request: the session in its cookie.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};

use crate::app::App;
use crate::cache::invalidation::{REVOKED, announce_revoked};
use crate::error::AppError;
use crate::model;
use crate::session::{COOKIE, LIFE_MS, Session};

/// A user who is signed in; a request without one is refused.
pub struct User(pub Session);

/// Where a request comes from.
pub type From = ConnectInfo<SocketAddr>;

impl FromRequestParts<Arc<App>> for User {
    type Rejection = AppError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, AppError> {
        let cookie = cookie(&parts.headers).ok_or(AppError::SignedOut)?;
        app.sessions.check(cookie).await.map(User)
    }
}

impl App {
    /// Signs in by name and gives the cookie.
    ///
    /// # Errors
    /// A name that breaks a rule, too many sign-ins from there, a database that does not answer.
    pub async fn sign_in(&self, name: &str, from: IpAddr) -> Result<(i64, HeaderValue), AppError> {
        let name = model::user_name(name)?;
        self.allow_sign_in(from).await?;
        let user = self.db.user_named(&name, self.ids.next(), self.clock.now_ms()).await?;
        let value = self.sessions.begin(user, &name).await?;
        Ok((user, set_cookie(&value, LIFE_MS / 1_000)?))
    }

    /// Ends a session and its open connections.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn sign_out(&self, session: &Session) -> Result<(), AppError> {
        self.sessions.end(session).await?;
        self.tell_revoked(&session.id).await;
        Ok(())
    }

    /// Ends all sessions of a user and their open connections.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn sign_out_everywhere(&self, session: &Session) -> Result<(), AppError> {
        for id in self.sessions.end_all(session.user).await? {
            self.tell_revoked(&id).await;
        }
        Ok(())
    }

    async fn tell_revoked(&self, session: &str) {
        self.hub.revoke(session);
        // Who does not hear it asks the database in a moment.
        if let Err(error) = announce_revoked(self.shards.of_key(REVOKED), session).await {
            tracing::debug!(%error, "a revocation was not announced");
        }
    }
}

/// The header that sets the cookie, or removes it with an age of 0. Scripts do not see it and other sites do not send it.
pub fn set_cookie(value: &str, age_s: i64) -> Result<HeaderValue, AppError> {
    let text = format!("{COOKIE}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={age_s}");
    HeaderValue::from_str(&text).map_err(|_| AppError::invalid("no cookie can hold this"))
}

/// The session that a request names.
pub fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies.flat_map(|text| text.split(';')).find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == COOKIE).then_some(value)
    })
}

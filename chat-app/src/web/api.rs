//! The interface in JSON. Its answers come from the cache as they are, without being read.

use std::sync::Arc;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query as UrlQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::auth::{From, User};
use super::reply::{Json, cached, quota_headers};
use crate::app::App;
use crate::error::AppError;
use crate::keys::Query;
use crate::model::{self, RoomCursor, RoomId};

type Answer = Result<Response, AppError>;
/// A part of the path, with its own error for what is not even UTF-8.
pub type Part = Result<Path<String>, PathRejection>;

/// Which page.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct PageQuery {
    /// The most messages.
    limit: Option<String>,
    /// Only messages before this id.
    before: Option<String>,
    /// Only changes after this id.
    after: Option<String>,
}

/// The query of a URL.
pub type PageParameters = Result<UrlQuery<PageQuery>, QueryRejection>;

/// A page of messages.
pub async fn messages(State(app): State<Arc<App>>, _: User, room: Part, query: PageParameters) -> Answer {
    let (room, limit, before) = page(room, query)?;
    Ok(cached(app.read(&Query::Messages { room, limit, before }).await?))
}

/// A page with reactions and members.
pub async fn room_page(State(app): State<Arc<App>>, _: User, room: Part, query: PageParameters) -> Answer {
    let (room, limit, before) = page(room, query)?;
    Ok(cached(app.read(&Query::RoomPage { room, limit, before }).await?))
}

/// What has changed in a room after an id, for readers who were away.
pub async fn changes(State(app): State<Arc<App>>, _: User, room: Part, query: PageParameters) -> Answer {
    let room = RoomId::new(&part(room)?)?;
    let UrlQuery(query) = query.map_err(|error| AppError::Invalid(error.body_text()))?;
    let after = number("after", query.after.as_deref())?.unwrap_or(0);
    let messages = app.changes(&room, after, model::PAGE_LIMIT).await?;
    Ok(axum::Json(json!({ "messages": messages })).into_response())
}

/// Which page of the list of rooms.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct RoomsQuery {
    /// Only rooms after this place.
    after: Option<String>,
    /// The room that somebody named and wants to go to.
    pub room: Option<String>,
}

impl RoomsQuery {
    /// The page.
    ///
    /// # Errors
    /// A place that is none.
    pub fn query(&self) -> Result<Query, AppError> {
        let after = self.after.as_deref().filter(|after| !after.is_empty());
        Ok(Query::Rooms { after: after.map(RoomCursor::parse).transpose()? })
    }
}

/// The query of a URL.
pub type RoomsParameters = Result<UrlQuery<RoomsQuery>, QueryRejection>;

/// A page of the list of rooms.
pub async fn rooms(State(app): State<Arc<App>>, _: User, query: RoomsParameters) -> Answer {
    let UrlQuery(query) = query.map_err(|error| AppError::Invalid(error.body_text()))?;
    Ok(cached(app.read(&query.query()?).await?))
}

/// A user's public side.
pub async fn profile(State(app): State<Arc<App>>, _: User, id: Part) -> Answer {
    let user = id_of(id)?;
    Ok(cached(app.read(&Query::Profile { user }).await?))
}

/// A new room.
#[derive(Debug, Deserialize)]
pub struct NewRoom {
    /// Its name.
    pub name: String,
    /// What it is about.
    pub title: String,
}

/// Makes a room.
pub async fn create_room(State(app): State<Arc<App>>, user: User, Json(new): Json<NewRoom>) -> Answer {
    let room = app.create_room(&user.0, &new.name, &new.title).await?;
    Ok((StatusCode::CREATED, axum::Json(json!({ "id": room }))).into_response())
}

/// A text.
#[derive(Debug, Deserialize)]
pub struct Text {
    /// It.
    pub body: String,
}

/// Says something.
pub async fn post_message(State(app): State<Arc<App>>, user: User, room: Part, Json(text): Json<Text>) -> Answer {
    let room = RoomId::new(&part(room)?)?;
    let (message, quota) = app.post(&user.0, &room, &text.body).await?;
    let mut response = (StatusCode::CREATED, axum::Json(message)).into_response();
    if let Some(quota) = quota {
        quota_headers(response.headers_mut(), &quota);
    }
    Ok(response)
}

/// Replaces the text of one's own message.
pub async fn edit(State(app): State<Arc<App>>, user: User, id: Part, Json(text): Json<Text>) -> Answer {
    let message = app.edit(&user.0, id_of(id)?, &text.body).await?;
    Ok(axum::Json(message).into_response())
}

/// Takes back one's own message.
pub async fn delete(State(app): State<Arc<App>>, user: User, id: Part) -> Answer {
    let message = app.delete(&user.0, id_of(id)?).await?;
    Ok(axum::Json(message).into_response())
}

/// A reaction.
#[derive(Debug, Deserialize)]
pub struct NewReaction {
    /// One of [`model::EMOJIS`].
    emoji: String,
    /// Whether it is taken back.
    #[serde(default)]
    remove: bool,
}

/// Adds or takes back a reaction.
pub async fn react(State(app): State<Arc<App>>, user: User, id: Part, Json(new): Json<NewReaction>) -> Answer {
    app.react(&user.0, id_of(id)?, &new.emoji, !new.remove).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// A name.
#[derive(Debug, Deserialize)]
pub struct Name {
    /// It.
    pub name: String,
}

/// Signs in by name.
pub async fn sign_in(State(app): State<Arc<App>>, from: From, Json(name): Json<Name>) -> Answer {
    let (user, cookie) = app.sign_in(&name.name, from.0.ip()).await?;
    let body = axum::Json(json!({ "user": user.to_string() }));
    Ok(([(header::SET_COOKIE, cookie)], body).into_response())
}

/// Ends all sessions of whoever asks for it.
pub async fn sign_out_everywhere(State(app): State<Arc<App>>, user: User) -> Answer {
    app.sign_out_everywhere(&user.0).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// A part of the path.
///
/// # Errors
/// One that is not valid UTF-8.
pub fn part(part: Part) -> Result<String, AppError> {
    part.map(|Path(text)| text).map_err(|error| AppError::Invalid(error.body_text()))
}

/// The room, the size and the end of a page.
///
/// # Errors
/// What breaks a rule.
pub fn page(room: Part, query: PageParameters) -> Result<(RoomId, i64, Option<i64>), AppError> {
    let room = RoomId::new(&part(room)?)?;
    let UrlQuery(query) = query.map_err(|error| AppError::Invalid(error.body_text()))?;
    let limit = model::page_limit(number("limit", query.limit.as_deref())?)?;
    let before = number("before", query.before.as_deref())?;
    if before.is_some_and(|before| before < 0) {
        return Err(AppError::invalid("before is the id of a message"));
    }
    Ok((room, limit, before))
}

/// The id in a path.
///
/// # Errors
/// What is none.
pub fn id_of(id: Part) -> Result<i64, AppError> {
    number("the id", Some(&part(id)?))?.filter(|id| *id > 0).ok_or_else(|| AppError::invalid("the id is no id"))
}

fn number(name: &str, text: Option<&str>) -> Result<Option<i64>, AppError> {
    match text {
        None | Some("") => Ok(None),
        Some(text) => {
            text.parse().map(Some).map_err(|_| AppError::Invalid(format!("{name} is not a number, or one too large")))
        }
    }
}

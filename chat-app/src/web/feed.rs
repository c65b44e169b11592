//! The feed, as JSON and as a page.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use maud::html;
use serde::Deserialize;
use serde_json::json;

use super::api::{Part, Text, id_of};
use super::auth::User;
use super::pages::{layout, time_text, with_layer};
use super::reply::{Form, Json, X_CACHE};
use crate::app::App;
use crate::cache::layers::Served;
use crate::error::AppError;
use crate::feed::{Item, Post};
use crate::ids;
use crate::keys::Query;
use crate::model::{self, BODY_CHARS, Profile};
use crate::session::Session;

type Answer = Result<Response, AppError>;

impl App {
    /// Publishes a post.
    ///
    /// # Errors
    /// A text that breaks a rule, a user who has sent too much.
    pub async fn publish(&self, who: &Session, text: &str, promoted: bool) -> Result<Post, AppError> {
        let body = model::body(text)?;
        self.allow(who.user).await?;
        let post = Post { id: self.ids.next(), author: who.user, name: who.name.clone(), body };
        self.feeds.publish(&post, promoted).await?;
        Ok(post)
    }

    /// Follows somebody, or no longer does.
    ///
    /// # Errors
    /// Oneself, and who does not exist.
    pub async fn follow(&self, who: &Session, followee: i64, begins: bool) -> Result<(), AppError> {
        if who.user == followee {
            return Err(AppError::invalid("nobody follows themselves"));
        }
        self.read(&Query::Profile { user: followee }).await?;
        self.feeds.follow(who.user, followee, begins).await
    }
}

/// One's feed.
pub async fn feed(State(app): State<Arc<App>>, user: User) -> Answer {
    let (items, layer) = app.feeds.read(user.0.user).await?;
    Ok(([(X_CACHE, layer.name())], axum::Json(json!({ "posts": items }))).into_response())
}

/// A new post.
#[derive(Debug, Deserialize)]
pub struct NewPost {
    body: String,
    #[serde(default)]
    promoted: bool,
}

/// Publishes a post.
pub async fn publish(State(app): State<Arc<App>>, user: User, Json(new): Json<NewPost>) -> Answer {
    let post = app.publish(&user.0, &new.body, new.promoted).await?;
    Ok((StatusCode::CREATED, axum::Json(post)).into_response())
}

/// Takes back one's own post.
pub async fn delete(State(app): State<Arc<App>>, user: User, id: Part) -> Answer {
    app.feeds.delete(id_of(id)?, user.0.user, app.ids.next()).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Likes a post.
pub async fn like(State(app): State<Arc<App>>, user: User, id: Part) -> Answer {
    app.feeds.like(id_of(id)?, user.0.user).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Follows somebody.
pub async fn follow(State(app): State<Arc<App>>, user: User, id: Part) -> Answer {
    app.follow(&user.0, id_of(id)?, true).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Follows somebody no longer.
pub async fn unfollow(State(app): State<Arc<App>>, user: User, id: Part) -> Answer {
    app.follow(&user.0, id_of(id)?, false).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The feed as a page.
pub async fn page(State(app): State<Arc<App>>, user: User) -> Answer {
    let (items, layer) = app.feeds.read(user.0.user).await?;
    let body = html! {
        h1 { "Feed" }
        form.say method="post" action="/feed" {
            label for="body" { "Your post" }
            textarea #body name="body" rows="2" required maxlength=(BODY_CHARS) {}
            button { "Post" }
        }
        @if items.is_empty() { p { "Nothing yet: follow somebody, or post something." } }
        ol.messages.feed { @for item in &items { (item_of(item)) } }
    };
    Ok(with_layer(layout("Feed", Some(&user.0), &body), &Served { body: None, layer }))
}

fn item_of(item: &Item) -> maud::Markup {
    let ms = ids::time_of(item.post.id);
    html! {
        li.message data-id=(item.post.id) {
            a.name href={ "/users/" (item.post.author) } { (item.post.name) } " "
            time data-ms=(ms) { (time_text(ms)) }
            @if item.why != "followed" { small.why { " " (item.why) } }
            p.text { (item.post.body) }
        }
    }
}

/// Publishes a post without a script.
pub async fn publish_form(State(app): State<Arc<App>>, user: User, Form(text): Form<Text>) -> Answer {
    app.publish(&user.0, &text.body, false).await?;
    Ok(Redirect::to("/feed").into_response())
}

/// A user's public side, with a button to follow.
pub async fn user_page(State(app): State<Arc<App>>, user: User, id: Part) -> Answer {
    let id = id_of(id)?;
    let (profile, served): (Profile, Served) = app.read_as(&Query::Profile { user: id }).await?;
    let body = html! {
        h1 { (profile.name) }
        p { (profile.followers) " followers, follows " (profile.following) "." }
        @if id != user.0.user {
            form method="post" action={ "/users/" (id) "/follow" } {
                button name="begins" value="true" { "Follow" } " "
                button name="begins" value="false" { "Unfollow" }
            }
        }
    };
    Ok(with_layer(layout(&profile.name, Some(&user.0), &body), &served))
}

/// Which of the two buttons.
#[derive(Debug, Deserialize)]
pub struct Begins {
    begins: bool,
}

/// Follows or unfollows without a script.
pub async fn follow_form(State(app): State<Arc<App>>, user: User, id: Part, Form(begins): Form<Begins>) -> Answer {
    let id = id_of(id)?;
    app.follow(&user.0, id, begins.begins).await?;
    Ok(Redirect::to(&format!("/users/{id}")).into_response())
}

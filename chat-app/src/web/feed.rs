//! The feed, as JSON and as a page.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::json;

use super::api::{Part, Text, id_of};
use super::auth::User;
use super::pages::{layout, time_text, with_layer};
use super::reply::{Form, Json, X_CACHE};
use crate::app::App;
use crate::cache::layers::Served;
use crate::error::AppError;
use crate::feed::Post;
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
    pub async fn publish(&self, who: &Session, text: &str) -> Result<Post, AppError> {
        let body = model::body(text)?;
        self.allow(who.user).await?;
        let post = Post { id: self.ids.next(), author: who.user, name: who.name.clone(), body };
        self.feeds.publish(&post).await?;
        Ok(post)
    }

    /// Follows somebody, or no longer does.
    ///
    /// # Errors
    /// Oneself, who does not exist, a user who has made too many changes.
    pub async fn follow(&self, who: &Session, followee: i64, begins: bool) -> Result<(), AppError> {
        if who.user == followee {
            return Err(AppError::invalid("nobody follows themselves"));
        }
        self.allow_write(who.user).await?;
        self.read(&Query::Profile { user: followee }).await?;
        self.feeds.follow(who.user, followee, begins).await
    }

    /// Likes a post.
    ///
    /// # Errors
    /// A post that does not exist, a user who has made too many changes.
    pub async fn like(&self, who: &Session, post: i64) -> Result<(), AppError> {
        self.allow_write(who.user).await?;
        self.feeds.like(post, who.user).await
    }

    /// Takes back one's own post.
    ///
    /// # Errors
    /// A post that does not exist or is somebody else's, a user who has made too many changes.
    pub async fn unpublish(&self, who: &Session, post: i64) -> Result<(), AppError> {
        self.allow_write(who.user).await?;
        self.feeds.delete(post, who.user, self.ids.next()).await
    }
}

/// One's feed.
pub async fn feed(State(app): State<Arc<App>>, user: User) -> Answer {
    let (items, layer) = app.feeds.read(user.0.user).await?;
    Ok(([(X_CACHE, layer.name())], axum::Json(json!({ "posts": items }))).into_response())
}

/// A new post. Only the operator promotes one (`chat-app promote`), so whoever asks for it here is told.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewPost {
    body: String,
}

/// Publishes a post.
pub async fn publish(State(app): State<Arc<App>>, user: User, Json(new): Json<NewPost>) -> Answer {
    let post = app.publish(&user.0, &new.body).await?;
    Ok((StatusCode::CREATED, axum::Json(post)).into_response())
}

/// Takes back one's own post.
pub async fn delete(State(app): State<Arc<App>>, user: User, id: Part) -> Answer {
    app.unpublish(&user.0, id_of(id)?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Likes a post.
pub async fn like(State(app): State<Arc<App>>, user: User, id: Part) -> Answer {
    app.like(&user.0, id_of(id)?).await?;
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
        @if items.is_empty() { p { "Nothing yet: follow somebody (in rooms, names lead to people), or post something." } }
        ol.messages.feed { @for item in &items { (post_item(&item.post, &item.why, &user.0, None)) } }
    };
    Ok(with_layer(layout("Feed", Some(&user.0), &body), &Served { body: None, layer }))
}

/// A post with its buttons; `page_of` is the user on whose page it is.
fn post_item(post: &Post, why: &str, who: &Session, page_of: Option<i64>) -> Markup {
    let ms = ids::time_of(post.id);
    let button = |what: &str, label: &str| {
        html! {
            form method="post" action={ "/posts/" (post.id) "/" (what) } {
                @if let Some(user) = page_of { input type="hidden" name="page_of" value=(user); }
                button aria-label={ (label) " the post of " (post.name) } { (label) }
            }
        }
    };
    html! {
        li.message data-id=(post.id) {
            a.name href={ "/users/" (post.author) } { (post.name) } " "
            time data-ms=(ms) { (time_text(ms)) }
            @if why != "followed" { small.why { " " (why) } }
            p.text { (post.body) }
            div.actions {
                @if post.author == who.user { (button("delete", "Delete")) } @else { (button("like", "Like")) }
            }
        }
    }
}

/// Which page a button was on.
#[derive(Debug, Deserialize)]
pub struct PageOf {
    page_of: Option<i64>,
}

impl PageOf {
    fn again(&self) -> Response {
        let page = self.page_of.map_or_else(|| "/feed".to_owned(), |user| format!("/users/{user}"));
        Redirect::to(&page).into_response()
    }
}

/// Likes a post without a script.
pub async fn like_form(State(app): State<Arc<App>>, user: User, id: Part, Form(from): Form<PageOf>) -> Answer {
    app.like(&user.0, id_of(id)?).await?;
    Ok(from.again())
}

/// Takes back one's own post without a script.
pub async fn delete_form(State(app): State<Arc<App>>, user: User, id: Part, Form(from): Form<PageOf>) -> Answer {
    app.unpublish(&user.0, id_of(id)?).await?;
    Ok(from.again())
}

/// Publishes a post without a script.
pub async fn publish_form(State(app): State<Arc<App>>, user: User, Form(text): Form<Text>) -> Answer {
    app.publish(&user.0, &text.body).await?;
    Ok(Redirect::to("/feed").into_response())
}

/// A user's public side with the newest posts, and a button to follow or no longer to.
pub async fn user_page(State(app): State<Arc<App>>, user: User, id: Part) -> Answer {
    let id = id_of(id)?;
    let (profile, served): (Profile, Served) = app.read_as(&Query::Profile { user: id }).await?;
    let is_followed = app.db.is_following(user.0.user, id).await?;
    let posts = app.feeds.of_author(id).await?;
    let body = html! {
        h1 { (profile.name) }
        p { (profile.followers) " followers, follows " (profile.following) "." }
        @if id != user.0.user {
            form method="post" action={ "/users/" (id) "/follow" } {
                @if is_followed {
                    p { "You follow " (profile.name) ". " button name="begins" value="false" { "Unfollow" } }
                } @else {
                    button name="begins" value="true" { "Follow" }
                }
            }
        }
        h2 { "Posts" }
        @if posts.is_empty() { p { "None yet." } }
        ol.messages.feed { @for post in &posts { (post_item(post, "followed", &user.0, Some(id))) } }
    };
    Ok(with_layer(layout(&profile.name, Some(&user.0), &body), &served))
}

/// What the button does.
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

//! The pages, rendered here; they work without a script, except that messages of others then come with the next load.
//! maud escapes whatever is put into them.

use std::sync::Arc;

use axum::extract::{Query as UrlQuery, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{DOCTYPE, Markup, html};

use super::api::{self, Name, NewRoom, PageParameters, Part, RoomsParameters, Text};
use super::auth::{From, User, set_cookie};
use super::reply::{Form, X_CACHE};
use crate::app::App;
use crate::cache::layers::Served;
use crate::error::AppError;
use crate::ids;
use crate::keys::Query;
use crate::model::{BODY_CHARS, EMOJIS, Message, NAME_CHARS, PAGE_DEFAULT, Reactions, RoomId, RoomList, RoomPage};
use crate::session::Session;

type Answer = Result<Response, AppError>;

/// Sends those who are signed in to the rooms, and asks the others for their name.
pub async fn start(user: Result<User, AppError>) -> Response {
    match user {
        Ok(_) => Redirect::to("/rooms").into_response(),
        Err(_) => layout("Sign in", None, &sign_in_form(None)).into_response(),
    }
}

/// Signs in.
pub async fn sign_in(State(app): State<Arc<App>>, from: From, Form(name): Form<Name>) -> Answer {
    let (_, cookie) = app.sign_in(&name.name, from.0.ip()).await?;
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to("/rooms")).into_response())
}

/// Signs out.
pub async fn sign_out(State(app): State<Arc<App>>, user: User) -> Answer {
    app.sign_out(&user.0).await?;
    Ok(([(header::SET_COOKIE, set_cookie("", 0)?)], Redirect::to("/")).into_response())
}

/// A page of the list of rooms, or the room that was asked for by its name.
pub async fn rooms(State(app): State<Arc<App>>, user: User, query: RoomsParameters) -> Answer {
    let UrlQuery(query) = query.map_err(|error| AppError::Invalid(error.body_text()))?;
    if let Some(room) = query.room {
        return Ok(Redirect::to(&format!("/rooms/{}", RoomId::new(room.trim())?)).into_response());
    }
    let query = query.query()?;
    let is_first = query == Query::Rooms { after: None };
    let (list, served): (RoomList, Served) = app.read_as(&query).await?;
    let body = html! {
        h1 { "Rooms" }
        ul.rooms {
            @for room in &list.rooms {
                li { a href={ "/rooms/" (room.id) } { strong { (room.id) } " " span { (room.title) } } }
            }
        }
        nav.history aria-label="More of the list" {
            @if !is_first { a rel="first" href="/rooms" { "The first rooms" } }
            @if let Some(next) = &list.next { a rel="next" href={ "/rooms?after=" (next) } { "More rooms" } }
        }
        form.stack method="get" action="/rooms" {
            h2 { "Another room" }
            label { "Its name " small { "the list begins with those in which something was said last" }
                input name="room" required pattern="[a-z0-9\\-]{1,64}" maxlength="64"; }
            button { "Go there" }
        }
        form.stack method="post" action="/rooms" {
            h2 { "A new room" }
            label { "Name " small { "a-z, 0-9 and -" } input name="name" required pattern="[a-z0-9\\-]{1,64}" maxlength="64"; }
            label { "What is it about? " input name="title" required maxlength=(NAME_CHARS); }
            button { "Make it" }
        }
    };
    Ok(with_layer(layout("Rooms", Some(&user.0), &body), &served))
}

/// Makes a room.
pub async fn create_room(State(app): State<Arc<App>>, user: User, Form(new): Form<NewRoom>) -> Answer {
    let room = app.create_room(&user.0, &new.name, &new.title).await?;
    Ok(Redirect::to(&format!("/rooms/{room}")).into_response())
}

/// A room: a page of its messages, and who was active.
pub async fn room(State(app): State<Arc<App>>, user: User, room: Part, query: PageParameters) -> Answer {
    let (room, limit, before) = api::page(room, query)?;
    let query = Query::RoomPage { room: room.clone(), limit, before };
    let (page, served): (RoomPage, Served) = app.read_as(&query).await?;
    let body = room_body(&room, &page, limit, before, &user.0);
    Ok(with_layer(layout(room.as_str(), Some(&user.0), &body), &served))
}

/// Says something without a script.
pub async fn post_message(State(app): State<Arc<App>>, user: User, room: Part, Form(text): Form<Text>) -> Answer {
    let room = RoomId::new(&api::part(room)?)?;
    app.post(&user.0, &room, &text.body).await?;
    Ok(Redirect::to(&format!("/rooms/{room}")).into_response())
}

/// An error as a page, with the status and the headers of `response`.
pub fn error(error: &AppError, response: Response) -> Response {
    let (mut parts, _) = response.into_parts();
    let body = match error {
        AppError::SignedOut => sign_in_form(Some("Sign in first.")),
        _ => html! {
            h1 { "That did not work" }
            p role="alert" { (error) "." }
            p { a href="/rooms" { "To the rooms" } }
        },
    };
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.remove(header::CONTENT_TYPE);
    let mut page = layout("Error", None, &body).into_response();
    *page.status_mut() = parts.status;
    let kept: HeaderMap = parts.headers;
    page.headers_mut().extend(kept);
    page
}

fn room_body(room: &RoomId, page: &RoomPage, limit: i64, before: Option<i64>, who: &Session) -> Markup {
    let oldest = page.messages.first().map(|message| message.id);
    let is_full = i64::try_from(page.messages.len()).unwrap_or(0) == limit;
    let latest = page.messages.iter().map(|message| message.changed).max().unwrap_or(0);
    html! {
        div.room {
            section.talk aria-labelledby="room-name" {
                h1 #room-name { (room) }
                // Past all that can be done with fifty messages.
                a.skip href="#body" { "Skip to your message" }
                nav.history aria-label="History" {
                    @if let (Some(oldest), true) = (oldest, is_full) {
                        a rel="prev" href={ "/rooms/" (room) "?limit=" (limit) "&before=" (oldest) } { "Older messages" }
                    }
                    @if before.is_some() { a rel="next" href={ "/rooms/" (room) } { "Newest messages" } }
                }
                ol.messages #messages aria-live="polite" aria-label="Messages" data-room=(room) data-user=(who.user)
                    data-after=(latest) data-live=(before.is_none()) {
                    @for message in &page.messages { (message_item(message, &page.reactions, who)) }
                }
                p #state role="status" {}
                form.say #say method="post" action={ "/rooms/" (room) "/messages" } {
                    label for="body" { "Your message" }
                    textarea #body name="body" rows="2" required maxlength=(BODY_CHARS) {}
                    button { "Send" }
                }
            }
            aside aria-labelledby="active" {
                h2 #active { "Active this week" }
                ol.members {
                    @for member in &page.members { li { (member.name) " " small { (member.count) } } }
                }
            }
        }
        script src="/assets/room.js" defer {}
    }
}

fn message_item(message: &Message, reactions: &[Reactions], who: &Session) -> Markup {
    let reactions: Vec<&Reactions> = reactions.iter().filter(|one| one.message == message.id).collect();
    html! {
        li.message data-id=(message.id) data-changed=(message.changed) {
            a.name href={ "/users/" (message.author) } { (message.name) } " "
            time data-ms=(ids::time_of(message.id)) { (time_text(ids::time_of(message.id))) }
            @if message.edited_ms > 0 { small.edited { " edited" } }
            @if message.deleted { p.text.gone { "This message was deleted." } } @else { p.text { (message.body) } }
            @if !reactions.is_empty() {
                p.reactions { @for one in reactions { span { (one.emoji) " " (one.count) " " } } }
            }
            @if !message.deleted {
                div.actions hidden {
                    @for emoji in EMOJIS { button type="button" data-emoji=(emoji) aria-label={ "React with " (emoji) } { (emoji) } }
                    @if message.author == who.user {
                        button type="button" data-edit { "Edit" }
                        button type="button" data-delete { "Delete" }
                    }
                }
            }
        }
    }
}

fn sign_in_form(note: Option<&str>) -> Markup {
    html! {
        h1 { "Welcome" }
        @if let Some(note) = note { p role="alert" { (note) } }
        form.stack method="post" action="/sign-in" {
            label { "Your name" input name="name" required maxlength=(NAME_CHARS) autocomplete="username" autofocus; }
            button { "Sign in" }
        }
        p { "A chat that shows what a cache does. Any name will do; there are " (PAGE_DEFAULT) " messages on a page." }
    }
}

/// What is around every page.
pub fn layout(title: &str, who: Option<&Session>, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · chat-app" }
                link rel="icon" href="/assets/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/assets/style.css";
                script src="/assets/times.js" defer {}
            }
            body {
                a.skip href="#main" { "Skip to content" }
                header {
                    nav aria-label="Main" { a href="/rooms" { "Rooms" } a href="/feed" { "Feed" } a href="/dashboard" { "Dashboard" } }
                    @if let Some(who) = who {
                        form method="post" action="/sign-out" { span.me { (who.name) } " " button { "Sign out" } }
                    }
                }
                main #main { (body) }
            }
        }
    }
}

/// A page and where what it shows came from.
pub fn with_layer(page: Markup, served: &Served) -> Response {
    ([(X_CACHE, served.layer.name())], page).into_response()
}

/// Date and time in UTC; the script shows the reader's own time.
pub fn time_text(ms: i64) -> String {
    let (days, minutes) = (ms.div_euclid(86_400_000), ms.div_euclid(60_000));
    let (year, month, day) = date(days);
    let (hour, minute) = (minutes.div_euclid(60).rem_euclid(24), minutes.rem_euclid(60));
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02} UTC")
}

/// Year, month and day of a number of days since 1970. Years are taken to begin in March, so that the leap day is their last
/// (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn date(days: i64) -> (i64, i64, i64) {
    let since = days + 719_468;
    let (era, of_era) = (since.div_euclid(146_097), since.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::time_text;

    #[test]
    fn times_have_their_date() {
        for (ms, text) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_340_000, "2000-02-28 23:59 UTC"),
            (951_782_400_000, "2000-02-29 00:00 UTC"),
            (1_709_251_199_999, "2024-02-29 23:59 UTC"),
            (1_767_225_600_000, "2026-01-01 00:00 UTC"),
            (-60_000, "1969-12-31 23:59 UTC"),
        ] {
            assert_eq!(time_text(ms), text);
        }
    }
}

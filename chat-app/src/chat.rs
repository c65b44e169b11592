//! What users do in rooms: the rules, then the strategy. Pages and interfaces call this and nothing below it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::app::App;
use crate::cache::layers::Served;
use crate::error::AppError;
use crate::keys::{Group, Query};
use crate::limit::{self, Decision, Limiter, Quota};
use crate::model::{self, EMOJIS, Message, RoomId};
use crate::options::DownName;
use crate::session::Session;

impl App {
    /// The answer to a query.
    ///
    /// # Errors
    /// What does not exist, and a database that does not answer.
    pub async fn read(&self, query: &Query) -> Result<(Arc<[u8]>, Served), AppError> {
        let served = self.strategy.read(query).await?;
        match &served.body {
            Some(body) => Ok((body.clone(), served)),
            None => Err(AppError::NotFound("there is no such room or user".into())),
        }
    }

    /// The same as a value.
    ///
    /// # Errors
    /// As [`App::read`].
    pub async fn read_as<T: DeserializeOwned>(&self, query: &Query) -> Result<(T, Served), AppError> {
        let (body, served) = self.read(query).await?;
        let value = serde_json::from_slice(&body).map_err(|error| AppError::Unavailable(error.to_string()))?;
        Ok((value, served))
    }

    /// Counts a message or post of a user; tells what is left.
    ///
    /// # Errors
    /// A user who has sent too much; with `--limiter-down closed`, limits that cannot be counted.
    pub async fn allow(&self, user: i64) -> Result<Option<Quota>, AppError> {
        self.count(&*self.limiter, user).await
    }

    /// Counts another change of a user.
    ///
    /// # Errors
    /// As [`App::allow`].
    pub async fn allow_write(&self, user: i64) -> Result<(), AppError> {
        self.count(&*self.write_limiter, user).await.map(drop)
    }

    /// Counts a sign-in.
    ///
    /// # Errors
    /// As [`App::allow`].
    pub async fn allow_sign_in(&self, from: IpAddr) -> Result<(), AppError> {
        if self.options.sign_in_limit == 0 {
            return Ok(());
        }
        self.count(&*self.sign_in_limiter, limit::number_of(from)).await.map(drop)
    }

    async fn count(&self, limiter: &dyn Limiter, who: i64) -> Result<Option<Quota>, AppError> {
        match limiter.check(who).await {
            Ok(Decision::Allowed(quota)) => Ok(Some(quota)),
            Ok(Decision::Refused(refusal)) => {
                self.metrics.limited.add(1);
                Err(AppError::Limited(refusal))
            }
            Err(error) if self.options.limiter_down == DownName::Open => {
                tracing::debug!(%error, "a request was not counted");
                Ok(None)
            }
            Err(_) => Err(AppError::Unavailable("requests cannot be counted at the moment".into())),
        }
    }

    /// Says something in a room.
    ///
    /// # Errors
    /// A text that breaks a rule, a room that does not exist, a user who has sent too much.
    pub async fn post(&self, who: &Session, room: &RoomId, text: &str) -> Result<(Message, Option<Quota>), AppError> {
        let body = model::body(text)?;
        self.ensure_room(room).await?;
        let quota = self.allow(who.user).await?;
        let id = self.ids.next();
        let message = Message {
            id,
            room: room.clone(),
            author: who.user,
            name: who.name.clone(),
            body,
            edited_ms: 0,
            deleted: false,
            changed: id,
            reactions: None,
        };
        self.strategy.post(&message, &self.event(&message)).await?;
        self.metrics.messages.add(1);
        self.metrics.database_writes.add(1);
        self.room_order.note();
        self.hub.tell(&message);
        Ok((message, quota))
    }

    /// Replaces the text of one's own message.
    ///
    /// # Errors
    /// A text that breaks a rule; a message that does not exist, or is somebody else's; a user who has made too many changes.
    pub async fn edit(&self, who: &Session, id: i64, text: &str) -> Result<Message, AppError> {
        let body = model::body(text)?;
        self.allow_write(who.user).await?;
        let mut message = self.own_message(who, id).await?;
        message.changed = self.ids.next();
        message.edited_ms = self.clock.now_ms();
        message.body = body;
        if !self.db.edit_message(id, who.user, &message.body, message.edited_ms, message.changed).await? {
            return Err(no_message());
        }
        self.announce(&message).await;
        Ok(message)
    }

    /// Takes back one's own message.
    ///
    /// # Errors
    /// A message that does not exist, or is somebody else's; a user who has made too many changes.
    pub async fn delete(&self, who: &Session, id: i64) -> Result<Message, AppError> {
        self.allow_write(who.user).await?;
        let mut message = self.own_message(who, id).await?;
        message.changed = self.ids.next();
        message.deleted = true;
        message.body.clear();
        if !self.db.delete_message(id, who.user, message.changed).await? {
            return Err(no_message());
        }
        self.announce(&message).await;
        Ok(message)
    }

    /// Adds a reaction to a message, or takes it back.
    ///
    /// # Errors
    /// A reaction or a message that does not exist, a user who has made too many changes.
    pub async fn react(&self, who: &Session, id: i64, emoji: &str, adds: bool) -> Result<(), AppError> {
        if !EMOJIS.contains(&emoji) {
            return Err(AppError::invalid("there is no such reaction"));
        }
        self.allow_write(who.user).await?;
        let mut message = self.find_message(id).await?;
        message.changed = self.ids.next();
        self.db.react(&message, emoji, who.user, adds).await?;
        self.db.add_reactions(std::slice::from_mut(&mut message)).await?;
        self.announce(&message).await;
        Ok(())
    }

    /// Messages of a room that were written or changed after `changed`, queued ones among them, in the order of their
    /// changes: the last `limit` of them.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn changes(&self, room: &RoomId, changed: i64, limit: i64) -> Result<Vec<Message>, AppError> {
        // First the queue: what leaves it meanwhile is in the database by then.
        let queued = self.strategy.queued(room, limit).await;
        let mut stored = self.db.changes_in_room(room, changed, limit).await?;
        self.db.add_reactions(&mut stored).await?;
        let mut all: BTreeMap<i64, Message> =
            queued.into_iter().filter(|one| one.changed > changed).map(|one| (one.id, one)).collect();
        all.extend(stored.into_iter().map(|one| (one.id, one)));
        let mut all: Vec<Message> = all.into_values().collect();
        all.sort_by_key(|message| message.changed);
        let surplus = all.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
        Ok(all.split_off(surplus))
    }

    /// Makes a room.
    ///
    /// # Errors
    /// A name or a title that breaks a rule, a room that exists, a user who has made too many changes.
    pub async fn create_room(&self, who: &Session, name: &str, title: &str) -> Result<RoomId, AppError> {
        let room = RoomId::new(name)?;
        let title = model::user_name(title).map_err(|_| AppError::invalid("a title has 1 to 32 characters"))?;
        self.allow_write(who.user).await?;
        if !self.db.create_room(&room, &title, self.clock.now_ms()).await? {
            return Err(AppError::invalid("there is such a room already"));
        }
        self.metrics.database_writes.add(1);
        // That the room does not exist may be remembered.
        self.strategy.changed(&Group::Room(room.clone()), None).await;
        self.strategy.changed(&Group::Rooms, None).await;
        self.strategy.changed(&Group::RoomList, None).await;
        Ok(room)
    }

    /// A room that does not exist is refused; the cache knows most that do.
    async fn ensure_room(&self, room: &RoomId) -> Result<(), AppError> {
        self.read(&Query::Room { room: room.clone() }).await.map(drop)
    }

    async fn find_message(&self, id: i64) -> Result<Message, AppError> {
        let found = match self.db.message(id).await? {
            Some(message) => Some(message),
            None => {
                // It may still be on its way.
                self.strategy.settle().await;
                self.db.message(id).await?
            }
        };
        found.filter(|message| !message.deleted).ok_or_else(no_message)
    }

    async fn own_message(&self, who: &Session, id: i64) -> Result<Message, AppError> {
        let message = self.find_message(id).await?;
        if message.author != who.user {
            return Err(AppError::Forbidden("it is somebody else's message".into()));
        }
        Ok(message)
    }

    async fn announce(&self, message: &Message) {
        self.metrics.database_writes.add(1);
        self.strategy.changed(&Group::Room(message.room.clone()), Some(&self.event(message))).await;
        self.hub.tell(message);
    }
}

fn no_message() -> AppError {
    AppError::NotFound("there is no such message".into())
}

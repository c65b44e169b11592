//! Warming: popular pages are put into the cache before anybody asks, so that a fresh start does not send everybody to the
//! database at once.

use std::sync::Arc;

use super::Strategy;
use crate::db::Db;
use crate::db::seed::Progress;
use crate::error::AppError;
use crate::keys::Query;
use crate::model::PAGE_DEFAULT;

/// Reads the pages of the most popular rooms and the list of rooms; how many pages there were.
///
/// # Errors
/// A database that does not answer.
pub async fn warm(strategy: &Arc<dyn Strategy>, db: &Db, rooms: usize) -> Result<usize, AppError> {
    if rooms == 0 {
        return Ok(0);
    }
    let popular = db.popular_rooms(rooms).await?;
    strategy.read(&Query::Rooms { after: None }).await?;
    let mut progress = Progress::new("warming rooms", popular.len());
    for (index, room) in popular.iter().enumerate() {
        strategy.read(&Query::Messages { room: room.clone(), limit: PAGE_DEFAULT, before: None }).await?;
        strategy.read(&Query::RoomPage { room: room.clone(), limit: PAGE_DEFAULT, before: None }).await?;
        progress.set(index + 1);
    }
    Ok(popular.len() * 2 + 1)
}

//! The list of rooms begins with those in which something was said last, so each message may change its order. Making the
//! list stale with each would cost a busy chat its cache; leaving it would show an order of ten minutes ago. So each server
//! makes it stale once in a while, if it has taken a message since: the list is never much older than that, and the database
//! sorts it at most so often.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::keys::Group;
use crate::strategy::Strategy;

/// Whether this server took a message since it made the list stale last.
#[derive(Debug, Default)]
pub struct RoomOrder {
    is_old: AtomicBool,
}

impl RoomOrder {
    /// A message was written.
    pub fn note(&self) {
        self.is_old.store(true, Ordering::Release);
    }

    /// Makes the list stale after messages, at most once in this time, forever.
    pub async fn follow(self: Arc<Self>, strategy: Arc<dyn Strategy>, every: Duration) {
        loop {
            tokio::time::sleep(every).await;
            if self.is_old.swap(false, Ordering::AcqRel) {
                // The database sorts the list, and messages may still be on their way to it.
                strategy.settle().await;
                strategy.changed(&Group::RoomList, None).await;
            }
        }
    }
}

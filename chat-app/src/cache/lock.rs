//! A lock that all servers see, with which one of them refills a value for all.
//!
//! `SET lock:<name> <token> NX PX <life>`: who gets OK holds it. The life frees it when its holder dies. The token is why
//! a holder that was slower than the lock's life does not free the lock of the next one: it removes the key only while it
//! holds its own token (WATCH, GET, MULTI, DEL). A plain DEL, as one often sees it, would free anybody's.
//!
//! This guards work, not correctness: two holders at once cost a query and break nothing.
//!
//! A lock without an end is none of ours, and would be held for ever. Whoever finds one gives it an end (PEXPIRE NX, which
//! leaves alone what has one).

use std::time::Duration;

use rustis::resp::{Value, cmd};

use crate::random;
use crate::store::{Store, Unreachable};

/// A lock that is held. It ends by itself; [`Held::release`] ends it sooner.
pub struct Held {
    store: Store,
    key: String,
    token: String,
}

/// Takes a lock; `None` while somebody else holds it.
///
/// # Errors
/// Why the server that keeps locks does not answer.
pub async fn acquire(store: &Store, name: &str, life: Duration) -> Result<Option<Held>, Unreachable> {
    let (key, token) = (store.key(&format!("lock:{name}")), random::token());
    let life_ms = millis(life);
    let commands = vec![
        cmd("SET").key(&key).arg(&token).arg("NX").arg("PX").arg(life_ms).into(),
        cmd("PEXPIRE").key(&key).arg(life_ms).arg("NX").into(),
    ];
    let answers = store.pipeline(commands).await?;
    if answers.get(1) == Some(&Value::Integer(1)) {
        store.note_mended(&key, "a lock has an end, and this one had none");
    }
    match answers.into_iter().next() {
        Some(Value::Null) => Ok(None),
        Some(Value::SimpleString(_)) => Ok(Some(Held { store: store.clone(), key, token })),
        answer => Err(Unreachable::Refused(format!("SET answered {answer:?}"))),
    }
}

fn millis(life: Duration) -> u64 {
    u64::try_from(life.as_millis()).unwrap_or(u64::MAX).max(1)
}

impl Held {
    /// Frees it, if it is still ours; whether it was.
    ///
    /// # Errors
    /// Why the server does not answer; the lock ends by itself then.
    pub async fn release(self) -> Result<bool, Unreachable> {
        self.store.remove_if_equal(&self.key, &self.token).await
    }

    /// Frees it in the background: nobody who has an answer waits for that.
    pub fn release_soon(self) {
        tokio::spawn(self.release());
    }

    /// Makes it live on from now; whether it was still ours. Meant for work that goes on and on.
    ///
    /// # Errors
    /// Why the server does not answer.
    pub async fn renew(&self, life: Duration) -> Result<bool, Unreachable> {
        let found: Option<String> = self.store.call(cmd("GET").key(&self.key)).await?;
        if found.as_deref() != Some(self.token.as_str()) {
            return Ok(false);
        }
        // Between the two somebody else may have taken it, who then holds it a little longer: see the module's page.
        let renewed: i64 = self.store.call(cmd("PEXPIRE").key(&self.key).arg(millis(life))).await?;
        Ok(renewed == 1)
    }
}

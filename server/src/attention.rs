//! What keeps calls of any session from running at once, as it concerns all: somebody monitors, or clients are paused. One
//! word of the engine says whether there is any of it, so that calls look at nothing else while there is none.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use larder_protocol::Args;

use crate::client::Client;
use crate::commands::command::{ADMIN, Command, MAY_REPLICATE, SKIP_MONITOR, WRITE};
use crate::commands::table::TABLE;
use crate::engine::Engine;
use crate::observe;
use crate::session::Session;

/// Somebody monitors: every command is shown.
pub(crate) const MONITORED: u32 = 1;
/// Clients may be paused.
pub(crate) const PAUSED: u32 = 1 << 1;

impl Engine {
    /// Shows a command that has run to those who monitor.
    #[cold]
    pub(crate) fn show(&self, session: &Session, command: &Command, args: Args<'_>) {
        if command.flags & (SKIP_MONITOR | ADMIN) == 0 {
            let args = observe::shown(command, args);
            // Nothing follows the reply to QUIT.
            let except = session.closing.then_some(session.client.id);
            let now_us = self.clock().now_us();
            self.observers.monitors.show(now_us, session.db, &session.client, session.is_script, &args, except);
        }
    }

    /// Shows the call of a script to those who monitor, before what the script calls; its row says that it is not shown as
    /// others are.
    pub(crate) fn show_script(&self, session: &Session, args: Args<'_>) {
        if self.attention.load(Relaxed) & MONITORED != 0 {
            let (args, now_us): (Vec<&[u8]>, _) = (args.iter().collect(), self.clock().now_us());
            self.observers.monitors.show(now_us, session.db, &session.client, false, &args, None);
        }
    }

    /// Has a client see all commands from now on.
    pub(crate) fn monitor(&self, client: &Arc<Client>) {
        client.facts.monitors.store(true, Relaxed);
        self.observers.monitors.add(client, || {
            self.attention.fetch_or(MONITORED, Relaxed);
        });
    }

    /// Ends what [`Engine::monitor`] began.
    pub(crate) fn stop_monitoring(&self, client: &Client) {
        client.facts.monitors.store(false, Relaxed);
        self.observers.monitors.remove(client, || {
            self.attention.fetch_and(!MONITORED, Relaxed);
        });
    }

    /// Has clients wait: CLIENT PAUSE.
    pub(crate) fn begin_pause(&self, until_ms: u64, all: bool) {
        self.pause.begin(self.clock().now_ms(), until_ms, all, || {
            self.attention.fetch_or(PAUSED, Relaxed);
        });
    }

    /// Lets clients go on: CLIENT UNPAUSE.
    pub(crate) fn end_pause(&self) {
        self.pause.end(u64::MAX, || {
            self.attention.fetch_and(!PAUSED, Relaxed);
        });
        for client in self.clients().all().iter().filter(|client| client.facts.paused.load(Relaxed)) {
            client.wake.wake();
        }
    }

    /// Whether a command must wait for the end of a pause.
    #[cold]
    pub(crate) fn must_pause(&self, session: &Session, row: u16, args: Args<'_>, now: u64) -> bool {
        if !self.pause.is_on(now) {
            self.pause.end(now, || {
                self.attention.fetch_and(!PAUSED, Relaxed);
            });
            return false;
        }
        let command = TABLE.row(row);
        let flags = match &session.multi {
            Some(transaction) if command.name == "EXEC" => transaction.flags,
            _ => self.flags_of_call(row, args),
        };
        let is_held = !session.monitors && session.client.addresses.has_socket();
        is_held && self.pause.holds(now, flags & (WRITE | MAY_REPLICATE) != 0)
    }

    /// Whether expired keys stay, unseen: while clients are paused, for commands that do not write.
    #[cold]
    pub(crate) fn hides_expired(&self, command: &Command, now: u64) -> bool {
        !command.has(WRITE) && self.pause.is_on(now)
    }
}

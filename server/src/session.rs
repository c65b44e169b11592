//! One client's state: its database, transaction, subscriptions, and how it wants to be answered.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use larder_protocol::{Limits, OwnedArgs, Proto, Reply};
use larder_storage::heap::Shared;
use larder_storage::index::Pos;

use crate::acl::{Login, User};
use crate::client::Client;
use crate::config::{ClientClass, OutputLimit};
use crate::engine::Engine;
use crate::evict::RoomClaim;
use crate::locked::KnownHash;
use crate::pubsub::Target;
use crate::script::{Leaving, Machine};
use crate::stats::WorkerStats;
use crate::wait::Waiter;

/// How CLIENT REPLY wants answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReplyMode {
    On,
    Off,
    /// The command after this one gets no answer.
    SkipNext,
    /// This command gets no answer.
    Skip,
}

/// A queued command.
pub(crate) struct Queued {
    pub(crate) row: u16,
    pub(crate) args: OwnedArgs,
}

/// What MULTI has collected.
#[derive(Default)]
pub(crate) struct Transaction {
    pub(crate) queue: Vec<Queued>,
    pub(crate) bytes: usize,
    /// Flags of all queued commands.
    pub(crate) flags: u32,
    /// Whether a command was refused, so that EXEC must fail.
    pub(crate) aborted: bool,
}

/// A watched key.
pub(crate) struct Watched {
    pub(crate) db: usize,
    pub(crate) key: Vec<u8>,
    pub(crate) hash: u64,
}

/// Names that the client listens to.
#[derive(Default)]
pub(crate) struct Subscriptions {
    pub(crate) channels: BTreeSet<Vec<u8>>,
    pub(crate) patterns: BTreeSet<Vec<u8>>,
    pub(crate) shard_channels: BTreeSet<Vec<u8>>,
}

impl Subscriptions {
    pub(crate) fn of(&mut self, target: Target) -> &mut BTreeSet<Vec<u8>> {
        match target {
            Target::Channel => &mut self.channels,
            Target::Pattern => &mut self.patterns,
            Target::Shard => &mut self.shard_channels,
        }
    }

    /// How many names of a target's sort are listened to; channels and patterns are counted together.
    pub(crate) fn count(&self, target: Target) -> usize {
        match target {
            Target::Shard => self.shard_channels.len(),
            _ => self.channels.len() + self.patterns.len(),
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.channels.is_empty() && self.patterns.is_empty() && self.shard_channels.is_empty()
    }
}

/// See the module's page.
pub struct Session {
    pub(crate) client: Arc<Client>,
    pub(crate) stats: Arc<WorkerStats>,
    pub(crate) db: usize,
    /// Whether it has said who it is, or need not.
    pub(crate) authenticated: bool,
    /// Who it is, and who it was at first.
    pub(crate) login: Login,
    pub(crate) home: Arc<User>,
    pub(crate) multi: Option<Transaction>,
    /// Whether EXEC runs its queue.
    pub(crate) executes: bool,
    pub(crate) watched: Vec<Watched>,
    /// Whether they are watched no more, though a script was in the way of taking them off.
    pub(crate) forgets_watched: bool,
    /// What the names take that it watches and listens to.
    pub(crate) names_bytes: usize,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) reply_mode: ReplyMode,
    /// The connection is to be closed when the replies are sent.
    pub(crate) closing: bool,
    pub(crate) no_touch: bool,
    /// Messages stay in the outbox, to be asked for one by one.
    pub(crate) keeps_messages: bool,
    /// Whether the client wants to hear of changes of keys that it reads.
    pub(crate) tracks: bool,
    /// Whether commands may wait for keys: somebody looks after the session meanwhile.
    pub(crate) may_wait: bool,
    /// What the session waits for; no further command runs meanwhile.
    pub(crate) waiting: Option<Arc<Waiter>>,
    /// Whether it sees all commands (MONITOR).
    pub(crate) monitors: bool,
    /// While its next command waits until enough has been evicted.
    pub(crate) room_claim: Option<RoomClaim>,
    /// Whether it is where scripts run, its connection waiting for it.
    pub(crate) runs_script: bool,
    /// Whether the call that ends has been counted: where scripts run, or as one that a script keeps from running.
    pub(crate) is_counted: bool,
    /// Whether a script calls the command that runs.
    pub(crate) is_script: bool,
    /// What TIME told first in the script or the transaction that runs, in microseconds: time stands still there.
    pub(crate) stands_at: Option<u64>,
}

/// What runs batches, one at a time, beside the session: a thread has one for all its connections.
pub(crate) struct Workspace {
    pub(crate) stats: Arc<WorkerStats>,
    pub(crate) plan: Plan,
}

/// Where a batch runs.
pub(crate) struct Place<'p> {
    pub(crate) workspace: &'p mut Workspace,
    /// What runs scripts there, if anything does.
    pub(crate) machine: Option<&'p Machine>,
    /// The read buffer, where the batch's only command may keep it for its long argument.
    pub(crate) lent: Option<&'p Shared>,
}

impl Workspace {
    pub(crate) fn new(stats: Arc<WorkerStats>) -> Self {
        Self { stats, plan: Plan::default() }
    }
}

/// A member that a command of a batch names in the collection at its key.
pub(crate) struct NamedMember {
    /// The command's place in the batch.
    pub(crate) command: u32,
    /// Where the member stands among its arguments.
    pub(crate) argument: u8,
    /// The hashes of the command's key and of the member.
    pub(crate) key_hash: u64,
    pub(crate) hash: u64,
    /// Where the collection was found.
    pub(crate) pos: Option<Pos>,
}

/// The rows of a batch and the hashes of its keys, found before the first command runs.
#[derive(Default)]
pub(crate) struct Plan {
    /// Per command: its row (`u16::MAX` if it has none), and where its keys end in `hashes`.
    pub(crate) commands: Vec<(u16, u32)>,
    /// The hash of each key.
    pub(crate) hashes: Vec<KnownHash>,
    /// Members that commands name in their collections.
    pub(crate) members: Vec<NamedMember>,
}

impl Session {
    /// Time stands still from now on, unless it did already, in EXEC.
    #[inline]
    pub(crate) fn begin_script(&mut self) {
        if !self.executes {
            self.stands_at = None;
        }
    }

    pub(crate) fn new(engine: &Engine, client: Arc<Client>, stats: Arc<WorkerStats>) -> Self {
        let home = client.user();
        Self {
            client,
            stats,
            db: 0,
            authenticated: engine.acl().is_welcome(&home),
            login: Login::new(home.clone()),
            home,
            multi: None,
            executes: false,
            watched: Vec::new(),
            forgets_watched: false,
            names_bytes: 0,
            subscriptions: Subscriptions::default(),
            reply_mode: ReplyMode::On,
            closing: false,
            no_touch: false,
            keeps_messages: false,
            tracks: false,
            may_wait: false,
            waiting: None,
            monitors: false,
            room_claim: None,
            runs_script: false,
            is_counted: false,
            is_script: false,
            stands_at: None,
        }
    }

    /// What its connection has while the session itself is where scripts run.
    pub(crate) fn stand_in(&self, engine: &Engine) -> Self {
        let mut stand_in = Self::new(engine, self.client.clone(), self.stats.clone());
        stand_in.db = self.db;
        stand_in.authenticated = self.authenticated;
        stand_in.keeps_messages = self.keeps_messages;
        stand_in.may_wait = self.may_wait;
        stand_in
    }

    /// Writes what others have sent to the client behind the replies, unless it is kept for a call of its own.
    #[inline]
    pub(crate) fn tell_messages(&self, reply: &mut Reply) {
        if self.client.has_messages() && !self.keeps_messages {
            self.client.take_messages(|message| reply.raw(&message));
        }
    }

    /// Whether commands run: a password was given, or none is asked for any more.
    #[inline]
    pub(crate) fn may_speak(&self, engine: &Engine) -> bool {
        self.authenticated || !engine.needs_password()
    }

    /// The limits of the next requests, and how many of these are prepared together.
    #[inline]
    pub(crate) fn parsing(&self, engine: &Engine) -> (Limits, usize) {
        /// Commands that are prepared together.
        const BATCH: usize = 32;
        /// An inline command must end within this.
        const INLINE_BYTES: usize = 64 << 10;
        let authenticated = self.may_speak(engine);
        let max_bulk = engine.settings().proto_max_bulk_len.as_usize();
        // Before authentication the limits can change with each command.
        let most = if authenticated { BATCH } else { 1 };
        (Limits { max_bulk, max_inline: INLINE_BYTES, authenticated }, most)
    }

    /// The limit of what may wait to be sent.
    pub(crate) fn output_limit(&self, engine: &Engine) -> OutputLimit {
        let class = if self.subscriptions.is_empty() { ClientClass::Normal } else { ClientClass::Pubsub };
        engine.settings().client_output_buffer_limit.get(class)
    }

    /// Moves what others have pushed so far into the reply, so that it stands before what is written next. Replies
    /// that will be taken back must not hold it.
    pub(crate) fn take_messages(&self, reply: &mut Reply) {
        if self.reply_mode == ReplyMode::On && !self.executes {
            self.client.take_messages(|message| reply.raw(&message));
        }
    }

    /// Leaves every channel and every key that it watches or waits for, for RESET and for the end.
    pub(crate) fn leave(&mut self, engine: &Engine) {
        engine.abandon_wait(self);
        engine.tracking().disable(&self.client);
        self.tracks = false;
        if !crate::commands::transactions::unwatch_all(engine, self) {
            engine.leave_later(Leaving::Watcher(self.client.clone(), std::mem::take(&mut self.watched)));
            self.forgets_watched = false;
        }
        if std::mem::take(&mut self.monitors) {
            engine.stop_monitoring(&self.client);
        }
        let subscriptions = std::mem::take(&mut self.subscriptions);
        for (target, names) in [
            (Target::Channel, subscriptions.channels),
            (Target::Pattern, subscriptions.patterns),
            (Target::Shard, subscriptions.shard_channels),
        ] {
            for name in &names {
                engine.channels().unsubscribe(target, name, &self.client);
            }
        }
        self.names_bytes = 0;
    }

    /// What CLIENT CACHING has said holds no longer: it was for one command.
    pub(crate) fn caching_is_over(&self) {
        if let Some(mode) = &mut *self.client.tracking.lock() {
            mode.caching = false;
        }
    }

    /// Whether EXEC will not run what is queued, as far as is known now.
    pub(crate) fn transaction_is_lost(&self) -> bool {
        let is_aborted = self.multi.as_ref().is_some_and(|transaction| transaction.aborted);
        is_aborted || self.client.has_watch_failed() && !self.forgets_watched
    }

    /// Whether only commands of publish and subscribe are allowed: RESP2 cannot tell a push from a reply.
    #[inline]
    pub(crate) fn only_listens(&self, proto: Proto) -> bool {
        proto == Proto::Resp2 && !self.subscriptions.is_empty()
    }

    /// Notes what others may know, after a batch.
    pub(crate) fn note_facts(&self, now_ms: u64) {
        let facts = &self.client.facts;
        facts.active_ms.store(now_ms, Relaxed);
        facts.db.store(self.db, Relaxed);
        facts.watched.store(if self.forgets_watched { 0 } else { self.watched.len() }, Relaxed);
        facts.names_bytes.store(self.names_bytes, Relaxed);
        facts.channels.store(self.subscriptions.channels.len(), Relaxed);
        facts.patterns.store(self.subscriptions.patterns.len(), Relaxed);
        facts.shard_channels.store(self.subscriptions.shard_channels.len(), Relaxed);
        let (queued, bytes) =
            self.multi.as_ref().map_or((u64::MAX, 0), |multi| (multi.queue.len() as u64, multi.bytes));
        facts.queued.store(queued, Relaxed);
        facts.queued_bytes.store(bytes, Relaxed);
    }
}

//! Access control: users, what they may do, and what was denied.
//!
//! - `rules`, `selector`: what one user may do, and the language that says so; `names`: commands in it; [`categories`].
//! - `user`: a user, and a session's hold on one ([`Login`]); `password`; `log`: ACL LOG; `file`: the ACL file.
//! - `denial`: the refusal of a call, as [`admit`](crate::admit) and EXEC need it.
//!
//! [`Acl`] holds all users of an engine. Its lock is held while users change and while a client becomes another user, so
//! that no client is missed that a change concerns; under it are locked the registry of clients, the channel table and
//! outboxes, and it may be taken while shards are held.

pub(crate) mod categories;
pub(crate) mod denial;
mod file;
mod log;
mod names;
pub(crate) mod password;
pub(crate) mod rules;
mod selector;
mod user;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

pub(crate) use log::{Entry, Log, Reason};
pub(crate) use rules::{RuleError, Rules, merge_selectors};
pub(crate) use selector::{Denied, Selector, has_blanks};
pub(crate) use user::{Login, User};

use crate::client::{Client, Clients};
use crate::config::{Config, LoadError, PubsubDefault};
use crate::error::{self, Error};
use crate::pubsub::{Channels, Target};
use password::Hash;

/// The user that everyone is who has not said who he is.
const DEFAULT: &[u8] = b"default";

/// All users, by name.
type Users = BTreeMap<Vec<u8>, Arc<User>>;

/// See the module's page.
pub(crate) struct Acl {
    users: Mutex<Users>,
    default: Arc<User>,
    /// Whom the program itself is, on its connections without a socket. It is called default and may do everything,
    /// whatever becomes of the user of that name.
    own: Arc<User>,
    pub(crate) log: Mutex<Log>,
}

/// What a change of users must reach, and who makes it: a client that a change hits may be the one that makes it, and
/// is answered before it is closed.
pub(crate) struct Reach<'a> {
    pub(crate) clients: &'a Clients,
    pub(crate) channels: &'a Channels,
    pub(crate) me: u64,
}

/// Whether the client that made a change must be closed for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HitsMe(pub(crate) bool);

impl Acl {
    /// The users that the configuration names, in itself or in its ACL file.
    pub(crate) fn at_start(config: &Config) -> Result<Self, LoadError> {
        let opens_channels = opens_channels(config);
        let default = User::new(DEFAULT, Rules::everything());
        let mut rules = Rules::everything();
        rules.require(&config.settings().requirepass.get());
        default.set_rules(rules);
        let mut users = Users::from([(DEFAULT.to_vec(), default.clone())]);
        let file = config.settings().aclfile.get();
        if !file.is_empty() && !config.users().is_empty() {
            return Err(LoadError::Users(
                "Users are declared in the configuration, and it names an ACL file, too. It must be one or the other."
                    .into(),
            ));
        }
        for line in config.users() {
            let mut rules = Rules::new(opens_channels);
            for rule in &line.rules {
                rules.apply(rule).map_err(|error| LoadError::Users(error::startup_rule(rule, &line.name, error)))?;
            }
            note_disabled(&line.name, &rules);
            put(&mut users, &line.name, rules);
        }
        if !file.is_empty() {
            let path = config.resolve(&file);
            let loaded = file::load(&path, &file, opens_channels)
                .map_err(|text| LoadError::Users(String::from_utf8_lossy(&text).into_owned()))?;
            loaded.into_iter().for_each(|(name, rules)| put(&mut users, &name, rules));
        }
        let own = User::new(DEFAULT, Rules::everything());
        Ok(Self { users: Mutex::new(users), default, own, log: Mutex::default() })
    }

    /// The user of a client that has not said who it is.
    pub(crate) fn default_user(&self) -> &Arc<User> {
        &self.default
    }

    /// The user of a connection without a socket.
    pub(crate) fn own_user(&self) -> &Arc<User> {
        &self.own
    }

    /// The user with a name.
    pub(crate) fn find(&self, name: &[u8]) -> Option<Arc<User>> {
        self.users.lock().get(name).cloned()
    }

    /// All users, in order of name.
    pub(crate) fn all(&self) -> Vec<Arc<User>> {
        self.users.lock().values().cloned().collect()
    }

    /// The lines that declare all users, without the word `user`.
    pub(crate) fn lines(&self) -> Vec<Vec<u8>> {
        self.all().iter().map(|user| [user.name(), b" ", &user.rules().describe()].concat()).collect()
    }

    /// Makes a client the user with this name and password, if there is one.
    pub(crate) fn log_in(&self, client: &Client, name: &[u8], password: &[u8]) -> Option<Arc<User>> {
        let hash = Hash::of(password);
        let users = self.users.lock();
        let user = users.get(name).filter(|user| user.rules().lets_in(&hash))?;
        client.become_user(user);
        Some(user.clone())
    }

    /// Makes a client the user again that it was at first.
    pub(crate) fn log_out(&self, client: &Client, home: &Arc<User>) {
        let _users = self.users.lock();
        client.become_user(home);
    }

    /// Whether a client that is this user at first need not say who it is.
    pub(crate) fn is_welcome(&self, home: &Arc<User>) -> bool {
        Arc::ptr_eq(home, &self.own) || self.default.rules().lets_all_in()
    }

    /// ACL SETUSER: applies rules to a user, who is made if there is none of the name; all of them or none.
    pub(crate) fn change(
        &self,
        config: &Config,
        reach: &Reach<'_>,
        name: &[u8],
        rules: &[&[u8]],
    ) -> Result<HitsMe, Error> {
        let merged = merge_selectors(rules).map_err(error::unmatched_parenthesis)?;
        let mut users = self.users.lock();
        let opens_channels = opens_channels(config);
        let mut draft = match users.get(name) {
            Some(user) => user.rules().draft(opens_channels),
            None => Rules::new(opens_channels),
        };
        for rule in &merged {
            draft.apply(rule).map_err(|error| error::setuser_rule(rule, error))?;
        }
        Ok(replace(&mut users, reach, name, draft))
    }

    /// Sets the password of the default user to that of the option `requirepass`.
    pub(crate) fn follow_requirepass(&self, config: &Config) {
        // Under the lock, so that of two changes the later one holds.
        let _users = self.users.lock();
        let mut rules = self.default.rules().draft(opens_channels(config));
        rules.require(&config.settings().requirepass.get());
        self.default.set_rules(rules);
    }

    /// ACL DELUSER: removes users and closes their clients. Answers how many there were.
    pub(crate) fn remove<'n>(&self, reach: &Reach<'_>, names: impl Iterator<Item = &'n [u8]>) -> (usize, HitsMe) {
        let mut users = self.users.lock();
        let removed: Vec<_> = names.filter_map(|name| users.remove(name)).collect();
        (removed.len(), dismiss(&removed, reach))
    }

    /// ACL LOAD: puts the users of a file in place of all others, or changes nothing and says what is wrong with it.
    /// Clients stay connected whose user is still there.
    pub(crate) fn load(&self, config: &Config, reach: &Reach<'_>) -> Result<HitsMe, Error> {
        let file = config.settings().aclfile.get();
        let loaded = file::load(&config.resolve(&file), &file, opens_channels(config)).map_err(error::acl_load)?;
        let mut users = self.users.lock();
        let gone: Vec<_> = users.extract_if(.., |name, _| !loaded.contains_key(name)).map(|(_, user)| user).collect();
        let mut hits = dismiss(&gone, reach);
        for (name, rules) in loaded {
            hits.0 |= replace(&mut users, reach, &name, rules).0;
        }
        Ok(hits)
    }

    /// ACL SAVE: writes all users into a file.
    pub(crate) fn save(&self, path: &Path) -> std::io::Result<()> {
        // Held while the file is written, so that of two the later one stands.
        let users = self.users.lock();
        file::save(path, users.values())
    }
}

/// Whether all channels are open to new users.
fn opens_channels(config: &Config) -> bool {
    config.settings().acl_pubsub_default.get() == PubsubDefault::AllChannels
}

/// Warns of a user in the configuration who cannot log in, which may be a mistake.
fn note_disabled(name: &[u8], rules: &Rules) {
    if !rules.is_enabled() {
        tracing::info!(
            "The user '{}' is disabled (there is no 'on' modifier in the user description). Make sure this is not a \
             configuration error.",
            String::from_utf8_lossy(name)
        );
    }
}

/// Gives a user other rules, or makes one with these.
fn put(users: &mut Users, name: &[u8], rules: Rules) {
    match users.get(name) {
        Some(user) => user.set_rules(rules),
        None => drop(users.insert(name.to_vec(), User::new(name, rules))),
    }
}

/// As [`put`]; clients are closed that listen to channels which they may not any more.
fn replace(users: &mut Users, reach: &Reach<'_>, name: &[u8], rules: Rules) -> HitsMe {
    let old = users.get(name).map(|user| (user.clone(), user.rules()));
    let takes_channels = old.as_ref().is_some_and(|(_, old)| !rules.keep_channels_of(old));
    put(users, name, rules);
    match old {
        // Who begins to listen from now on sees the new rules.
        Some((user, _)) if takes_channels => close_listeners(&user, reach),
        _ => HitsMe(false),
    }
}

/// Closes the clients of a user that listen to what the user may not.
fn close_listeners(user: &Arc<User>, reach: &Reach<'_>) -> HitsMe {
    let rules = user.rules();
    let mut found: BTreeMap<u64, Arc<Client>> = BTreeMap::new();
    reach.channels.each_listener(|target, name, client| {
        if client.is_user(user) && !rules.allow_channel(name, target == Target::Pattern) {
            found.insert(client.id, client.clone());
        }
    });
    close(found.values(), reach)
}

/// Takes every right from users that are removed, and closes their clients.
fn dismiss(removed: &[Arc<User>], reach: &Reach<'_>) -> HitsMe {
    for user in removed {
        // A session that nobody can close (it has no socket, or runs a batch) may do nothing more.
        user.set_rules(Rules::new(false));
    }
    let clients = reach.clients.all();
    close(clients.iter().filter(|client| removed.iter().any(|user| client.is_user(user))), reach)
}

fn close<'c>(clients: impl Iterator<Item = &'c Arc<Client>>, reach: &Reach<'_>) -> HitsMe {
    let mut hits = HitsMe(false);
    for client in clients {
        if client.id == reach.me {
            hits.0 = true;
        } else {
            reach.clients.kill(client);
        }
    }
    hits
}

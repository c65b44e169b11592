//! A user, whose rules change while sessions use them, and a session's hold on one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Release};

use parking_lot::RwLock;

use super::rules::Rules;

/// See the module's page.
pub(crate) struct User {
    name: Box<[u8]>,
    rules: RwLock<Arc<Rules>>,
    /// How often the rules have changed.
    changes: AtomicU64,
}

impl User {
    pub(super) fn new(name: &[u8], rules: Rules) -> Arc<Self> {
        Arc::new(Self { name: name.into(), rules: RwLock::new(Arc::new(rules)), changes: AtomicU64::new(0) })
    }

    pub(crate) fn name(&self) -> &[u8] {
        &self.name
    }

    /// The rules now.
    pub(crate) fn rules(&self) -> Arc<Rules> {
        self.rules.read().clone()
    }

    /// Puts other rules in the place of those that hold. Only [`Acl`](super::Acl) does, one change at a time.
    pub(super) fn set_rules(&self, rules: Rules) {
        *self.rules.write() = Arc::new(rules);
        self.changes.fetch_add(1, Release);
    }
}

/// The user that a session is, with the rules as the session saw them last: what each command looks at is the session's
/// own memory, and a change is noticed by one number.
pub(crate) struct Login {
    user: Arc<User>,
    rules: Arc<Rules>,
    changes: u64,
    is_free: bool,
}

impl Login {
    pub(crate) fn new(user: Arc<User>) -> Self {
        // The number first: rules that change in between are seen again.
        let changes = user.changes.load(Acquire);
        let rules = user.rules();
        Self { is_free: rules.allow_everything(), rules, changes, user }
    }

    /// Sees changes of the rules.
    #[inline]
    pub(crate) fn follow(&mut self) {
        if self.user.changes.load(Acquire) != self.changes {
            *self = Self::new(self.user.clone());
        }
    }

    pub(crate) fn user(&self) -> &Arc<User> {
        &self.user
    }

    /// The rules as of the last [`Login::follow`].
    pub(crate) fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// The rules, if they forbid anything.
    #[inline]
    pub(crate) fn restrictions(&self) -> Option<Arc<Rules>> {
        if self.is_free { None } else { Some(self.rules.clone()) }
    }

    /// Whether nothing is forbidden, so that there is nothing to check.
    #[inline]
    pub(crate) fn is_free(&self) -> bool {
        self.is_free
    }
}

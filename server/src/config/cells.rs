//! The cells that hold option values while the server runs: atomics and short locks, so that hot paths read a setting
//! without a common lock and CONFIG SET changes it under them. Each cell is valid at every moment; only this module's
//! siblings can write one, after the table's row has checked the value.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};

use parking_lot::RwLock;

/// A whole number or a count of bytes.
#[derive(Debug, Default)]
pub struct Number(AtomicU64);

impl Number {
    /// The value now.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// The value now as a length, at most `usize::MAX`.
    #[inline]
    pub fn as_usize(&self) -> usize {
        usize::try_from(self.get()).unwrap_or(usize::MAX)
    }

    /// The value now, of an option that may be negative.
    #[inline]
    pub fn as_i64(&self) -> i64 {
        self.get().cast_signed()
    }

    pub(super) fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }
}

/// A yes or no.
#[derive(Debug, Default)]
pub struct Flag(AtomicBool);

impl Flag {
    /// The value now.
    #[inline]
    pub fn get(&self) -> bool {
        self.0.load(Relaxed)
    }

    pub(super) fn set(&self, value: bool) {
        self.0.store(value, Relaxed);
    }
}

/// A byte string. Reading it clones a reference, not the bytes.
#[derive(Debug, Default)]
pub struct Text(RwLock<Arc<[u8]>>);

impl Text {
    /// The value now; empty when the option is not set.
    pub fn get(&self) -> Arc<[u8]> {
        Arc::clone(&self.0.read())
    }

    /// Whether the option is not set.
    pub fn is_empty(&self) -> bool {
        self.0.read().is_empty()
    }

    pub(super) fn set(&self, value: &[u8]) {
        *self.0.write() = Arc::from(value);
    }
}

/// One of the names of `E`, kept as its position among them.
#[derive(Debug)]
pub struct Selected<E> {
    index: AtomicU8,
    choice: PhantomData<fn() -> E>,
}

impl<E> Default for Selected<E> {
    fn default() -> Self {
        Self { index: AtomicU8::new(0), choice: PhantomData }
    }
}

impl<E: Choice> Selected<E> {
    /// The value now.
    #[inline]
    pub fn get(&self) -> E {
        E::from_index(self.index.load(Relaxed))
    }
}

/// A [`Selected`] whose choice is not known to the caller.
pub(super) trait ChoiceCell {
    /// Every name, in the order in which Redis lists them.
    fn names(&self) -> &'static [&'static str];
    /// The position of the chosen name.
    fn index(&self) -> usize;
    /// Chooses by position; a position past the last name chooses the last.
    fn select(&self, index: usize);
}

impl<E: Choice> ChoiceCell for Selected<E> {
    fn names(&self) -> &'static [&'static str] {
        E::NAMES
    }

    fn index(&self) -> usize {
        usize::from(self.index.load(Relaxed))
    }

    fn select(&self, index: usize) {
        let last = E::NAMES.len().saturating_sub(1);
        let index = u8::try_from(index.min(last)).unwrap_or(u8::MAX);
        self.index.store(index, Relaxed);
    }
}

/// An enum whose variants have names in the configuration.
pub trait Choice: Copy {
    /// The names, one per variant, in the order in which Redis lists them.
    const NAMES: &'static [&'static str];
    /// The variant at a position of `NAMES`; past the end, the last.
    fn from_index(index: u8) -> Self;
    /// The name of this variant.
    fn name(self) -> &'static str;
}

/// Declares an enum together with the names that the configuration knows its variants by.
macro_rules! choice {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl Choice for $name {
            const NAMES: &'static [&'static str] = &[$($text),+];

            #[inline]
            fn from_index(index: u8) -> Self {
                const VARIANTS: &[$name] = &[$($name::$variant),+];
                VARIANTS[usize::from(index).min(VARIANTS.len() - 1)]
            }

            fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }
    };
}

choice! {
    /// Which keys to remove when `maxmemory` is reached.
    MaxmemoryPolicy {
        /// Among keys with an expiry, the least recently used.
        VolatileLru = "volatile-lru",
        /// Among keys with an expiry, the least frequently used.
        VolatileLfu = "volatile-lfu",
        /// Any key with an expiry.
        VolatileRandom = "volatile-random",
        /// The key that expires soonest.
        VolatileTtl = "volatile-ttl",
        /// The least recently used.
        AllkeysLru = "allkeys-lru",
        /// The least frequently used.
        AllkeysLfu = "allkeys-lfu",
        /// Any key.
        AllkeysRandom = "allkeys-random",
        /// None: commands that need memory fail instead.
        Noeviction = "noeviction",
        /// Among keys with an expiry, what the policy learns from the requests of late.
        VolatileAdaptive = "volatile-adaptive",
        /// What the policy learns from the requests of late.
        AllkeysAdaptive = "allkeys-adaptive",
    }
}

choice! {
    /// The least severe message that is logged.
    LogLevel {
        /// Everything.
        Debug = "debug",
        /// What helps to follow the server's work.
        Verbose = "verbose",
        /// What an operator wants to know.
        Notice = "notice",
        /// Only what needs attention.
        Warning = "warning",
        /// No message at all.
        Nothing = "nothing",
    }
}

choice! {
    /// Whether Redis looks into what RESTORE is given.
    Sanitize {
        /// Hardly.
        No = "no",
        /// Always.
        Yes = "yes",
        /// For clients whose user does not say otherwise.
        Clients = "clients",
    }
}

choice! {
    /// Who may do something dangerous.
    Access {
        /// Nobody.
        No = "no",
        /// Every connection.
        Yes = "yes",
        /// Connections from this host: loopback or a unix socket.
        Local = "local",
    }
}

choice! {
    /// Which service manager the program tells that it serves.
    Supervised {
        /// None.
        No = "no",
        /// The one that the environment tells of.
        Auto = "auto",
        /// Upstart, if the environment tells of it.
        Upstart = "upstart",
        /// systemd, if the environment tells of it.
        Systemd = "systemd",
    }
}

choice! {
    /// Which channels a new user may use.
    PubsubDefault {
        /// All.
        AllChannels = "allchannels",
        /// None.
        ResetChannels = "resetchannels",
    }
}

impl Supervised {
    /// The manager that is told, if the program was started by it.
    pub fn manager(self) -> Option<Self> {
        let told_of = |variable: &str| std::env::var_os(variable).is_some_and(|value| !value.is_empty());
        match self {
            Self::No => None,
            Self::Upstart | Self::Auto if told_of("UPSTART_JOB") => Some(Self::Upstart),
            Self::Systemd | Self::Auto if told_of("NOTIFY_SOCKET") => Some(Self::Systemd),
            _ => None,
        }
    }
}

impl Access {
    /// Whether a connection may, given whether it comes from this host.
    pub fn allows(self, local: bool) -> bool {
        self == Self::Yes || (self == Self::Local && local)
    }
}

/// A set of keyspace event classes, with the bits that Redis gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeyspaceEvents(u32);

impl KeyspaceEvents {
    /// `K`: publish to `__keyspace@<db>__:<key>`.
    pub const KEYSPACE: Self = Self(1);
    /// `E`: publish to `__keyevent@<db>__:<event>`.
    pub const KEYEVENT: Self = Self(1 << 1);
    /// `g`: commands of no type, such as DEL and EXPIRE.
    pub const GENERIC: Self = Self(1 << 2);
    /// `$`: string commands.
    pub const STRING: Self = Self(1 << 3);
    /// `l`: list commands.
    pub const LIST: Self = Self(1 << 4);
    /// `s`: set commands.
    pub const SET: Self = Self(1 << 5);
    /// `h`: hash commands.
    pub const HASH: Self = Self(1 << 6);
    /// `z`: sorted set commands.
    pub const ZSET: Self = Self(1 << 7);
    /// `x`: a key expired.
    pub const EXPIRED: Self = Self(1 << 8);
    /// `e`: a key was evicted.
    pub const EVICTED: Self = Self(1 << 9);
    /// `t`: stream commands.
    pub const STREAM: Self = Self(1 << 10);
    /// `m`: a read missed its key. Not part of `A`.
    pub const KEY_MISS: Self = Self(1 << 11);
    /// `d`: events of module types.
    pub const MODULE: Self = Self(1 << 13);
    /// `n`: a key was created. Not part of `A`.
    pub const NEW: Self = Self(1 << 14);
    /// `A`: every class but `m` and `n`.
    pub const ALL: Self = Self(
        Self::GENERIC.0
            | Self::STRING.0
            | Self::LIST.0
            | Self::SET.0
            | Self::HASH.0
            | Self::ZSET.0
            | Self::EXPIRED.0
            | Self::EVICTED.0
            | Self::STREAM.0
            | Self::MODULE.0,
    );

    /// The classes that `A` stands for, with `n`, in the order in which they are printed.
    const CLASSES: [(u8, Self); 11] = [
        (b'g', Self::GENERIC),
        (b'$', Self::STRING),
        (b'l', Self::LIST),
        (b's', Self::SET),
        (b'h', Self::HASH),
        (b'z', Self::ZSET),
        (b'x', Self::EXPIRED),
        (b'e', Self::EVICTED),
        (b't', Self::STREAM),
        (b'd', Self::MODULE),
        (b'n', Self::NEW),
    ];

    /// What is always printed, after the classes.
    const MODIFIERS: [(u8, Self); 3] = [(b'K', Self::KEYSPACE), (b'E', Self::KEYEVENT), (b'm', Self::KEY_MISS)];

    /// Whether no event is wanted.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether all of `other` is in this set.
    #[inline]
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Reads the letters of `notify-keyspace-events`; `None` if one of them is unknown.
    pub fn parse(letters: &[u8]) -> Option<Self> {
        letters.iter().try_fold(Self::default(), |events, &letter| {
            if letter == b'A' {
                return Some(events.with(Self::ALL));
            }
            let known = Self::CLASSES.iter().chain(&Self::MODIFIERS);
            let (_, event) = known.into_iter().find(|(known, _)| *known == letter)?;
            Some(events.with(*event))
        })
    }

    /// The letters as Redis prints them. As there, `A` hides `n`.
    pub fn letters(self) -> String {
        let mut letters = String::new();
        let mut push_all = |set: &[(u8, Self)]| {
            letters
                .extend(set.iter().filter(|(_, event)| self.contains(*event)).map(|(letter, _)| char::from(*letter)));
        };
        if self.contains(Self::ALL) {
            push_all(&[(b'A', Self::ALL)]);
        } else {
            push_all(&Self::CLASSES);
        }
        push_all(&Self::MODIFIERS);
        letters
    }
}

/// The keyspace events that are published.
#[derive(Debug, Default)]
pub struct Events(AtomicU32);

impl Events {
    /// The value now.
    #[inline]
    pub fn get(&self) -> KeyspaceEvents {
        KeyspaceEvents(self.0.load(Relaxed))
    }

    pub(super) fn set(&self, value: KeyspaceEvents) {
        self.0.store(value.0, Relaxed);
    }
}

/// The classes of client that have output buffer limits of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientClass {
    /// Clients that send commands, MONITOR included.
    Normal,
    /// Replicas.
    Replica,
    /// Clients with a subscription.
    Pubsub,
}

impl ClientClass {
    /// Every class, in the order in which Redis lists them.
    pub const ALL: [Self; 3] = [Self::Normal, Self::Replica, Self::Pubsub];

    /// The class by the name that a configuration gives it.
    pub(super) fn parse(name: &[u8]) -> Option<Self> {
        match name.to_ascii_lowercase().as_slice() {
            b"normal" => Some(Self::Normal),
            b"slave" | b"replica" => Some(Self::Replica),
            b"pubsub" => Some(Self::Pubsub),
            _ => None,
        }
    }
}

/// When a client that does not read its replies is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutputLimit {
    /// Pending bytes at which it is closed at once; 0 is no limit.
    pub hard_bytes: u64,
    /// Pending bytes that it may hold for `soft_seconds` only; 0 is no limit.
    pub soft_bytes: u64,
    /// How long it may stay above `soft_bytes`.
    pub soft_seconds: u64,
}

impl OutputLimit {
    /// The hard limit as a length, `usize::MAX` for none.
    pub fn hard(self) -> usize {
        match self.hard_bytes {
            0 => usize::MAX,
            bytes => usize::try_from(bytes).unwrap_or(usize::MAX),
        }
    }
}

/// The output limit of each class of client.
#[derive(Debug, Default)]
pub struct OutputLimits([[Number; 3]; 3]);

impl OutputLimits {
    /// The limit of a class now. A change at the same moment may show its three parts half old, half new.
    #[inline]
    pub fn get(&self, class: ClientClass) -> OutputLimit {
        let [hard, soft, seconds] = &self.0[class as usize];
        OutputLimit { hard_bytes: hard.get(), soft_bytes: soft.get(), soft_seconds: seconds.get() }
    }

    pub(super) fn set(&self, class: ClientClass, limit: OutputLimit) {
        let [hard, soft, seconds] = &self.0[class as usize];
        hard.set(limit.hard_bytes);
        soft.set(limit.soft_bytes);
        seconds.set(limit.soft_seconds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asked of redis-server 7.4.1 with CONFIG SET and GET.
    #[test]
    fn event_letters_print_as_redis_prints_them() {
        let cases = [
            ("", ""),
            ("KEA", "AKE"),
            ("KEAn", "AKE"),
            ("mngKE", "gnKEm"),
            ("g$lshzxetdmnKE", "AKEm"),
            ("edtxzhsl$g", "A"),
            ("ExK", "xKE"),
            ("n", "n"),
        ];
        for (given, printed) in cases {
            let letters = KeyspaceEvents::parse(given.as_bytes()).map(KeyspaceEvents::letters);
            assert_eq!(letters.as_deref(), Some(printed), "{given}");
        }
    }

    #[test]
    fn unknown_event_letter_is_refused() {
        assert_eq!(KeyspaceEvents::parse(b"KEq"), None);
    }

    #[test]
    fn choices_find_their_names() {
        fn check<E: Choice + PartialEq + std::fmt::Debug>() {
            for (index, name) in E::NAMES.iter().enumerate() {
                assert_eq!(E::from_index(index as u8).name(), *name);
            }
        }
        check::<MaxmemoryPolicy>();
        check::<LogLevel>();
        check::<Access>();
    }
}

//! The table of options. One row declares an option's name and aliases, its cell in [`Settings`], what it accepts, its
//! default, when it may change, and its manual entry; the configuration file, the command line, CONFIG GET, SET and
//! REWRITE, `--help` and docs/options.md derive from it. To add an option, add a row and read its cell where it
//! matters.

use super::cells::{
    Access, Events, Flag, LogLevel, MaxmemoryPolicy, Number, OutputLimits, PubsubDefault, Sanitize, Selected,
    Supervised, Text,
};
use super::kind::Kind;

/// When an option may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// At any time, by CONFIG SET.
    Live,
    /// By CONFIG SET where `enable-protected-configs` allows it.
    Protected,
    /// Only before the server starts.
    AtStart,
}

/// An option: everything there is to know about it.
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// Other names for the same option.
    pub aliases: &'static [&'static str],
    /// Its default, as it would stand in a configuration file.
    pub default: &'static str,
    /// When it may change.
    pub change: Change,
    /// Its manual entry.
    pub summary: &'static str,
    pub(super) kind: Kind,
}

/// Options that belong together.
pub struct Section {
    /// The heading in the manual.
    pub title: &'static str,
    /// The options, in the order of the manual.
    pub rows: &'static [Row],
}

impl Row {
    /// The name and then the aliases.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }
}

/// Every option, in the order of the manual.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    SECTIONS.iter().flat_map(|section| section.rows)
}

/// Finds an option by a name or alias, in any case, and gives that name as the table spells it.
pub(super) fn find(name: &[u8]) -> Option<(&'static Row, &'static str)> {
    rows()
        .flat_map(|row| row.names().map(move |known| (row, known)))
        .find(|(_, known)| name.eq_ignore_ascii_case(known.as_bytes()))
}

/// Declares the sections of the table and, from the same rows, [`Settings`]. A row reads
/// `"name" | "alias" => field: Cell = kind(arguments), "default", Change;` under its manual entry.
macro_rules! options {
    ($($title:literal {
        $(
            $(#[doc = $doc:literal])+
            $name:literal $(| $alias:literal)* => $field:ident: $cell:ty = $kind:ident($($argument:expr),*), $default:literal, $change:ident;
        )+
    })+) => {
        /// The value of every option of one server, to be read at any time from any thread.
        pub struct Settings {
            $($($(#[doc = $doc])+ pub $field: $cell,)+)+
        }

        impl Settings {
            /// Settings in which nothing is set, for values to be put in.
            pub(super) fn blank() -> Self {
                Self { $($($field: <$cell>::default(),)+)+ }
            }
        }

        /// Every option.
        pub static SECTIONS: &[Section] = &[$(Section {
            title: $title,
            rows: &[$(Row {
                name: $name,
                aliases: &[$($alias),*],
                default: $default,
                change: Change::$change,
                summary: concat!($($doc),+).trim_ascii(),
                kind: Kind::$kind($($argument,)* |settings| &settings.$field),
            },)+],
        },)+];
    };
}

impl Settings {
    /// Settings with the defaults of the table.
    pub fn new() -> Self {
        let settings = Self::blank();
        for row in rows() {
            let words: Vec<&[u8]> = if row.kind.takes_words() && !row.default.is_empty() {
                row.default.split(' ').map(str::as_bytes).collect()
            } else {
                vec![row.default.as_bytes()]
            };
            // A test covers every default. Only `dir` can fail here, when the working directory is gone; it stays
            // empty then, and relative paths fail where they are used.
            let _ = row.kind.set(&settings, &words);
        }
        settings
    }

    /// How many worker threads to start: the option, or one per core.
    pub fn worker_threads(&self) -> usize {
        match self.threads.as_usize() {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = rows().filter(|row| !row.kind.is_secret());
        let entries = shown.map(|row| (row.name, String::from_utf8_lossy(&row.kind.print(self)).into_owned()));
        formatter.debug_map().entries(entries).finish()
    }
}

/// The largest C int, which bounds many options of Redis.
const INT_MAX: u64 = i32::MAX as u64;
/// The same, where an option may be negative.
const INT_MAX_I64: i64 = i32::MAX as i64;
/// The largest C long.
const LONG_MAX: u64 = i64::MAX as u64;
/// One mebibyte.
const MIB: u64 = 1 << 20;
/// Why options that would write files are refused.
const NO_PERSISTENCE: &str = "persistence is not supported yet";

fn clamp_hz(hz: u64) -> Result<u64, &'static str> {
    Ok(hz.clamp(1, 500))
}

fn power_of_two(count: u64) -> Result<u64, &'static str> {
    if count.is_power_of_two() { Ok(count) } else { Err("argument must be a power of two") }
}

options! {
    "Network" {
        /// Addresses to listen on. A leading `-` lets the server start without that address; `*` is all of IPv4 and
        /// `::*` all of IPv6. None at all listens on no TCP port.
        "bind" => bind: Text = addresses(), "127.0.0.1", AtStart;
        /// TCP port to listen on; 0 listens on none.
        "port" => port: Number = integer(0, 65535), "6379", AtStart;
        /// Path of a unix socket to listen on.
        "unixsocket" => unixsocket: Text = optional_text(), "", AtStart;
        /// Permission bits of the unix socket; 0 leaves them to the system.
        "unixsocketperm" => unixsocketperm: Number = octal(0o777), "0", AtStart;
        /// Whether clients from other hosts are refused while no password is set.
        "protected-mode" => protected_mode: Flag = flag(), "yes", Live;
        /// How many connections the system may hold before they are accepted.
        "tcp-backlog" => tcp_backlog: Number = integer(0, INT_MAX), "511", AtStart;
        /// Seconds of silence after which the system probes a client's connection; 0 never does.
        "tcp-keepalive" => tcp_keepalive: Number = integer(0, INT_MAX), "300", Live;
    }

    "Clients" {
        /// Seconds after which an idle client is closed; 0 is never.
        "timeout" => timeout: Number = integer(0, INT_MAX), "0", Live;
        /// How many clients may be connected at once.
        "maxclients" => maxclients: Number = integer(1, u32::MAX as u64), "10000", Live;
        /// Password of the default user; empty is none.
        "requirepass" => requirepass: Text = secret(), "", Live;
        /// The longest string that a client may send.
        "proto-max-bulk-len" => proto_max_bulk_len: Number = memory(MIB, LONG_MAX), "512mb", Live;
        /// How much of its commands a client may have the server buffer.
        "client-query-buffer-limit" => client_query_buffer_limit: Number = memory(MIB, LONG_MAX), "1gb", Live;
        /// How much memory a script or function may use beside its arguments and result; less where its source has more than 7
        /// concatenations, down to an eighth. Not an option of Redis.
        "lua-memory-limit" => lua_memory_limit: Number = memory(4 * MIB, 1 << 30), "64mb", Live;
        /// For how many keys the server remembers which clients have read them, for CLIENT TRACKING; 0 is no limit.
        "tracking-table-max-keys" => tracking_table_max_keys: Number = integer(0, LONG_MAX), "1000000", Live;
        /// How much memory that may take, whatever the number of keys; 0 is no limit. Not an option of Redis.
        "tracking-table-max-bytes" => tracking_table_max_bytes: Number = memory(0, LONG_MAX), "268435456", Live;
        /// For each class of client, the pending replies at which it is closed: at once at the hard limit, after some
        /// seconds above the soft limit. 0 is no limit.
        "client-output-buffer-limit" => client_output_buffer_limit: OutputLimits = output_limits(),
            "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60", Live;
    }

    "Users" {
        /// File that holds all users, a line each as ACL SAVE writes it; empty is none, and users stand in the
        /// configuration, as `user name rule...`.
        "aclfile" => aclfile: Text = text(), "", AtStart;
        /// Which channels a user may use who is made without a word about channels.
        "acl-pubsub-default" => acl_pubsub_default: Selected<PubsubDefault> = choice(), "resetchannels", Live;
        /// How many of the denials of late ACL LOG keeps.
        "acllog-max-len" => acllog_max_len: Number = integer(0, LONG_MAX), "128", Live;
    }

    "Server" {
        /// How many databases there are, to be chosen by SELECT.
        "databases" => databases: Number = integer(1, INT_MAX), "16", AtStart;
        /// Threads that serve clients; 0 is one per core.
        "threads" => threads: Number = integer(0, 1024), "0", AtStart;
        /// Parts into which the data is cut, each with a lock of its own; a power of two.
        "shards" => shards: Number = adjusted(1, 64, power_of_two), "64", AtStart;
        /// How often background work is looked for: ten times as many times a second, and on while there is some.
        /// Values outside of 1 to 500 are moved there.
        "hz" => hz: Number = adjusted(0, INT_MAX, clamp_hz), "10", Live;
        /// Accepted for compatibility: background work goes on while there is some, however many clients are connected.
        "dynamic-hz" => dynamic_hz: Flag = flag(), "yes", Live;
        /// The least severe message to log: `debug` and `verbose` tell of each connection, `nothing` is no message at
        /// all.
        "loglevel" => loglevel: Selected<LogLevel> = choice(), "notice", Live;
        /// File to log to, opened anew for each line so that it may be moved away; empty is standard output.
        "logfile" => logfile: Text = text(), "", AtStart;
        /// File that holds the process id while the server runs; empty is none.
        "pidfile" => pidfile: Text = optional_text(), "", AtStart;
        /// Directory that relative paths start from. The process itself does not change its directory.
        "dir" => dir: Text = directory(), ".", Protected;
        /// Accepted for compatibility: the server stays in the foreground, where a service manager wants it, and the log
        /// says so.
        "daemonize" => daemonize: Flag = flag(), "no", AtStart;
        /// Which service manager is told when the program serves and when it ends.
        "supervised" => supervised: Selected<Supervised> = choice(), "no", AtStart;
        /// Classes of events that are published: `K` to keyspace channels, `E` to keyevent channels, and the events as
        /// letters of their own, of which `A` stands for all but `m` and `n`.
        "notify-keyspace-events" => notify_keyspace_events: Events = events(), "", Live;
        /// Microseconds from which on a call goes into the slow log; 0 is every call, -1 none.
        "slowlog-log-slower-than" => slowlog_log_slower_than: Number = signed(-1, i64::MAX), "10000", Live;
        /// How many calls the slow log keeps.
        "slowlog-max-len" => slowlog_max_len: Number = integer(0, LONG_MAX), "128", Live;
        /// Milliseconds from which on the latency monitor notes a call; 0 notes none.
        "latency-monitor-threshold" => latency_monitor_threshold: Number = integer(0, LONG_MAX), "0", Live;
        /// Whether the times of each command are counted for LATENCY HISTOGRAM and INFO.
        "latency-tracking" => latency_tracking: Flag = flag(), "yes", Live;
        /// Which percentiles of these times INFO shows.
        "latency-tracking-info-percentiles" => latency_tracking_info_percentiles: Text = percentiles(),
            "50 99 99.9", Live;
        /// Accepted for compatibility: what RESTORE is given is checked through and through in any case.
        "sanitize-dump-payload" => sanitize_dump_payload: Selected<Sanitize> = choice(), "no", Live;
        /// Milliseconds that clients wait for a script that holds their keys before they are answered BUSY. No script is
        /// ended for it.
        "busy-reply-threshold" | "lua-time-limit" => busy_reply_threshold: Number = integer(0, LONG_MAX), "5000", Live;
        /// Who may call DEBUG.
        "enable-debug-command" => enable_debug_command: Selected<Access> = choice(), "no", AtStart;
        /// Who may change protected options.
        "enable-protected-configs" => enable_protected_configs: Selected<Access> = choice(), "no", AtStart;
    }

    "Memory" {
        /// How much memory the data may take before keys are evicted; 0 is no limit.
        "maxmemory" => maxmemory: Number = memory(0, u64::MAX), "0", Live;
        /// How much memory all clients together may take before the largest of them are closed, in bytes or, as `5%`,
        /// of `maxmemory`; 0 is no limit. Less than 128 kB is as much as that.
        "maxmemory-clients" => maxmemory_clients: Number = memory_or_percent(), "0", Live;
        /// Which keys are evicted: Redis's policies, and two that learn from the requests which keys to keep. See
        /// [eviction](eviction.md).
        "maxmemory-policy" => maxmemory_policy: Selected<MaxmemoryPolicy> = choice(), "noeviction", Live;
        /// How much the `adaptive` policies prefer large values when they look for what to evict. At 0 only the use of a
        /// key counts; at 1 a value of twice the size may become half as old. Not in Redis.
        "maxmemory-size-weight" => maxmemory_size_weight: Number = fraction(), "0.25", Live;
        /// Whether the cache learns what it can tell of itself: see CACHE WHATIF, STATS and WHY. It takes up to half a hundredth
        /// of one core and a few megabytes. Not in Redis.
        "cache-insight" => cache_insight: Flag = flag(), "yes", Live;
        /// What ends the prefix of a key, for CACHE STATS. Hits, misses, evictions and expirations that were counted before a change
        /// stay with the prefixes that keys had then, until CONFIG RESETSTAT; keys and bytes are told by the new ones. Not in Redis.
        "cache-prefix-separator" => cache_prefix_separator: Text = text(), ":", Live;
        /// How closely the next key to evict is looked for. Each search sees 28 keys at 5, more or less in proportion,
        /// and the best of all searches go first. More is more exact and slower.
        "maxmemory-samples" => maxmemory_samples: Number = integer(1, 64), "5", Live;
        /// How long other clients may be held up at once while keys are evicted: 50 microseconds per point up to 10,
        /// then 15 % more per point; and not for more than 64 keys. A command that needs room waits for it in any case.
        "maxmemory-eviction-tenacity" => maxmemory_eviction_tenacity: Number = integer(0, 100), "10", Live;
        /// How much more often a key must be used for each further step of what OBJECT FREQ answers and RESTORE takes. It changes nothing else:
        /// the `lfu` policies count accesses themselves.
        "lfu-log-factor" => lfu_log_factor: Number = integer(0, INT_MAX), "10", Live;
        /// After how many minutes without a use OBJECT FREQ answers one less, 0 for never. It changes nothing else: the `lfu` policies
        /// weigh the count of accesses against the time since the last one.
        "lfu-decay-time" => lfu_decay_time: Number = integer(0, INT_MAX), "1", Live;
        /// How long expired keys may be removed in one go while clients wait: 100 microseconds at 1, a quarter of that
        /// more per step. The work goes on until none is left.
        "active-expire-effort" => active_expire_effort: Number = integer(1, 10), "1", Live;
        /// Accepted for compatibility: large evicted values are always freed in the background.
        "lazyfree-lazy-eviction" => lazyfree_lazy_eviction: Flag = flag(), "no", Live;
        /// Accepted for compatibility: large expired values are always freed in the background.
        "lazyfree-lazy-expire" => lazyfree_lazy_expire: Flag = flag(), "no", Live;
        /// Accepted for compatibility: large overwritten values are always freed in the background.
        "lazyfree-lazy-server-del" => lazyfree_lazy_server_del: Flag = flag(), "no", Live;
        /// Accepted for compatibility: DEL frees large values in the background, as UNLINK does.
        "lazyfree-lazy-user-del" => lazyfree_lazy_user_del: Flag = flag(), "no", Live;
        /// Accepted for compatibility: FLUSHALL and FLUSHDB free in the background, with SYNC too.
        "lazyfree-lazy-user-flush" => lazyfree_lazy_user_flush: Flag = flag(), "no", Live;
        /// Accepted for compatibility: what is left sparse always moves together in the background.
        "activedefrag" => activedefrag: Flag = flag(), "no", Live;
        /// Accepted for compatibility, as `activedefrag` is.
        "active-defrag-cycle-min" => active_defrag_cycle_min: Number = integer(1, 99), "1", Live;
        /// Accepted for compatibility, as `activedefrag` is.
        "active-defrag-cycle-max" => active_defrag_cycle_max: Number = integer(1, 99), "25", Live;
        /// Accepted for compatibility, as `activedefrag` is.
        "active-defrag-threshold-lower" => active_defrag_threshold_lower: Number = integer(0, 1000), "10", Live;
        /// Accepted for compatibility, as `activedefrag` is.
        "active-defrag-threshold-upper" => active_defrag_threshold_upper: Number = integer(0, 1000), "100", Live;
        /// Accepted for compatibility, as `activedefrag` is.
        "active-defrag-ignore-bytes" => active_defrag_ignore_bytes: Number = memory(1, LONG_MAX), "100mb", Live;
        /// Accepted for compatibility, as `activedefrag` is.
        "active-defrag-max-scan-fields" => active_defrag_max_scan_fields: Number =
            integer(1, LONG_MAX), "1000", Live;
        /// Accepted for compatibility: the allocator's upkeep is always done in the background.
        "jemalloc-bg-thread" => jemalloc_bg_thread: Flag = flag(), "yes", Live;
    }

    "Encodings" {
        /// Sets of at most so many integers, and nothing else, are kept in one sorted array.
        "set-max-intset-entries" => set_max_intset_entries: Number = integer(0, LONG_MAX), "512", Live;
        /// Sets of at most so many members are kept in one compact piece.
        "set-max-listpack-entries" => set_max_listpack_entries: Number = integer(0, LONG_MAX), "128", Live;
        /// Sets with a member longer than this are kept in one compact piece up to 2 KiB in all; OBJECT ENCODING tells
        /// `hashtable` of them in any case.
        "set-max-listpack-value" => set_max_listpack_value: Number = integer(0, LONG_MAX), "64", Live;
        /// Hashes of at most so many fields are kept in one compact piece.
        "hash-max-listpack-entries" | "hash-max-ziplist-entries" => hash_max_listpack_entries: Number =
            integer(0, LONG_MAX), "512", Live;
        /// Hashes with a field or value longer than this are kept in one compact piece up to 2 KiB in all; OBJECT ENCODING
        /// tells `hashtable` of them in any case.
        "hash-max-listpack-value" | "hash-max-ziplist-value" => hash_max_listpack_value: Number =
            memory(0, LONG_MAX), "64", Live;
        /// Lists of at most so many elements are kept in one compact piece, larger ones in pieces of so many; from -1 to
        /// -5 of so many bytes: 4, 8, 16, 32, 64 kB.
        "list-max-listpack-size" | "list-max-ziplist-size" => list_max_listpack_size: Number =
            signed(-INT_MAX_I64 - 1, INT_MAX_I64), "-2", Live;
        /// Accepted for compatibility: pieces of lists are never compressed.
        "list-compress-depth" => list_compress_depth: Number = integer(0, INT_MAX), "0", Live;
        /// Sorted sets of at most so many members are kept in one compact piece.
        "zset-max-listpack-entries" | "zset-max-ziplist-entries" => zset_max_listpack_entries: Number =
            integer(0, LONG_MAX), "128", Live;
        /// Sorted sets with a member longer than this are kept in one compact piece up to 2 KiB in all; OBJECT ENCODING
        /// tells `skiplist` of them in any case.
        "zset-max-listpack-value" | "zset-max-ziplist-value" => zset_max_listpack_value: Number =
            memory(0, LONG_MAX), "64", Live;
        /// HyperLogLogs that would be longer than this, in their form for few elements, take the form for many.
        "hll-sparse-max-bytes" => hll_sparse_max_bytes: Number = memory(0, LONG_MAX), "3000", Live;
        /// Bytes that a node of a stream may have, beyond which the next entry begins another; 0 is no limit.
        "stream-node-max-bytes" => stream_node_max_bytes: Number = memory(0, LONG_MAX), "4096", Live;
        /// Entries that a node of a stream may have; 0 is no limit. Approximate trimming takes whole nodes.
        "stream-node-max-entries" => stream_node_max_entries: Number = integer(0, LONG_MAX), "100", Live;
    }

    "Persistence" {
        /// When to save the data to a file.
        "save" => save: Text = save(NO_PERSISTENCE), "", Live;
        /// Whether to log every change to a file.
        "appendonly" => appendonly: Flag = only_no(NO_PERSISTENCE), "no", Live;
    }
}

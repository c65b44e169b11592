//! Options of Redis for parts that Larder has not, or not yet. In a file and on the command line they are passed over,
//! and the log names them, as long as they ask for nothing that Larder would have to do: a `redis.conf` as it is
//! delivered must start the server. What would change what the server promises is refused. CONFIG GET answers their defaults, and
//! CONFIG SET takes these only.

use super::kind::parse_flag;

/// Which values of an option are passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    /// Every value: it only tunes a part that is not there.
    Any,
    /// `yes` and `no`, for the same reason.
    Flag,
    /// These alone, as they leave the part off. There may be none.
    Only(&'static [&'static str]),
}

use Takes::{Any, Flag, Only};

/// Ways to end at a signal that do not save.
const ENDS_UNSAVED: &[&str] =
    &["default", "nosave", "now", "force", "nosave now", "nosave force", "now force", "force now", "nosave now force"];

/// The options in order of name.
pub(super) const ABSENT: &[(&str, Takes)] = &[
    ("activerehashing", Flag),
    ("always-show-logo", Flag),
    ("aof-disable-auto-gc", Flag),
    ("aof-load-truncated", Flag),
    ("aof-rewrite-cpulist", Any),
    ("aof-rewrite-incremental-fsync", Flag),
    ("aof-timestamp-enabled", Flag),
    ("aof-use-rdb-preamble", Flag),
    ("aof_rewrite_cpulist", Any),
    ("appenddirname", Any),
    ("appendfilename", Any),
    ("appendfsync", Any),
    ("auto-aof-rewrite-min-size", Any),
    ("auto-aof-rewrite-percentage", Any),
    ("bgsave-cpulist", Any),
    ("bgsave_cpulist", Any),
    ("bind-source-addr", Any),
    ("bio-cpulist", Any),
    ("bio_cpulist", Any),
    ("cluster-allow-pubsubshard-when-down", Flag),
    ("cluster-allow-reads-when-down", Flag),
    ("cluster-allow-replica-migration", Flag),
    ("cluster-announce-bus-port", Any),
    ("cluster-announce-hostname", Any),
    ("cluster-announce-human-nodename", Any),
    ("cluster-announce-ip", Any),
    ("cluster-announce-port", Any),
    ("cluster-announce-tls-port", Any),
    ("cluster-config-file", Any),
    ("cluster-enabled", Only(&["no"])),
    ("cluster-link-sendbuf-limit", Any),
    ("cluster-migration-barrier", Any),
    ("cluster-node-timeout", Any),
    ("cluster-ping-interval", Any),
    ("cluster-port", Any),
    ("cluster-preferred-endpoint-type", Any),
    ("cluster-replica-no-failover", Flag),
    ("cluster-replica-validity-factor", Any),
    ("cluster-require-full-coverage", Flag),
    ("cluster-slave-no-failover", Flag),
    ("cluster-slave-validity-factor", Any),
    ("crash-log-enabled", Flag),
    ("crash-memcheck-enabled", Flag),
    ("dbfilename", Any),
    ("disable-thp", Flag),
    ("enable-module-command", Any),
    ("hide-user-data-from-log", Flag),
    ("ignore-warnings", Any),
    ("io-threads", Any),
    ("io-threads-do-reads", Flag),
    ("key-load-delay", Any),
    ("list-max-ziplist-entries", Any),
    ("list-max-ziplist-value", Any),
    ("loading-process-events-interval-bytes", Any),
    ("loadmodule", Only(&[])),
    ("locale-collate", Any),
    ("lua-replicate-commands", Flag),
    ("masterauth", Only(&[""])),
    ("masteruser", Only(&[""])),
    ("max-new-connections-per-cycle", Any),
    ("max-new-tls-connections-per-cycle", Any),
    ("min-replicas-max-lag", Any),
    ("min-replicas-to-write", Only(&["0"])),
    ("min-slaves-max-lag", Any),
    ("min-slaves-to-write", Only(&["0"])),
    ("no-appendfsync-on-rewrite", Flag),
    ("oom-score-adj", Any),
    ("oom-score-adj-values", Any),
    ("proc-title-template", Any),
    ("propagation-error-behavior", Any),
    ("rdb-del-sync-files", Flag),
    ("rdb-key-save-delay", Any),
    ("rdb-save-incremental-fsync", Flag),
    ("rdbchecksum", Flag),
    ("rdbcompression", Flag),
    ("rename-command", Only(&[])),
    ("repl-backlog-size", Any),
    ("repl-backlog-ttl", Any),
    ("repl-disable-tcp-nodelay", Flag),
    ("repl-diskless-load", Any),
    ("repl-diskless-sync", Flag),
    ("repl-diskless-sync-delay", Any),
    ("repl-diskless-sync-max-replicas", Any),
    ("repl-ping-replica-period", Any),
    ("repl-ping-slave-period", Any),
    ("repl-timeout", Any),
    ("replica-announce-ip", Any),
    ("replica-announce-port", Any),
    ("replica-announced", Flag),
    ("replica-ignore-disk-write-errors", Flag),
    ("replica-ignore-maxmemory", Flag),
    ("replica-lazy-flush", Flag),
    ("replica-priority", Any),
    ("replica-read-only", Flag),
    ("replica-serve-stale-data", Flag),
    ("replicaof", Only(&["no one", ""])),
    ("server-cpulist", Any),
    ("server_cpulist", Any),
    ("set-proc-title", Flag),
    ("shutdown-on-sigint", Only(ENDS_UNSAVED)),
    ("shutdown-on-sigterm", Only(ENDS_UNSAVED)),
    ("shutdown-timeout", Any),
    ("slave-announce-ip", Any),
    ("slave-announce-port", Any),
    ("slave-ignore-maxmemory", Flag),
    ("slave-lazy-flush", Flag),
    ("slave-priority", Any),
    ("slave-read-only", Flag),
    ("slave-serve-stale-data", Flag),
    ("slaveof", Only(&["no one", ""])),
    ("socket-mark-id", Any),
    ("stop-writes-on-bgsave-error", Flag),
    ("syslog-enabled", Only(&["no"])),
    ("syslog-facility", Any),
    ("syslog-ident", Any),
    ("tls-auth-clients", Any),
    ("tls-ca-cert-dir", Any),
    ("tls-ca-cert-file", Any),
    ("tls-cert-file", Any),
    ("tls-ciphers", Any),
    ("tls-ciphersuites", Any),
    ("tls-client-cert-file", Any),
    ("tls-client-key-file", Any),
    ("tls-client-key-file-pass", Any),
    ("tls-cluster", Only(&["no"])),
    ("tls-dh-params-file", Any),
    ("tls-key-file", Any),
    ("tls-key-file-pass", Any),
    ("tls-port", Only(&["0"])),
    ("tls-prefer-server-ciphers", Flag),
    ("tls-protocols", Any),
    ("tls-replication", Only(&["no"])),
    ("tls-session-cache-size", Any),
    ("tls-session-cache-timeout", Any),
    ("tls-session-caching", Flag),
    ("use-exit-on-panic", Flag),
    ("watchdog-period", Any),
];

/// Finds an option by its name in any case.
pub(super) fn find(name: &[u8]) -> Option<(&'static str, Takes)> {
    ABSENT.iter().copied().find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes()))
}

/// The option's name if a directive about it is passed over, `None` if the directive is about another option. The
/// error is why it is refused.
pub(super) fn pass_over(name: &[u8], values: &[&[u8]]) -> Result<Option<&'static str>, String> {
    let Some((known, takes)) = find(name).filter(|_| !values.is_empty()) else { return Ok(None) };
    let joined = values.join(&b' ');
    match takes {
        Any => {}
        Flag => drop(parse_flag(&joined)?),
        Only(allowed) => {
            if allowed.contains(&"no") {
                parse_flag(&joined)?;
            }
            if !allowed.iter().any(|allowed| joined.eq_ignore_ascii_case(allowed.as_bytes())) {
                return Err(format!("'{known} {}' is not supported", String::from_utf8_lossy(&joined)));
            }
        }
    }
    Ok(Some(known))
}

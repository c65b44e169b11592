//! What COMMAND DOCS calls an argument that is made of others: Redis's names, which the notation of a row does not have.

/// The names, by those of the parts. What is called differently from command to command keeps the names of its parts.
const NAMES: &[(&str, &str)] = &[
    ("*-id", "id-selector"),
    ("=-~", "operator"),
    ("addr-port-client-id-normal-master-replica-pubsub-username-addr-port-addr-port-yes-no-maxage", "filter"),
    ("and-or-xor-not", "operation"),
    ("asc-desc", "order"),
    ("async-sync", "flush-type"),
    ("before-after", "where"),
    ("byscore-bylex", "sortby"),
    ("byte-bit", "unit"),
    ("client-id-normal-master-replica-pubsub-username-addr-port-addr-port-yes-no-maxage", "new-format"),
    ("count-any", "count-block"),
    ("count-reset", "operation"),
    ("count-withscores", "options"),
    ("count-withvalues", "options"),
    ("encoding-offset", "get-block"),
    ("encoding-offset-increment", "incrby-block"),
    ("encoding-offset-value", "set-block"),
    ("encoding-offset-value-encoding-offset-increment", "write-operation"),
    ("encoding-offset-wrap-sat-fail-encoding-offset-value-encoding-offset-increment", "operation"),
    ("end-byte-bit", "end-unit-block"),
    ("field-value", "data"),
    ("flush-append-replace", "policy"),
    ("force-takeover", "options"),
    ("full-count", "full-block"),
    ("group-consumer", "group-block"),
    ("gt-lt", "comparison"),
    ("hard-soft", "reset-type"),
    ("host-port-force", "target"),
    ("host-port-no-one", "args"),
    ("id-$", "id-selector"),
    ("key-id", "streams"),
    ("key-key", "store"),
    ("key-value", "data"),
    ("libname-libver", "attr"),
    ("longitude-latitude", "fromlonlat"),
    ("longitude-latitude-member", "data"),
    ("m-km-ft-mi", "unit"),
    ("member-longitude-latitude", "from"),
    ("milliseconds-start-id-end-id-count-consumer", "filters"),
    ("min-max", "where"),
    ("module-name-category-pattern", "filterby"),
    ("node-id-node-id-node-id-stable", "subcommand"),
    ("normal-master-replica-pubsub", "client-type"),
    ("nosave-save", "save-selector"),
    ("numfields-field", "fields"),
    ("nx-xx", "condition"),
    ("nx-xx-gt-lt", "condition"),
    ("offset-count", "limit"),
    ("on-off-skip", "action"),
    ("parameter-value", "data"),
    ("protover-username-password-clientname", "arguments"),
    ("radius-m-km-ft-mi", "circle"),
    ("radius-m-km-ft-mi-width-height-m-km-ft-mi", "by"),
    ("score-member", "data"),
    ("seconds-milliseconds-unix-time-seconds-unix-time-milliseconds-keepttl", "expiration"),
    ("seconds-milliseconds-unix-time-seconds-unix-time-milliseconds-persist", "expiration"),
    ("start-end-byte-bit", "range"),
    ("start-slot-end-slot", "range"),
    ("sum-min-max", "aggregate"),
    ("timeout-error", "unblock-type"),
    ("username-password", "auth"),
    ("width-height-m-km-ft-mi", "box"),
    ("wrap-sat-fail", "overflow-block"),
    ("wrap-sat-fail-encoding-offset-value-encoding-offset-increment", "write"),
    ("write-all", "mode"),
    ("yes-sync-no", "mode"),
];

/// The name of what has these parts.
pub(super) fn name_of(parts: &str) -> &str {
    match NAMES.binary_search_by(|(known, _)| (*known).cmp(parts)) {
        Ok(at) => NAMES[at].1,
        Err(_) => parts,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found() {
        assert!(NAMES.is_sorted());
        assert_eq!([name_of("nx-xx"), name_of("yes-sync-no"), name_of("a-b")], ["condition", "mode", "a-b"]);
    }
}

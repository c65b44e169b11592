//! Errors that a command answers: their texts, byte for byte Redis's, stand in this file only.
//!
//! A text begins with its code (`ERR`, `WRONGTYPE`, ...), without the `-` of the protocol. It is bytes, as it may quote
//! what a client sent.

use std::borrow::Cow;
use std::fmt;

use crate::acl::{Denied, RuleError};
use crate::script::Place;

/// What a command answers instead of its result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(Cow<'static, [u8]>);

/// What a command's function returns; its reply is in the writer.
pub type Outcome = Result<(), Error>;

impl Error {
    /// An error with a fixed text.
    pub const fn fixed(text: &'static str) -> Self {
        Self(Cow::Borrowed(text.as_bytes()))
    }

    /// An error with a text made now.
    pub fn made(text: impl Into<Vec<u8>>) -> Self {
        Self(Cow::Owned(text.into()))
    }

    /// The text: a code, a blank, and what is wrong.
    pub fn text(&self) -> &[u8] {
        &self.0
    }

    /// The first word of the text, which is none of the client's.
    pub fn code(&self) -> &str {
        let code = self.0.split(|byte| *byte == b' ').next().unwrap_or_default();
        std::str::from_utf8(code).unwrap_or_default()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl std::error::Error for Error {}

impl From<larder_storage::table::Full> for Error {
    fn from(_: larder_storage::table::Full) -> Self {
        OUT_OF_MEMORY
    }
}

impl From<larder_storage::types::zset::Full> for Error {
    fn from(_: larder_storage::types::zset::Full) -> Self {
        OUT_OF_MEMORY
    }
}

impl From<crate::hyperloglog::Corrupt> for Error {
    fn from(_: crate::hyperloglog::Corrupt) -> Self {
        HYPERLOGLOG_CORRUPT
    }
}

impl From<crate::lcs::LcsError> for Error {
    fn from(error: crate::lcs::LcsError) -> Self {
        match error {
            crate::lcs::LcsError::TooLong => LCS_STRING_TOO_LONG,
            crate::lcs::LcsError::ExceedsLimit => LCS_EXCEEDS_LIMIT,
            crate::lcs::LcsError::OutOfMemory => LCS_OUT_OF_MEMORY,
        }
    }
}

macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub(crate) const $name: Error = Error::fixed($text);)*
    };
}

texts! {
    SYNTAX = "ERR syntax error";
    WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value";
    NOT_AN_INTEGER = "ERR value is not an integer or out of range";
    OUT_OF_RANGE = "ERR value is out of range";
    NOT_POSITIVE = "ERR value is out of range, must be positive";
    NOT_A_FLOAT = "ERR value is not a valid float";
    TIMEOUT_NOT_A_FLOAT = "ERR timeout is not a float or out of range";
    TIMEOUT_NEGATIVE = "ERR timeout is negative";
    TIMEOUT_OUT_OF_RANGE = "ERR timeout is out of range";
    TRACKING_TWO_REDIRECTIONS = "ERR A client can only redirect to a single other client";
    NO_SUCH_REDIRECTION = "ERR The client ID you want redirect to does not exist";
    TRACKING_PREFIX_WITHOUT_BCAST = "ERR PREFIX option requires BCAST mode to be enabled";
    TRACKING_SWITCHES_BCAST = "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with a different mode.";
    TRACKING_BCAST_WITH_OPT = "ERR OPTIN and OPTOUT are not compatible with BCAST";
    TRACKING_BOTH_OPTS = "ERR You can't specify both OPTIN mode and OPTOUT mode";
    TRACKING_SWITCHES_OPT = "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with a different mode.";
    CACHING_WITHOUT_TRACKING = "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled";
    CACHING_YES_WITHOUT_OPTIN = "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.";
    CACHING_NO_WITHOUT_OPTOUT = "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.";
    SORT_BY_DENIED = "ERR BY option of SORT denied due to insufficient ACL permissions.";
    SORT_GET_DENIED = "ERR GET option of SORT denied due to insufficient ACL permissions.";
    SORT_SCORES = "ERR One or more scores can't be converted into double";
    UNBLOCK_REASON = "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR";
    UNBLOCKED = "UNBLOCKED client unblocked via CLIENT UNBLOCK";
    BUSY_KEY = "BUSYKEY Target key name already exists.";
    INVALID_TTL = "ERR Invalid TTL value, must be >= 0";
    INVALID_IDLETIME = "ERR Invalid IDLETIME value, must be >= 0";
    INVALID_FREQ = "ERR Invalid FREQ value, must be >= 0 and <= 255";
    WRONG_DUMP_PAYLOAD = "ERR DUMP payload version or checksum are wrong";
    BAD_DATA_FORMAT = "ERR Bad data format";
    NO_SUCH_KEY = "ERR no such key";
    SAME_OBJECT = "ERR source and destination objects are the same";
    OVERFLOW = "ERR increment or decrement would overflow";
    NAN_OR_INFINITY = "ERR increment would produce NaN or Infinity";
    STRING_TOO_LONG = "ERR string exceeds maximum allowed size (proto-max-bulk-len)";
    OFFSET_OUT_OF_RANGE = "ERR offset is out of range";
    DECREMENT_OVERFLOW = "ERR decrement would overflow";
    LCS_NOT_STRINGS = "ERR The specified keys must contain string values";
    LCS_LENGTH_AND_INDEXES = "ERR If you want both the length and indexes, please just use IDX.";
    LCS_STRING_TOO_LONG = "ERR String too long for LCS";
    LCS_EXCEEDS_LIMIT = "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len";
    LCS_OUT_OF_MEMORY = "ERR Insufficient memory, failed allocating transient memory for LCS";
    INVALID_CURSOR = "ERR invalid cursor";
    DB_OUT_OF_RANGE = "ERR DB index is out of range";
    BUSY_SCRIPT = "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";
    BUSY_FUNCTION = "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.";
    NOT_BUSY = "NOTBUSY No scripts in execution right now.";
    UNKILLABLE = "UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait the script termination or kill the server in a hard way using the SHUTDOWN NOSAVE command.";
    SCRIPT_MEMORY = "ERR not enough memory: the script needs more than 'lua-memory-limit' allows";
    NO_SCRIPT = "NOSCRIPT No matching script. Please use EVAL.";
    NO_SCRIPT_THREAD = "ERR the server has no thread for scripts";
    SCRIPT_PANICKED = "ERR the script met a fault of the server and was ended";
    SCRIPT_KILLED = "ERR Script killed by user with SCRIPT KILL...";
    SCRIPT_RESULT_TOO_LARGE = "ERR the script's result is too large";
    SCRIPT_FLUSH_MODE = "ERR SCRIPT FLUSH only support SYNC|ASYNC option";
    SCRIPT_TOO_MANY_KEYS = "ERR Number of keys can't be greater than number of args";
    SCRIPT_NEGATIVE_KEYS = "ERR Number of keys can't be negative";
    SCRIPT_HEADER_INVALID = "ERR Invalid engine in script shebang";
    SCRIPT_HEADER_UNFINISHED = "ERR Invalid script shebang";
    SCRIPT_WRITES_FOR_RO = "ERR Can not execute a script with write flag using *_ro command.";
    SCRIPT_DEBUG_MODE = "ERR Use SCRIPT DEBUG YES/SYNC/NO";
    NO_DEBUGGER = "ERR there is no debugger for scripts";
    FUNCTION_NOT_FOUND = "ERR Function not found";
    FUNCTION_KEYS = "ERR Bad number of keys provided";
    FUNCTION_FLUSH_MODE = "ERR FUNCTION FLUSH only supports SYNC|ASYNC option";
    FUNCTION_RESTORE_POLICY = "ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.";
    FUNCTIONS_OF_OLD_FORMAT = "ERR Pre-GA function format not supported";
    NOT_A_FUNCTION = "ERR given type is not a function";
    LIBRARY_PAYLOAD = "ERR Failed loading library payload";
    LIBRARY_HEADER_MISSING = "ERR Missing library metadata";
    LIBRARY_HEADER_INVALID = "ERR Invalid library metadata";
    LIBRARY_NAMED_TWICE = "ERR Invalid metadata value, name argument was given multiple times";
    LIBRARY_WITHOUT_NAME = "ERR Library name was not given";
    LIBRARY_NAME = "ERR Library names can only contain letters, numbers, or underscores(_) and must be at least one character long";
    LIBRARY_IS_EMPTY = "ERR No functions registered";
    LIBRARY_NOT_FOUND = "ERR Library not found";
    LIBRARY_PATTERN_MISSING = "ERR library name argument was not given";
    LIBRARIES_TOO_LARGE = "ERR the libraries are too large together";
    SCRIPT_CALL_EMPTY = "ERR Please specify at least one argument for this redis lib call";
    SCRIPT_CALL_TYPES = "ERR Lua redis lib command arguments must be strings or integers";
    SCRIPT_CALL_UNKNOWN = "ERR Unknown Redis command called from script";
    SCRIPT_CALL_ARITY = "ERR Wrong number of args calling Redis command from script";
    SCRIPT_CALL_FORBIDDEN = "ERR This Redis command is not allowed from script";
    SCRIPT_READ_ONLY = "ERR Write commands are not allowed from read-only scripts.";
    SCRIPT_ACL_UNKNOWN = "ERR Invalid command passed to redis.acl_check_cmd()";
    OUT_OF_MEMORY = "OOM command not allowed when used memory > 'maxmemory'.";
    NO_AUTH = "NOAUTH Authentication required.";
    WRONG_PASSWORD = "WRONGPASS invalid username-password pair or user is disabled.";
    AUTH_WITHOUT_PASSWORD = "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?";
    NESTED_MULTI = "ERR MULTI calls can not be nested";
    EXEC_WITHOUT_MULTI = "ERR EXEC without MULTI";
    DISCARD_WITHOUT_MULTI = "ERR DISCARD without MULTI";
    WATCH_INSIDE_MULTI = "ERR WATCH inside MULTI is not allowed";
    NOT_IN_TRANSACTION = "ERR Command not allowed inside a transaction";
    USERNAME = "ERR Usernames can't contain spaces or null characters";
    DEFAULT_USER_STAYS = "ERR The 'default' user cannot be removed";
    NO_ACL_FILE = "ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order to store users in the Redis configuration.";
    ACL_NOT_SAVED = "ERR There was an error trying to save the ACLs. Please check the server logs for more information";
    NO_RANDOM_BITS = "ERR the system gives no random bits";
    EXEC_ABORTED = "EXECABORT Transaction discarded because of previous errors.";
    NO_PROTO = "NOPROTO unsupported protocol version";
    MIN_MAX_NOT_FLOAT = "ERR min or max is not a float";
    MIN_MAX_NOT_STRING = "ERR min or max not valid string range item";
    INT_OUT_OF_RANGE = "ERR value is out of range, value must between -2147483648 and 2147483647";
    FIRST_DB_INVALID = "ERR invalid first DB index";
    SECOND_DB_INVALID = "ERR invalid second DB index";
    EXPIRE_NX_AND_OTHERS = "ERR NX and XX, GT or LT options at the same time are not compatible";
    EXPIRE_GT_AND_LT = "ERR GT and LT options at the same time are not compatible";
    NO_VALUES_ELSEWHERE = "ERR NOVALUES option can only be used in HSCAN";
    FREQUENCY_NOT_TRACKED = "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.";
    INSIGHT_IS_OFF = "ERR cache-insight is off";
    IDLE_TIME_NOT_TRACKED = "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.";
    PROTO_NOT_INTEGER = "ERR Protocol version is not an integer or out of range";
    HELLO_NEEDS_AUTH = "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time";
    CLIENT_NAME = "ERR Client names cannot contain spaces, newlines or special characters.";
    CLIENT_ID_INVALID = "ERR Invalid client ID";
    CLIENT_ID_NOT_POSITIVE = "ERR client-id should be greater than 0";
    MAXAGE_NOT_INTEGER = "ERR maxage is not an integer or out of range";
    MAXAGE_NOT_POSITIVE = "ERR maxage should be greater than 0";
    CLUSTER_DISABLED = "ERR This instance has cluster support disabled";
    NO_REPLICATION = "ERR replication is not supported";
    MASTER_PORT_INVALID = "ERR Invalid master port";
    NO_REPLICAS = "ERR FAILOVER requires connected replicas.";
    NO_FAILOVER = "ERR No failover in progress.";
    FAILOVER_TIMEOUT = "ERR FAILOVER timeout must be greater than 0";
    AOF_DISABLED = "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.";
    OUT_OF_RANGE_0_TO_1 = "ERR value is out of range, value must between 0 and 1";
    REPLICA_AND_KEYS = "ERR Replica can't interact with the keyspace";
    MONITOR_DENIED = "ERR MONITOR isn't allowed for DENY BLOCKING client";
    SLOWLOG_COUNT = "ERR count should be greater than or equal to -1";
    TIMEOUT_NOT_INTEGER = "ERR timeout is not an integer or out of range";
    CLIENT_EVICTION_OFF = "ERR maxmemory-clients is disabled.";
    POPULATE_TOO_MUCH = "ERR OOM in dictTryExpand";
    PAUSE_MODE = "ERR CLIENT PAUSE mode must be WRITE or ALL";
    NO_SUCH_CLIENT = "ERR No such client";
    NOT_A_COMMAND = "ERR Invalid command specified";
    COMMAND_WITHOUT_KEYS = "ERR The command has no key arguments";
    COMMAND_ARITY = "ERR Invalid number of arguments specified for command";
    COMMAND_ARGUMENTS = "ERR Invalid arguments specified for command";
    SSUBSCRIBE_IN_EXEC = "ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client";
    NO_SHUTDOWN = "ERR No shutdown in progress.";
    SHUTDOWN_FAILED = "ERR Errors trying to SHUTDOWN. Check logs.";
    NOT_IN_RESP2 = "ERR RESP2 is not supported by this command";
    PROTOCOL_TYPE = "ERR Wrong protocol type name. Please use one of the following: string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false";
    ZADD_NX_AND_XX = "ERR XX and NX options at the same time are not compatible";
    ZADD_GT_LT_AND_NX = "ERR GT, LT, and/or NX options at the same time are not compatible";
    ZADD_INCR_OF_MANY = "ERR INCR option supports a single increment-element pair";
    INDEX_OUT_OF_RANGE = "ERR index out of range";
    LPOS_RANK_ZERO = "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list";
    LPOS_COUNT_NEGATIVE = "ERR COUNT can't be negative";
    LPOS_MAXLEN_NEGATIVE = "ERR MAXLEN can't be negative";
    SCORE_NOT_A_NUMBER = "ERR resulting score is not a number (NaN)";
    LIMIT_WITHOUT_BOUNDS = "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX";
    SCORES_WITH_BYLEX = "ERR syntax error, WITHSCORES not supported in combination with BYLEX";
    WEIGHT_NOT_FLOAT = "ERR weight value is not a float";
    TOO_MANY_KEYS = "ERR Number of keys can't be greater than number of args";
    LIMIT_NEGATIVE = "ERR LIMIT can't be negative";
    NUMKEYS_NOT_POSITIVE = "ERR numkeys should be greater than 0";
    COUNT_NOT_POSITIVE = "ERR count should be greater than 0";
    HASH_VALUE_NOT_AN_INTEGER = "ERR hash value is not an integer";
    HASH_VALUE_NOT_A_FLOAT = "ERR hash value is not a float";
    VALUE_NAN_OR_INFINITY = "ERR value is NaN or Infinity";
    EXPIRE_NEGATIVE = "ERR invalid expire time, must be >= 0";
    FIELDS_MISSING = "ERR Mandatory argument FIELDS is missing or not at the right position";
    NUMFIELDS_NOT_POSITIVE = "ERR Parameter `numFields` should be greater than 0";
    FIELDS_NOT_POSITIVE = "ERR Number of fields must be a positive integer";
    NUMFIELDS_MISMATCH = "ERR The `numfields` parameter must match the number of arguments";
    BIT_OFFSET = "ERR bit offset is not an integer or out of range";
    NOT_A_BIT = "ERR bit is not an integer or out of range";
    BIT_TO_FIND = "ERR The bit argument must be 1 or 0.";
    BITOP_NOT_OF_MANY = "ERR BITOP NOT must be called with a single source key.";
    BITFIELD_TYPE = "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.";
    BITFIELD_OVERFLOW = "ERR Invalid OVERFLOW type specified";
    BITFIELD_RO_WRITES = "ERR BITFIELD_RO only supports the GET subcommand";
    NOT_A_HYPERLOGLOG = "WRONGTYPE Key is not a valid HyperLogLog string value.";
    HYPERLOGLOG_CORRUPT = "INVALIDOBJ Corrupted HLL object detected";
    HYPERLOGLOG_NOT_SPARSE = "ERR HLL encoding is not sparse";
    KEY_DOES_NOT_EXIST = "ERR The specified key does not exist";
    RADIUS_NOT_A_FLOAT = "ERR need numeric radius";
    RADIUS_NEGATIVE = "ERR radius cannot be negative";
    WIDTH_NOT_A_FLOAT = "ERR need numeric width";
    HEIGHT_NOT_A_FLOAT = "ERR need numeric height";
    BOX_NEGATIVE = "ERR height or width cannot be negative";
    UNKNOWN_UNIT = "ERR unsupported unit provided. please use M, KM, FT, MI";
    NO_PLACE_OF_MEMBER = "ERR could not decode requested zset member";
    GEO_COUNT_NOT_POSITIVE = "ERR COUNT must be > 0";
    GEO_ANY_WITHOUT_COUNT = "ERR the ANY argument requires COUNT argument";
    GEORADIUS_STORE_OPTIONS = "ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORD options";
    GEOSEARCHSTORE_OPTIONS = "ERR GEOSEARCHSTORE is not compatible with WITHDIST, WITHHASH and WITHCOORD options";
    STREAM_ID_INVALID = "ERR Invalid stream ID specified as stream command argument";
    INTERVAL_START = "ERR invalid start ID for the interval";
    INTERVAL_END = "ERR invalid end ID for the interval";
    XADD_ID_ZERO = "ERR The ID specified in XADD must be greater than 0-0";
    XADD_ID_TOO_SMALL = "ERR The ID specified in XADD is equal or smaller than the target stream top item";
    STREAM_EXHAUSTED = "ERR The stream has exhausted the last possible ID, unable to add more items";
    STREAM_ELEMENTS_TOO_LARGE = "ERR Elements are too large to be stored";
    TRIM_BOTH = "ERR syntax error, MAXLEN and MINID options at the same time are not compatible";
    TRIM_LIMIT_NEGATIVE = "ERR The LIMIT argument must be >= 0.";
    TRIM_LIMIT_ALONE = "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy";
    TRIM_LIMIT_EXACT = "ERR syntax error, LIMIT cannot be used without the special ~ option";
    MAXLEN_NEGATIVE = "ERR The MAXLEN argument must be >= 0.";
    XTRIM_WITHOUT_STRATEGY = "ERR syntax error, XTRIM must be called with a trimming strategy";
    ENTRIES_ADDED_NEGATIVE = "ERR entries_added must be positive";
    ENTRIES_ADDED_TOO_SMALL = "ERR The entries_added specified in XSETID is smaller than the target stream length";
    XSETID_BELOW_GIVEN = "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id";
    XSETID_BELOW_DELETED = "ERR The ID specified in XSETID is smaller than current max_deleted_entry_id";
    XSETID_BELOW_TOP = "ERR The ID specified in XSETID is smaller than the target stream top item";
    TIMEOUT_NOT_AN_INTEGER = "ERR timeout is not an integer or out of range";
    GROUP_IN_XREAD = "ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.";
    NOACK_IN_XREAD = "ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.";
    NEW_ENTRIES_IN_XREAD = "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.";
    XREADGROUP_WITHOUT_GROUP = "ERR Missing GROUP option for XREADGROUP";
    LAST_IN_XREADGROUP = "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set.";
    NEXT_IN_XREADGROUP = "ERR The + ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by specifying a proper ID, or use the > ID to get new messages. The + ID would just return an empty result set.";
    XGROUP_WITHOUT_KEY = "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.";
    BUSY_GROUP = "BUSYGROUP Consumer Group name already exists";
    ENTRIES_READ_NEGATIVE = "ERR value for ENTRIESREAD must be positive or -1";
    INVALID_MIN_IDLE = "ERR Invalid min-idle-time argument for XCLAIM";
    INVALID_MIN_IDLE_AUTO = "ERR Invalid min-idle-time argument for XAUTOCLAIM";
    INVALID_IDLE = "ERR Invalid IDLE option argument for XCLAIM";
    INVALID_TIME = "ERR Invalid TIME option argument for XCLAIM";
    INVALID_RETRY_COUNT = "ERR Invalid RETRYCOUNT option argument for XCLAIM";
    CLAIM_COUNT_NOT_POSITIVE = "ERR COUNT must be > 0";
    LONG_OUT_OF_RANGE = "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807";
}

/// An error whose text quotes arguments, its parts in order.
fn quoting(parts: &[&[u8]]) -> Error {
    Error::made(parts.concat())
}

/// An argument as Redis prints it into a text: as a C string, which ends at a zero.
fn printed(arg: &[u8]) -> &[u8] {
    arg.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Of a name or an argument, so many bytes at most are printed in the answers to what is unknown.
const MOST: usize = 128;

fn clipped(arg: &[u8], most: usize) -> &[u8] {
    let arg = printed(arg);
    &arg[..arg.len().min(most)]
}

/// The answer to an unknown command, with the beginnings of its arguments.
pub(crate) fn unknown_command(args: larder_protocol::Args<'_>) -> Error {
    let mut beginning = Vec::new();
    for arg in args.iter().skip(1) {
        if beginning.len() >= MOST {
            break;
        }
        let room = MOST - beginning.len();
        beginning.extend_from_slice(&[b"'", clipped(arg, room), b"' "].concat());
    }
    quoting(&[b"ERR unknown command '", clipped(&args[0], MOST), b"', with args beginning with: ", &beginning])
}

/// The answer to an unknown subcommand of a container command.
pub(crate) fn unknown_subcommand(container: &str, name: &[u8]) -> Error {
    let container = container.to_uppercase();
    quoting(&[b"ERR unknown subcommand '", clipped(name, MOST), b"'. Try ", container.as_bytes(), b" HELP."])
}

/// The answer to a wrong number of arguments; `name` is `get` or `config|get`.
pub(crate) fn wrong_arity(name: &str) -> Error {
    Error::made(format!("ERR wrong number of arguments for '{name}' command"))
}

/// The answer to a combination of no sorted sets.
pub(crate) fn no_input_keys(name: &str) -> Error {
    Error::made(format!("ERR at least 1 input key is needed for '{name}' command"))
}

/// The answer to an expiry that cannot be.
pub(crate) fn invalid_expire(name: &str) -> Error {
    Error::made(format!("ERR invalid expire time in '{name}' command"))
}

/// The answer to an option of EXPIRE and its like that there is not.
pub(crate) fn unsupported_option(option: &[u8]) -> Error {
    quoting(&[b"ERR Unsupported option ", printed(option)])
}

/// The answer to an option that CONFIG SET does not know.
pub(crate) fn unknown_config(name: &[u8]) -> Error {
    quoting(&[b"ERR Unknown option or number of arguments for CONFIG SET - '", printed(name), b"'"])
}

/// The answer to an option that HELLO does not know.
pub(crate) fn hello_option(option: &[u8]) -> Error {
    quoting(&[b"ERR Syntax error in HELLO option '", printed(option), b"'"])
}

/// The answer to a class of clients that there is not.
pub(crate) fn unknown_client_type(name: &[u8]) -> Error {
    quoting(&[b"ERR Unknown client type '", printed(name), b"'"])
}

/// The answer to an event that the latency monitor knows nothing of.
pub(crate) fn no_samples(event: &[u8]) -> Error {
    quoting(&[b"ERR No samples available for event '", printed(event), b"'"])
}

/// The answer to a user that there is not.
pub(crate) fn no_such_user(name: &[u8]) -> Error {
    quoting(&[b"ERR No such user '", printed(name), b"'"])
}

/// The answer to an attribute that CLIENT SETINFO does not know.
pub(crate) fn unknown_attribute(name: &[u8]) -> Error {
    quoting(&[b"ERR Unrecognized option '", printed(name), b"'"])
}

/// The answer to a value that CLIENT LIST could not show.
pub(crate) fn attribute_characters(name: &[u8]) -> Error {
    quoting(&[b"ERR ", printed(name), b" cannot contain spaces, newlines or special characters."])
}

/// The answer to a subcommand that is unknown or has a wrong number of arguments, where Redis does not tell which.
pub(crate) fn subcommand_or_arity(container: &str, name: &[u8]) -> Error {
    let name = clipped(name, MOST);
    let container = container.as_bytes();
    quoting(&[b"ERR unknown subcommand or wrong number of arguments for '", name, b"'. Try ", container, b" HELP."])
}

/// The answer to CLIENT TRACKING with a prefix that begins as another, or the other way round.
pub(crate) fn prefixes_overlap(prefix: &[u8], which: &str, other: &[u8]) -> Error {
    let which = format!("' overlaps with {which} prefix '");
    let end = b"'. Prefixes for a single client must not overlap.";
    quoting(&[b"ERR Prefix '", prefix, which.as_bytes(), other, end])
}

/// The answer to coordinates that are not on the map.
pub(crate) fn not_on_the_map(longitude: f64, latitude: f64) -> Error {
    Error::made(format!("ERR invalid longitude,latitude pair {longitude:.6},{latitude:.6}"))
}

/// The answer to a search without a middle; `name` is the command's as it was called.
pub(crate) fn geo_needs_center(name: &[u8]) -> Error {
    quoting(&[b"ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for ", printed(name)])
}

/// The answer to a search without an outline.
pub(crate) fn geo_needs_outline(name: &[u8]) -> Error {
    quoting(&[b"ERR exactly one of BYRADIUS and BYBOX can be specified for ", printed(name)])
}

/// The answer to a subcommand that PFDEBUG does not know.
pub(crate) fn unknown_pfdebug(name: &[u8]) -> Error {
    quoting(&[b"ERR Unknown PFDEBUG subcommand '", printed(name), b"'"])
}

/// The answer to a PFSELFTEST that found something wrong.
pub(crate) fn self_test_failed(what: &str) -> Error {
    Error::made(format!("ERR TESTFAILED {what}"))
}

/// The answer to XREAD and XREADGROUP when there is not an id for each stream.
pub(crate) fn unbalanced_streams(name: &str, grouped: bool) -> Error {
    let symbol = if grouped { '>' } else { '$' };
    Error::made(format!(
        "ERR Unbalanced '{name}' list of streams: for each stream key an ID or '{symbol}' must be specified."
    ))
}

/// The answer to XREADGROUP without the stream or the group.
pub(crate) fn no_group_to_read(key: &[u8], group: &[u8]) -> Error {
    quoting(&[b"NOGROUP No such key '", key, b"' or consumer group '", group, b"' in XREADGROUP with GROUP option"])
}

/// The answer to commands on pending entries without the stream or the group.
pub(crate) fn no_key_or_group(key: &[u8], group: &[u8]) -> Error {
    quoting(&[b"NOGROUP No such key '", key, b"' or consumer group '", group, b"'"])
}

/// The answer to a group that a stream has not.
pub(crate) fn no_such_group(group: &[u8], key: &[u8]) -> Error {
    quoting(&[b"NOGROUP No such consumer group '", group, b"' for key name '", key, b"'"])
}

/// The answer to an option that XCLAIM does not know.
pub(crate) fn unknown_claim_option(option: &[u8]) -> Error {
    quoting(&[b"ERR Unrecognized XCLAIM option '", option, b"'"])
}

/// The answer to an EXEC that was itself refused.
pub(crate) fn exec_refused(reason: &Error) -> Error {
    let reason = reason.text().strip_prefix(b"ERR ").unwrap_or(reason.text());
    quoting(&[b"EXECABORT Transaction discarded because of: ", reason])
}

/// What is wrong with a rule of a user.
pub(crate) fn rule_reason(error: RuleError) -> &'static str {
    match error {
        RuleError::Unknown => "Unknown command or category name in ACL",
        RuleError::Syntax => "Syntax error",
        RuleError::KeysAfterAll => {
            "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. Try \
             'resetkeys' to start with an empty list of patterns"
        }
        RuleError::ChannelsAfterAll => {
            "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any effect. \
             Try 'resetchannels' to start with an empty list of channels"
        }
        RuleError::NoSuchPassword => "The password you are trying to remove from the user does not exist",
        RuleError::BadHash => {
            "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
        }
        RuleError::FirstArgOfSubcommand => "Allowing first-arg of a subcommand is not supported",
    }
}

/// The answer to a wrong rule in ACL SETUSER.
pub(crate) fn setuser_rule(rule: &[u8], error: RuleError) -> Error {
    let reason = rule_reason(error).as_bytes();
    quoting(&[b"ERR Error in ACL SETUSER modifier '", printed(rule), b"': ", reason])
}

/// The answer to a selector without its end in ACL SETUSER; `first` is the argument that it begins with.
pub(crate) fn unmatched_parenthesis(first: &[u8]) -> Error {
    quoting(&[b"ERR Unmatched parenthesis in acl selector starting at '", printed(first), b"'."])
}

/// What is wrong with a user that the configuration declares.
pub(crate) fn declaration(part: &[u8], reason: &str) -> String {
    format!("Error in user declaration '{}': {reason}", String::from_utf8_lossy(part))
}

/// Why a user that the configuration declares cannot be made.
pub(crate) fn startup_rule(rule: &[u8], user: &[u8], error: RuleError) -> String {
    let [rule, user] = [rule, user].map(String::from_utf8_lossy);
    format!("Error loading ACL rule '{rule}' for the user named '{user}': {}", rule_reason(error))
}

/// The answer to ACL LOAD of a file with errors.
pub(crate) fn acl_load(errors: Vec<u8>) -> Error {
    quoting(&[b"ERR ", &errors])
}

/// What a user may not do, with names: the answer of ACL DRYRUN.
pub(crate) fn permission_missing(user: &[u8], denied: Denied, object: &[u8]) -> Vec<u8> {
    let (what, kind): (&[u8], &[u8]) = match denied {
        Denied::Command => (b" has no permissions to run the '", b"' command"),
        Denied::Key(_) => (b" has no permissions to access the '", b"' key"),
        Denied::Channel(_) => (b" has no permissions to access the '", b"' channel"),
    };
    [b"User ", user, what, object, kind].concat()
}

/// The answer to a call that the rules of the user forbid. Names of keys and channels stay out of it.
pub(crate) fn no_permission(user: &[u8], command: &str, denied: Denied) -> Error {
    match denied {
        Denied::Command => quoting(&[b"NOPERM ", &permission_missing(user, denied, command.as_bytes())]),
        Denied::Key(_) => Error::fixed("NOPERM No permissions to access a key"),
        Denied::Channel(_) => Error::fixed("NOPERM No permissions to access a channel"),
    }
}

/// The answer to a call of a script that the rules of its user forbid.
pub(crate) fn no_permission_in_script(user: &[u8], command: &str, denied: Denied) -> Error {
    let what: Cow<'static, [u8]> = match denied {
        Denied::Command => permission_missing(user, denied, command.as_bytes()).into(),
        Denied::Key(_) => b"No permissions to access a key".into(),
        Denied::Channel(_) => b"No permissions to access a channel".into(),
    };
    quoting(&[b"ERR ACL failure in script: ", &what])
}

/// The answer to a script that does not compile.
pub(crate) fn script_does_not_compile(text: &[u8]) -> Error {
    quoting(&[b"ERR Error compiling script (new function): ", text])
}

/// The answer to a script or function that was ended, or that has raised an error.
pub(crate) fn script_failed(text: &[u8], name: &str, place: Option<&Place>) -> Error {
    let name = name.as_bytes();
    match place {
        Some(Place { source, line }) => {
            quoting(&[text, b" script: ", name, b", on ", source, format!(":{line}.").as_bytes()])
        }
        None => quoting(&[text, b" script: ", name]),
    }
}

/// The answers to FUNCTION LOAD of what is there already.
pub(crate) fn library_already_exists(name: &[u8]) -> Error {
    quoting(&[b"ERR Library '", name, b"' already exists"])
}

/// The same, where several libraries come together.
pub(crate) fn library_exists(name: &[u8]) -> Error {
    quoting(&[b"ERR Library ", name, b" already exists"])
}

/// See [`library_already_exists`].
pub(crate) fn function_exists(name: &[u8]) -> Error {
    quoting(&[b"ERR Function ", name, b" already exists"])
}

/// The answers to a library that cannot be loaded.
pub(crate) fn library_engine_unknown(name: &[u8]) -> Error {
    quoting(&[b"ERR Engine '", name, b"' not found"])
}

/// See [`library_engine_unknown`].
pub(crate) fn library_option_unknown(option: &[u8]) -> Error {
    quoting(&[b"ERR Invalid metadata value given: ", printed(option)])
}

/// See [`library_engine_unknown`].
pub(crate) fn library_does_not_compile(text: &[u8]) -> Error {
    quoting(&[b"ERR Error compiling function: ", text])
}

/// See [`library_engine_unknown`].
pub(crate) fn library_does_not_register(text: &[u8]) -> Error {
    quoting(&[b"ERR Error registering functions: ", text])
}

/// The answers to options of FUNCTION that there are not.
pub(crate) fn load_option_unknown(option: &[u8]) -> Error {
    quoting(&[b"ERR Unknown option given: ", printed(option)])
}

/// See [`load_option_unknown`].
pub(crate) fn list_option_unknown(option: &[u8]) -> Error {
    quoting(&[b"ERR Unknown argument ", printed(option)])
}

/// The answers to what is wrong with the first line of a script.
pub(crate) fn script_engine_unknown(name: &[u8]) -> Error {
    quoting(&[b"ERR Unexpected engine in script shebang: ", name])
}

/// See [`script_engine_unknown`].
pub(crate) fn script_option_unknown(option: &[u8]) -> Error {
    quoting(&[b"ERR Unknown lua shebang option: ", option])
}

/// See [`script_engine_unknown`].
pub(crate) fn script_flag_unknown(name: &[u8]) -> Error {
    quoting(&[b"ERR Unexpected flag in script shebang: ", name])
}

/// The answer to a queued call that the rules of the user have come to forbid.
pub(crate) fn no_permission_any_more(denied: Denied) -> Error {
    let reason = match denied {
        Denied::Command => "no permission to execute the command or subcommand",
        Denied::Key(_) => "no permission to touch the specified keys",
        Denied::Channel(_) => "no permission to access one of the channels used as arguments",
    };
    Error::made(format!(
        "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command is \
         no longer allowed for the following reason: {reason}"
    ))
}

/// The answer to a category of commands that there is not.
pub(crate) fn unknown_category(name: &[u8]) -> Error {
    quoting(&[b"ERR Unknown category '", clipped(name, MOST), b"'"])
}

/// The answer of ACL DRYRUN to a user that there is not.
pub(crate) fn user_not_found(name: &[u8]) -> Error {
    quoting(&[b"ERR User '", printed(name), b"' not found"])
}

/// The answer of ACL DRYRUN to a command that there is not.
pub(crate) fn command_not_found(name: &[u8]) -> Error {
    quoting(&[b"ERR Command '", printed(name), b"' not found"])
}

/// The answer to a password of a length that cannot be.
pub(crate) fn password_bits(most: i64) -> Error {
    Error::made(format!(
        "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to {most}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_quoted_stays_bytes() {
        let error = unknown_subcommand("config", b"\xff\xfe\0x");
        assert_eq!(error.text(), b"ERR unknown subcommand '\xff\xfe'. Try CONFIG HELP.");
        assert_eq!(error.code(), "ERR");
        assert_eq!(exec_refused(&error).code(), "EXECABORT");
        assert_eq!(SYNTAX.to_string(), "ERR syntax error");
    }
}

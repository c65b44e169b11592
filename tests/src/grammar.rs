//! A grammar of random commands over few keys, with arguments that make trouble.
//!
//! Every command is deterministic: no relative expiry, no random member, no time, so that two servers given the same
//! commands must give the same replies. `~` marks those whose elements may come in any order, `%` those that
//! answer an encoding.

use crate::both::Compare;
use crate::random::Random;

/// The commands. `<name>` stands for an argument made by [`argument`]; `[a|b|]` for one of the alternatives.
const TEMPLATES: &[&str] = &[
    "SET <key> <value> [NX|XX||||] [GET||||] [PXAT <later>|EXAT <later-second>|KEEPTTL|||||]",
    "SET <key> <value>",
    "SET <key> <integer>",
    "GET <key>",
    "GET <key>",
    "GETEX <key> [PXAT <when>|EXAT <second>|PERSIST|]",
    "GETDEL <key>",
    "GETSET <key> <value>",
    "SETNX <key> <value>",
    "MSET <key> <value> <key> <value> [<key> <value>|]",
    "MSETNX <key> <value> <key> <value>",
    "MGET <key> <key> <key>",
    "APPEND <key> <value>",
    "EVAL return(redis.call(ARGV[1],KEYS[1])) 1 <key> [GET|INCR|DEL|LLEN|STRLEN|TYPE]",
    "EVAL redis.call('SET',KEYS[1],ARGV[1])return(redis.call('APPEND',KEYS[1],ARGV[1])) 1 <key> <value>",
    "FUNCTION LOAD [REPLACE|REPLACE|] <library>",
    "FUNCTION DELETE [one|two|x]",
    "FUNCTION LIST LIBRARYNAME [one|TWO|thr*|x] [WITHCODE|]",
    "FUNCTION STATS",
    "[FCALL|FCALL|FCALL_RO] [put|PUT|read|kind|count|missing] 1 <key> <value>",
    "STRLEN <key>",
    "SETRANGE <key> <offset> <value>",
    "[GETRANGE|SUBSTR] <key> <index> <index>",
    "[INCR|DECR] <key>",
    "[INCRBY|DECRBY] <key> <integer>",
    "INCRBYFLOAT <key> <float>",
    "LCS <key> <key> [LEN|IDX|IDX WITHMATCHLEN|IDX MINMATCHLEN 2|]",
    "[DEL|UNLINK] <key> [<key>|]",
    "[EXISTS|TOUCH] <key> <key>",
    "TYPE <key>",
    "% OBJECT ENCODING [<key>|<key>|<set>|<list>]",
    "[RENAME|RENAMENX] <key> <key>",
    "COPY <key> <key> [REPLACE|DB 1|DB 1 REPLACE|]",
    "MOVE <key> [0|1|2]",
    "SELECT [0|0|0|1]",
    "SWAPDB 0 1",
    "DBSIZE",
    "~ KEYS <pattern>",
    "~ SCAN 0 COUNT 100000 [MATCH <pattern>|] [TYPE string|TYPE list|TYPE set|TYPE zset|TYPE hash|]",
    "PEXPIREAT <key> <when> [NX|XX|GT|LT||]",
    "EXPIREAT <key> <second> [NX|XX|GT|LT||]",
    "[EXPIRE|PEXPIRE] <key> [-1|0|-9223372036854775808|x]",
    "[PEXPIRETIME|EXPIRETIME|PEXPIRETIME] <key>",
    "PERSIST <key>",
    "HSET <hash> <field> <value> [<field> <value>|<field> <value> <field> <value>|]",
    "HSET <key> <field> <value>",
    "HSET wide <wide> <value> <wide> <integer> <wide> <value> <wide> <value> <wide> <value> <wide> <value>",
    "HSET wide <wide> <value> <wide> <integer> <wide> <value> <wide> <value> <wide> <value> <wide> <value>",
    "HDEL wide <wide> <wide> <wide> <wide>",
    "[HGET|HSTRLEN|HEXISTS] wide <wide>",
    "[HSETNX|HMSET] <hash> <field> <value>",
    "[HINCRBY|HINCRBYFLOAT] <hash> <field> <integer>",
    "[HINCRBYFLOAT] <hash> <field> <float>",
    "[HGET|HGET|HSTRLEN|HEXISTS|HDEL] <hash> <field>",
    "[HMGET|HDEL] <hash> <field> <field>",
    "HLEN <hash>",
    "~ [HGETALL|HKEYS|HVALS] <hash>",
    "~ HSCAN <hash> 0 COUNT 100000 [MATCH <pattern>|]",
    "~ HRANDFIELD <hash> 100000 [WITHVALUES|]",
    "ZADD <key> <score> <member> [<score> <member>|<score> <member> <score> <member>|]",
    "ZADD <key> [NX|XX||] [GT|LT||] [CH|] [INCR|||] <score> <member>",
    "ZADD <key> <score> <member> <score> <member> <score> <member> <score> <member> <score> <member>",
    "ZADD big <score> <wide> <score> <wide> <score> <wide> <score> <wide> <score> <wide> <score> <wide>",
    "ZADD big <score> <wide> <score> <wide> <score> <wide> <score> <wide> <score> <wide> <score> <wide>",
    "ZREM big <wide> <wide> <wide>",
    "ZRANGE big <index> <index> [REV|] [WITHSCORES|]",
    "[ZRANK|ZREVRANK|ZSCORE] big <wide>",
    "ZINCRBY <key> <score> <member>",
    "ZREM <key> <member> [<member>|]",
    "ZCARD <key>",
    "[ZSCORE|ZRANK|ZREVRANK] <key> <member>",
    "ZMSCORE <key> <member> <member>",
    "[ZRANGE|ZREVRANGE] <zset> <index> <index> [WITHSCORES|]",
    "ZRANGE <zset> <bound> <bound> BYSCORE [REV|] [LIMIT 0 <index>|LIMIT 1 <index>|] [WITHSCORES|]",
    "ZRANGE <zset> <lex> <lex> BYLEX [REV|] [LIMIT 0 <index>|LIMIT 1 <index>|]",
    "ZRANGESTORE <key> <zset> <index> <index> [REV|]",
    "ZRANGESTORE <key> <zset> <bound> <bound> BYSCORE [REV|] [LIMIT 0 <index>|LIMIT 1 <index>|]",
    "[ZRANGEBYSCORE|ZREVRANGEBYSCORE] <zset> <bound> <bound> [WITHSCORES|] [LIMIT 0 <index>|LIMIT 1 <index>|]",
    "[ZRANGEBYLEX|ZREVRANGEBYLEX] <zset> <lex> <lex> [LIMIT 0 <index>|LIMIT 1 <index>|]",
    "ZCOUNT <zset> <bound> <bound>",
    "ZLEXCOUNT <zset> <lex> <lex>",
    "ZREMRANGEBYRANK <key> <index> <index>",
    "ZREMRANGEBYSCORE <key> <bound> <bound>",
    "ZREMRANGEBYLEX <key> <lex> <lex>",
    "[ZPOPMIN|ZPOPMAX] <zset> [<count>|]",
    "ZMPOP 2 <key> <key> [MIN|MAX] [COUNT <count>|]",
    "[ZUNION|ZINTER] 2 <zset> <zset> [WEIGHTS <float> <float>|] [AGGREGATE MIN|AGGREGATE MAX|] WITHSCORES",
    "[ZUNIONSTORE|ZINTERSTORE] <key> 2 <zset> <zset> [WEIGHTS <float> <float>|] [AGGREGATE MIN|AGGREGATE MAX|]",
    "ZDIFF 2 <zset> <zset> [WITHSCORES|]",
    "ZDIFFSTORE <key> 2 <zset> <zset>",
    "ZINTERCARD 2 <zset> <zset> [LIMIT <count>|]",
    "~ ZSCAN <key> 0 COUNT 100000",
    "SADD <set> <element> [<element> <element>|<element>|]",
    "SADD <set> <element> <element> <element> <element> <element> <element> <element>",
    "SADD many <wide> <wide> <wide> <wide> <wide> <wide> <wide> <wide>",
    "SADD ints <number> <number> <number> <number> <number> <number>",
    "SREM <set> <element> [<element>|]",
    "SREM [many|ints] <wide> <number> <wide> <number>",
    "SCARD <set>",
    "SISMEMBER <set> <element>",
    "SMISMEMBER <set> <element> <number> <wide>",
    "SMISMEMBER [many|ints] <wide> <number> <element>",
    "~ SMEMBERS <set>",
    "SMOVE <set> <set> <element>",
    "SMOVE [many|ints] <set> [<wide>|<number>]",
    "~ [SUNION|SINTER|SDIFF] <set> <set> [<set>|<set> <set>|]",
    "[SUNIONSTORE|SINTERSTORE|SDIFFSTORE] <key> <set> [<set>|<set> <set>|]",
    "SINTERCARD 2 <set> <set> [LIMIT <count>|]",
    "~ SSCAN <set> 0 COUNT 100000 [MATCH m*|]",
    "SPOP <key> [0|-1|x]",
    "~ SPOP <set> 1000000",
    "~ SRANDMEMBER <set> [0|1000000|x]",
    "[ZUNION|ZINTER] 2 <set> <zset> [AGGREGATE MIN|AGGREGATE MAX|] WITHSCORES",
    "[ZUNIONSTORE|ZINTERSTORE|ZDIFFSTORE] <key> 2 <set> <zset>",
    "ZDIFF 2 <zset> <set> WITHSCORES",
    "[LPUSH|RPUSH] <list> <item> [<item> <item>|<item>|]",
    "[LPUSH|RPUSH] <list> <item> <item> <item> <item> <item> <item> <item>",
    "[LPUSH|RPUSH] [large|<key>] <item> <long> <item> <long> <item> <long>",
    "[LPUSHX|RPUSHX] <list> <item> [<item>|]",
    "[LPOP|RPOP] <list> [<count>|]",
    "LMPOP 2 <key> <list> [LEFT|RIGHT] [COUNT <count>|]",
    "LLEN <list>",
    "LINDEX <list> <index>",
    "LRANGE <list> <index> <index>",
    "LPOS <list> <item> [RANK <index>|] [COUNT <count>|] [MAXLEN <count>|]",
    "LSET <list> <index> [<item>|<item>|<long>]",
    "LINSERT <list> [BEFORE|AFTER] <item> [<item>|<item>|<long>]",
    "LREM <list> [0|0|1|2|-1|-2|x] <item>",
    "LTRIM <list> <index> [-1|-1|100|<index>]",
    "LMOVE <list> <list> [LEFT|RIGHT] [LEFT|RIGHT]",
    "RPOPLPUSH <list> <list>",
    // Keys that never hold a sorted set: SORT gives a small one another form on one side only.
    "RPUSH sl <item> <number>",
    "LPUSH sl <number> <number>",
    "[LPOP|RPOP] sl 3",
    "SADD ss <number> <element>",
    "[SORT|SORT_RO] sl [ALPHA||] [ASC|DESC||] [LIMIT 0 3|LIMIT <count> <count>||]",
    "~ [SORT|SORT_RO] ss [ALPHA||] [ASC|DESC||]",
    "~ SORT [sl|ss] BY [key:*|nosort|*|h*->f1|a] [GET #|GET *|GET h*->f1||] [ALPHA||]",
    "SORT [sl|ss] [ALPHA|ALPHA||] [BY nosort||||] STORE <key>",
    "SETBIT <key> <bit> [0|1|1|2|x]",
    "SETBIT <key> <bit> [0|1]",
    "GETBIT <key> <bit>",
    "BITCOUNT <key> [<whole> <whole>|<whole> <whole> BYTE|<whole> <whole> BIT|]",
    "BITPOS <key> [0|1] [<whole>|<whole> <whole>|<whole> <whole> BYTE|<whole> <whole> BIT|]",
    "BITOP [AND|OR|XOR] <key> <key> <key> [<key>|]",
    "BITOP NOT <key> <key>",
    "BITFIELD <key> GET <bitfield> <bit> [SET <bitfield> <bit> <integer>|INCRBY <bitfield> #1 <integer>|]",
    "BITFIELD <key> [OVERFLOW SAT|OVERFLOW FAIL|OVERFLOW WRAP|] [SET|INCRBY] <bitfield> <bit> <integer> GET u8 <bit>",
    "BITFIELD_RO <key> GET <bitfield> <bit> [GET i64 0|SET u8 0 1|]",
    "PFADD <hll> <value> [<value> <member> <member>|<wide> <wide> <wide> <wide> <wide> <wide> <wide> <wide>|]",
    "PFADD <hll> <wide> <wide> <wide> <wide> <wide> <wide> <wide> <wide> <wide> <wide> <wide> <wide> <wide>",
    "PFADD <key> [<value>|]",
    "PFCOUNT [<hll>|<hll> <hll>|<key>|<hll> <key>]",
    "PFMERGE <hll> [<hll>|<hll> <hll>|]",
    "PFDEBUG [ENCODING|DECODE|TODENSE] <hll>",
    "[GET|STRLEN] <hll>",
    "COPY <hll> <hll> REPLACE",
    "DEL <hll>",
    "GEOADD <geo> [NX|XX||||] [CH||] <longitude> <latitude> <member> [<longitude> <latitude> <member>|]",
    "GEOADD <geo> <longitude> <latitude> <wide> <longitude> <latitude> <wide> <longitude> <latitude> <wide>",
    "[GEOPOS|GEOHASH] <geo> <member> <wide>",
    "GEODIST <geo> <member> <member> [km|mi|x|]",
    "GEOSEARCH <geo> FROMLONLAT <longitude> <latitude> BYRADIUS <radius> [m|km] [ASC|DESC|] [WITHDIST|] [WITHCOORD|]",
    "GEOSEARCH <geo> FROMMEMBER <member> BYBOX <radius> <radius> km [COUNT <count>|COUNT <count> ANY|] [WITHHASH|]",
    "GEOSEARCHSTORE <geo> <geo> FROMLONLAT <longitude> <latitude> BYRADIUS <radius> km [STOREDIST|] [COUNT <count>|]",
    "GEORADIUS <geo> <longitude> <latitude> <radius> km [STORE <key>|STOREDIST <geo>|STORE|STORE <geo> STORE <key>|ASC]",
    "GEORADIUSBYMEMBER <geo> <member> <radius> [km|mi] [STORE <geo>|STOREDIST <key>|WITHDIST COUNT <count>|]",
    "XADD <stream> [NOMKSTREAM||||] [MAXLEN <count>|MAXLEN ~ <count>|MINID <id>|MINID ~ <id>|||||||] [<id>|<next>|<next>] <member> <value>",
    "XADD <stream> <next> <member> <value> <member> <value>",
    "XADD <stream> <next> name <value>",
    "XADD <stream> <next> name <value>",
    "XDEL <stream> <id> [<id> <id>|]",
    "XTRIM <stream> [MAXLEN|MAXLEN ~] <count> [LIMIT 2||]",
    "XTRIM <stream> [MINID|MINID ~] <id>",
    "XLEN <stream>",
    "[XRANGE|XREVRANGE] <stream> [-|+|<id>|<open>] [-|+|<id>|+] [COUNT <count>|]",
    "XREAD [COUNT <count>|] STREAMS <stream> <stream> [<id>|0|0] [<id>|$|0]",
    "XINFO STREAM <stream>",
    "XGROUP CREATE <stream> <group> [0|0|$|<id>] [MKSTREAM|]",
    "XGROUP SETID <stream> <group> [0|$|<id>] [ENTRIESREAD <count>|]",
    "XGROUP [DESTROY <stream> <group>|CREATECONSUMER <stream> <group> <member>|DELCONSUMER <stream> <group> <member>]",
    "XREADGROUP GROUP <group> <consumer> [COUNT <count>|] [NOACK|||] STREAMS <stream> [>|>|>|0|<id>]",
    "XREADGROUP GROUP <group> <consumer> COUNT 2 STREAMS <stream> <stream> > [>|0]",
    "XACK <stream> <group> <id> <id> <id>",
    "XPENDING <stream> <group>",
    "XCLAIM <stream> <group> <consumer> 0 <id> <id> [FORCE||] [JUSTID|] [RETRYCOUNT 3||] [LASTID <id>||]",
    "XAUTOCLAIM <stream> <group> <consumer> 0 [0|<id>] [COUNT 2|] [JUSTID|]",
    "RESTORE [<key>|<list>|<set>|<stream>|<hash>] 0 <payload> [REPLACE|REPLACE||]",
    "RESTORE <key> [<later>|<when>|-1] <payload> ABSTTL [REPLACE|] [FREQ 7|IDLETIME 7|FREQ 7 IDLETIME 7|||]",
    "MULTI",
    "EXEC",
    "EXEC",
    "DISCARD",
    "WATCH <key> [<key>|]",
    "UNWATCH",
    "PUBLISH <key> <value>",
    "ECHO <value>",
    "ACL SETUSER [alice|bob] <rule> [<rule>|<rule> <rule>|]",
    "ACL DELUSER [alice|bob] [bob|nobody|]",
    "ACL [USERS|WHOAMI|CAT|CAT <garbage>]",
    "ACL DRYRUN [default|alice] [<garbage> <key>|AUTH <value>|QUIT]",
    "<garbage> <key> <integer>",
    "[GET|SET|SADD|SMOVE|ZADD|ZRANGE|HSET|HGET|EXPIRE|COPY|ZUNION|OBJECT|CONFIG|INCR] [<garbage>|] [<key>|]",
];

/// Commands of which the outcome depends on the time or on chance: for one engine whose clock a test moves.
const TIMED: &[&str] = &[
    "SET <key> <value> [NX|XX||||] [EX|PX] <soon>",
    "SET <many> <text> [PX <soon>|PX <soon>|]",
    "SET <many> <text> [EX <soon>||]",
    "[SETEX|PSETEX] <key> <soon> <value>",
    "GETEX <key> [EX <soon>|PX <soon>|PERSIST]",
    "[EXPIRE|PEXPIRE|PEXPIRE] <key> <soon> [NX|XX|GT|LT||||]",
    "[EXPIRE|PEXPIRE] <many> <soon>",
    "[TTL|PTTL|GET|EXISTS] <key>",
    "[GET|TOUCH|GETDEL|PERSIST] <many>",
    "MSET <many> <text> <many> <text> <key> <value>",
    "DEL <many> <many> <key>",
    "[RENAME|RENAMENX|COPY] <many> <key>",
    "[RENAME|RENAMENX|COPY] <key> <many>",
    "COPY <key> <many> DB [0|1|2] [REPLACE|]",
    "MOVE <many> [0|1|2]",
    "SELECT [0|1|2]",
    "SWAPDB [0|1|2] [0|1|2]",
    "INCRBYFLOAT <many> <float>",
    "INCR <many>",
    "ZADD <zset> <score> <wide> <score> <wide> <score> <wide>",
    "ZINCRBY <zset> <float> <member>",
    "ZRANDMEMBER <zset> [<count>|<count> WITHSCORES|-3|]",
    "SADD <set> <element> <wide> <wide> <number>",
    "SPOP <set> [<count>|]",
    "SPOP [many|ints] [<count>|50|300|]",
    "SRANDMEMBER <set> [<count>|-3|]",
    "[ZPOPMIN|ZPOPMAX] big [<count>|]",
    "HSET <hash> <wide> <value> <wide> <text> <field> <integer>",
    "HSET <many> <field> <text> <field> <value>",
    "[HEXPIRE|HPEXPIRE|HPEXPIRE] <hash> <soon> [NX|XX|GT|LT||||] FIELDS 2 <field> <wide>",
    "[HEXPIRE|HPEXPIRE] <hash> <soon> FIELDS 3 <wide> <wide> <wide>",
    "HPEXPIRE <many> <soon> [NX|GT|] FIELDS 2 <field> <field>",
    "HPEXPIREAT <hash> <when> [NX|LT||] FIELDS 2 <field> <field>",
    "HPERSIST <hash> FIELDS 2 <field> <wide>",
    "[HTTL|HPTTL|HEXPIRETIME|HPEXPIRETIME] <hash> FIELDS 2 <field> <field>",
    "[HGET|HDEL|HSTRLEN|HEXISTS|HMGET] <hash> <field>",
    "[HGET|HDEL|HMGET] <hash> <wide>",
    "[HINCRBY|HINCRBYFLOAT|HSETNX|HSET] <hash> <field> <integer>",
    "[HGETALL|HLEN|HRANDFIELD] <hash>",
    "HRANDFIELD <hash> [<count>|-3 WITHVALUES]",
    "[RENAME|COPY|MOVE] <hash> [<key>|<hash>|1]",
    "XADD <stream> [MAXLEN ~ 5|MAXLEN 5|MINID ~ <id>|||] * name <value>",
    "XREADGROUP GROUP <group> <consumer> COUNT 3 STREAMS <stream> [>|>|0]",
    "XCLAIM <stream> <group> <consumer> <soon> <id> <id> [IDLE <soon>|] [FORCE|]",
    "XAUTOCLAIM <stream> <group> <consumer> <soon> 0 [COUNT 3|]",
    "XPENDING <stream> <group> [IDLE <soon>|] - + 5 [<consumer>|]",
    "XSETID <stream> <id> [ENTRIESADDED <count>|] [MAXDELETEDID <id>|]",
    "XINFO [GROUPS <stream>|STREAM <stream> FULL|CONSUMERS <stream> <group>]",
    "DUMP [<key>|<list>|<set>|<stream>|<hash>]",
    "RESTORE [<key>|<hash>|<stream>] [<soon>|0] <payload> [REPLACE|REPLACE||]",
    "RANDOMKEY",
    "MULTI",
    "EXEC",
    "WATCH <many> <key>",
];

const KEYS: &[&str] = &["a", "b", "c", "d", "z1", "z2", "big", "h1", "wide", "", "key:\0\r\n", "a"];
const STREAMS: &[&str] = &["x1", "x2", "x1", "x2", "x1", "a", "missing"];
/// Ids that XADD takes, as a rule, with the next number.
const LATER_IDS: &[&str] = &["7-*", "8-*", "9-*", "10-*", "10-*", "10-*", "10-*"];
const GROUPS: &[&str] = &["g", "h", "g", "nobody"];
const CONSUMERS: &[&str] = &["ada", "bo", "cy"];
const SORTED_SETS: &[&str] = &["z1", "z2", "z1", "z2", "big", "a", "b", "missing"];
const SETS: &[&str] = &["s1", "s2", "s1", "s2", "many", "ints", "a", "b", "s3"];
const ELEMENTS: &[&str] = &[
    "1",
    "2",
    "3",
    "-1",
    "10",
    "40000",
    "-3000000000",
    "9223372036854775808",
    "007",
    "",
    "m1",
    "m2",
    "m3",
    "a member of more than sixty-four bytes, too long to stand in one packed piece",
    "\0\u{7f}",
    "3.5",
];
const HASHES: &[&str] = &["h1", "h2", "h1", "h2", "wide", "a", "b", "missing"];
const FIELDS: &[&str] = &["f1", "f2", "f3", "f4", "f5", "1", "2", "", "\0", "a field of some length"];
const LISTS: &[&str] = &["l1", "l2", "l1", "l2", "large", "large", "a", "z1", "missing"];
const ITEMS: &[&str] =
    &["a", "b", "c", "1", "2", "-5", "300", "70000", "", "01", "\0\u{7f}", "an element of some length"];
const VALUES: &[&str] = &[
    "",
    "v",
    "hello world",
    "10",
    "-1",
    "3.5",
    "9223372036854775807",
    "9223372036854775808",
    " 1",
    "1e3",
    "inf",
    "\r\n\0",
    "a value of more than forty-four bytes, too long to be embedded",
    "a value of more than sixty-four bytes, for which Redis has a hash table instead of a listpack",
    "0",
    "00",
    "abcdefghij",
];
const INTEGERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2",
    "10",
    "100",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "x",
    "1.5",
    "",
    "4294967296",
    "-4294967297",
];
const FLOATS: &[&str] =
    &["0", "1", "-1", "0.5", "2.25", "-3.75", "1e3", "10", "nan", "inf", "-inf", "x", "1e-3", "1e300"];
const SCORES: &[&str] = &[
    "0",
    "1",
    "1",
    "2",
    "2",
    "3",
    "-1",
    "-0",
    "0.5",
    "1.5",
    "2.25",
    "1e10",
    "-1e10",
    "inf",
    "-inf",
    "nan",
    "x",
    "0.1",
    "1e-7",
    "1e300",
    "9007199254740993",
    "3.14159",
    "123456789.125",
];
const MEMBERS: &[&str] = &[
    "m1",
    "m2",
    "m3",
    "m4",
    "m5",
    "m6",
    "m7",
    "m8",
    "",
    "\0\u{7f}",
    "10",
    "a member of some length",
    "a member of more than sixty-four bytes, too long for a listpack",
];
const INDEXES: &[&str] =
    &["0", "1", "2", "-1", "-2", "5", "-5", "100", "-100", "9223372036854775807", "x", "0", "-1", "3"];
const BOUNDS: &[&str] =
    &["-inf", "+inf", "0", "1", "2", "(1", "(2", "1.5", "(0.5", "-1", "1e10", "(inf", "x", "nan", "3", "(-inf"];
const WHOLE_LEXES: &[&str] = &["-", "+", "m", ""];
const PATTERNS: &[&str] = &["*", "a*", "z?", "[ab]", "[^a]", "?", "", "key:*", "*1", "\\a"];
const BITS: &[&str] = &["0", "1", "7", "8", "9", "100", "355", "360", "20000", "100000", "-1", "x", "4294967296"];
const WHOLE_NUMBERS: &[&str] =
    &["0", "1", "3", "7", "40", "-1", "-2", "-9", "2500", "9223372036854775807", "-9223372036854775808"];
const BITFIELDS: &[&str] = &["u1", "u8", "i8", "i5", "u13", "i32", "u63", "i64", "u64", "i0", "x"];
/// Libraries of one function each, as those of a library have no order, of the same names or not, and what is none.
const LIBRARIES: &[&str] = &[
    "#!lua name=one\nredis.register_function('put', function(k, a) redis.call('SET', k[1], a[1]) return redis.call('APPEND', k[1], 'x') end)",
    "#!lua name=one\nredis.register_function{function_name='read', flags={'no-writes'}, callback=function(k) return redis.call('GET', k[1]) end}",
    "#!lua name=two\nredis.register_function{function_name='kind', flags={'no-writes'}, callback=function(k) return redis.call('TYPE', k[1]) end}",
    "#!lua name=two\nredis.register_function('READ', function(k) return redis.pcall('INCR', k[1]) end)",
    "#!lua name=three\nlocal n = 0 redis.register_function('count', function() n = n + 1 return n end)",
    "#!lua name=two\nredis.nothing()",
    "#!lua name=two\nreturn",
    "x",
];

const HYPERLOGLOGS: &[&str] = &["hl1", "hl2", "hl3", "hl1"];
const PLACES: &[&str] = &["g1", "g2", "g1", "z1", "a"];
const LONGITUDES: &[&str] =
    &["0", "1", "1.5", "13.361389", "15.087269", "-179.9", "180", "-122.4194", "181", "x", "13.3613", "2"];
const LATITUDES: &[&str] =
    &["0", "1", "1.5", "38.115556", "37.502669", "85", "-85.05112878", "86", "x", "38.1155", "2"];
const RADIUSES: &[&str] = &["0", "1", "60", "100.5", "200", "1000", "5000", "20000", "1e9", "-1", "x"];
const OFFSETS: &[&str] = &["0", "1", "5", "40", "100", "-1", "x", "536870912"];
const COUNTS: &[&str] = &["0", "1", "2", "3", "10", "-1", "x", "1000000"];
/// Milliseconds: the past, then the far future.
const TIMES: &[&str] = &["1", "0", "-1", "99999999999999", "88888888888888", "77777777777777", "99999999999999", "x"];
const SECONDS: &[&str] =
    &["1", "0", "-1", "99999999999", "88888888888", "77777777777", "99999999999", "9223372036854775807"];
/// For SET: it keeps a key whose time is past, which is there for DBSIZE until either server comes round to remove it.
const LATER_TIMES: &[&str] = &["0", "-1", "99999999999999", "88888888888888", "77777777777777", "x"];
const LATER_SECONDS: &[&str] = &["0", "-1", "99999999999", "88888888888", "77777777777", "9223372036854775807"];
/// Seconds or milliseconds from now.
const DELAYS: &[&str] = &["1", "2", "5", "30", "200", "1000", "1001", "20000", "0", "-1"];
const RULES: &[&str] = &[
    "on",
    "off",
    "nopass",
    "resetpass",
    "reset",
    ">secret",
    "!2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b",
    "~a*",
    "%R~b",
    "%RW~b",
    "%X~b",
    "~*",
    "resetkeys",
    "&a",
    "&*",
    "resetchannels",
    "+get",
    "-get",
    "+@read",
    "-@write",
    "+config|get",
    "+config|nosuch",
    "+select|0",
    "+@all",
    "-@all",
    "+@nosuch",
    "(+get ~a)",
    "(+get",
    "~b)",
    "clearselectors",
    "nosuch",
    "",
];
const GARBAGE: &[&str] = &["", "nosuch", "\0", "get set", "ZZZ", "*3", "$-1", "\r\n"];

/// A random command, and how its replies are to be compared.
pub fn command(random: &mut Random) -> (Vec<Vec<u8>>, Compare) {
    let template = random.pick(TEMPLATES);
    let (compare, template) = match template.split_once(' ') {
        Some(("~", rest)) => (Compare::Sorted, rest),
        Some(("%", rest)) => (Compare::Encoding, rest),
        _ => (Compare::Exact, *template),
    };
    let mut words = Vec::new();
    expand(template, random, &mut words);
    (words, compare)
}

/// A random command for an engine of which the clock is moved by hand: relative expiry and random choices, too.
pub fn timed_command(random: &mut Random) -> Vec<Vec<u8>> {
    if random.once_in(2) {
        return command(random).0;
    }
    let mut words = Vec::new();
    expand(random.pick::<&str>(TIMED), random, &mut words);
    words
}

/// Appends the words of a template.
fn expand(template: &str, random: &mut Random, words: &mut Vec<Vec<u8>>) {
    let mut rest = template.trim_start();
    while !rest.is_empty() {
        if let Some(inside) = rest.strip_prefix('[') {
            let (alternatives, after) = inside.split_once(']').unwrap_or((inside, ""));
            let alternatives: Vec<_> = alternatives.split('|').collect();
            let choice: &str = random.pick::<&str>(&alternatives);
            expand(choice, random, words);
            rest = after.trim_start();
            continue;
        }
        let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
        words.push(match word.strip_prefix('<').and_then(|name| name.strip_suffix('>')) {
            Some(name) => argument(name, random),
            None => word.as_bytes().to_vec(),
        });
        rest = after.trim_start();
    }
}

/// A random argument of the kind that a template names.
fn argument(name: &str, random: &mut Random) -> Vec<u8> {
    let choices = match name {
        "key" => KEYS,
        "zset" => SORTED_SETS,
        "set" => SETS,
        "element" => ELEMENTS,
        "hash" => HASHES,
        "field" => FIELDS,
        "list" => LISTS,
        "item" => ITEMS,
        "value" => VALUES,
        "integer" => INTEGERS,
        "float" => FLOATS,
        "score" => SCORES,
        "member" => MEMBERS,
        "index" => INDEXES,
        "bound" => BOUNDS,
        // Among different scores a lexical range means nothing, and servers differ: here only whole ranges and errors.
        "lex" => WHOLE_LEXES,
        "pattern" => PATTERNS,
        "offset" => OFFSETS,
        "bit" => BITS,
        "whole" => WHOLE_NUMBERS,
        "bitfield" => BITFIELDS,
        "hll" => HYPERLOGLOGS,
        "library" => LIBRARIES,
        "geo" => PLACES,
        "longitude" => LONGITUDES,
        "latitude" => LATITUDES,
        "radius" => RADIUSES,
        "count" => COUNTS,
        "when" => TIMES,
        "second" => SECONDS,
        "later" => LATER_TIMES,
        "later-second" => LATER_SECONDS,
        "garbage" => GARBAGE,
        "rule" => RULES,
        "soon" => DELAYS,
        "stream" => STREAMS,
        "next" => LATER_IDS,
        "group" => GROUPS,
        "consumer" => CONSUMERS,
        "open" => return format!("({}-{}", 7 + random.below(4), random.below(20)).into_bytes(),
        "id" => return format!("{}-{}", 7 + random.below(4), random.below(20)).into_bytes(),
        "payload" => return crate::payload::any(random),
        "many" => return format!("key:{}", random.below(300)).into_bytes(),
        "text" => return vec![b'a' + random.below(26) as u8; random.below(700)],
        "number" => return random.below(700).to_string().into_bytes(),
        "long" => return vec![b'a' + random.below(3) as u8; random.below(3000)],
        "wide" => return format!("m{}", random.below(500)).into_bytes(),
        other => panic!("no argument is called {other}"),
    };
    random.pick(choices).as_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_expands() {
        let mut random = Random::new(1);
        for template in TEMPLATES.iter().chain(TIMED) {
            for _ in 0..50 {
                let mut words = Vec::new();
                expand(template.trim_start_matches(['~', '%', ' ']), &mut random, &mut words);
                assert!(
                    !words.is_empty()
                        && words.iter().all(|word| !std::str::from_utf8(word).is_ok_and(|text| text.contains('<')))
                );
            }
        }
    }
}

//! What is within a circle or a box: GEOSEARCH, GEOSEARCHSTORE, and the GEORADIUS family that came before them.

use larder_protocol::{Args, Reply};
use larder_storage::types::zset::ZSet;

use super::super::command::*;
use super::super::zset::{in_order, store};
use super::query::{Form, Order, Query};
use super::{answer_distance, answer_point};
use crate::error::Outcome;
use crate::geo_search::{Found, search};
use crate::locked::Locked;
use crate::partial_sort::sort_part;

pub(super) const GEOSEARCH: Command = Command::read("GEOSEARCH", Arity::at_least(6), &[key(1, RO | ACCESS)], geosearch)
    .group(Group::Geo)
    .syntax(
        "key (FROMMEMBER member | FROMLONLAT (longitude latitude)) \
             (BYRADIUS (radius (M | KM | FT | MI)) | BYBOX (width height (M | KM | FT | MI))) \
             [ASC | DESC] [COUNT count [ANY]] [WITHCOORD] [WITHDIST] [WITHHASH]",
    )
    .since("6.2.0")
    .complexity(TIME)
    .summary("Answers the members of a sorted set of places within a circle or a box.")
    .examples(&[
        SICILY,
        ("GEOSEARCH sicily FROMLONLAT 15 37 BYRADIUS 100 km", "1) \"Catania\""),
        (
            "GEOSEARCH sicily FROMLONLAT 15 37 BYBOX 400 400 km DESC WITHDIST",
            "1) 1) \"Palermo\"\n   2) \"190.4424\"\n2) 1) \"Catania\"\n   2) \"56.4413\"",
        ),
        ("GEOSEARCH sicily FROMMEMBER Palermo BYRADIUS 200 km COUNT 1", "1) \"Palermo\""),
        (
            "GEOSEARCH sicily BYRADIUS 100 km ASC WITHDIST",
            "(error) ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for GEOSEARCH",
        ),
    ]);

pub(super) const GEOSEARCHSTORE: Command =
    Command::write("GEOSEARCHSTORE", Arity::at_least(7), &[key(1, OW | UPDATE), key(2, RO | ACCESS)], geosearchstore)
        .flags(DENYOOM)
        .group(Group::Geo)
        .syntax(
            "destination source (FROMMEMBER member | FROMLONLAT (longitude latitude)) \
     (BYRADIUS (radius (M | KM | FT | MI)) | BYBOX (width height (M | KM | FT | MI))) \
     [ASC | DESC] [COUNT count [ANY]] [STOREDIST]",
        )
        .since("6.2.0")
        .complexity(TIME)
        .summary(
            "Stores the members of a sorted set of places within a circle or a box, with their places or distances.",
        )
        .examples(&[
            SICILY,
            ("GEOSEARCHSTORE near sicily FROMLONLAT 15 37 BYRADIUS 100 km", "(integer) 1"),
            ("GEOHASH near Catania", "1) \"sqdtr74hyu0\""),
            ("GEOSEARCHSTORE far sicily FROMMEMBER Palermo BYBOX 500 500 km STOREDIST", "(integer) 2"),
            ("ZSCORE far Palermo", "\"0\""),
        ]);

pub(super) const GEORADIUS: Command = Command::write(
    "GEORADIUS",
    Arity::at_least(5),
    &[key(1, RO | ACCESS), option_key("STORE", 6, OW | UPDATE), option_key("STOREDIST", 6, OW | UPDATE)],
    georadius,
)
.flags(DENYOOM | MOVABLE_KEYS)
.group(Group::Geo)
.syntax(
    "key longitude latitude radius (M | KM | FT | MI) [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] \
     [ASC | DESC] [STORE key | STOREDIST key]",
)
.deprecated("6.2.0", "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` argument")
.since("3.2.0")
.complexity(TIME)
.summary("Answers or stores the members of a sorted set of places within a circle.")
.examples(&[
    SICILY,
    ("GEORADIUS sicily 15 37 200 km WITHDIST COUNT 1", "1) 1) \"Catania\"\n   2) \"56.4413\""),
    ("GEORADIUS sicily 15 37 200 km STORE near", "(integer) 2"),
    ("GEORADIUS sicily 15 37 -1 km", "(error) ERR radius cannot be negative"),
]);

pub(super) const GEORADIUS_RO: Command =
    Command::read("GEORADIUS_RO", Arity::at_least(5), &[key(1, RO | ACCESS)], georadius_ro)
        .group(Group::Geo)
        .syntax(
            "key longitude latitude radius (M | KM | FT | MI) [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] \
             [ASC | DESC]",
        )
        .deprecated("6.2.0", "`GEOSEARCH` with the `BYRADIUS` argument")
        .since("3.2.10")
        .complexity(TIME)
        .summary("Answers the members of a sorted set of places within a circle.")
        .examples(&[
            SICILY,
            ("GEORADIUS_RO sicily 15 37 200 km DESC", "1) \"Palermo\"\n2) \"Catania\""),
            ("GEORADIUS_RO sicily 15 37 200 km STORE near", "(error) ERR syntax error"),
        ]);

pub(super) const GEORADIUSBYMEMBER: Command = Command::write(
    "GEORADIUSBYMEMBER",
    Arity::at_least(4),
    &[key(1, RO | ACCESS), option_key("STORE", 5, OW | UPDATE), option_key("STOREDIST", 5, OW | UPDATE)],
    georadiusbymember,
)
.flags(DENYOOM | MOVABLE_KEYS)
.group(Group::Geo)
.syntax(
    "key member radius (M | KM | FT | MI) [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC | DESC] \
     [STORE key | STOREDIST key]",
)
.deprecated("6.2.0", "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` and `FROMMEMBER` arguments")
.since("3.2.0")
.complexity(TIME)
.summary("Answers or stores the members of a sorted set of places within a circle around a member.")
.examples(&[
    SICILY,
    ("GEORADIUSBYMEMBER sicily Palermo 100 km", "1) \"Palermo\""),
    ("GEORADIUSBYMEMBER sicily Palermo 200 km STOREDIST far", "(integer) 2"),
    ("GEORADIUSBYMEMBER sicily Rome 100 km", "(error) ERR could not decode requested zset member"),
]);

pub(super) const GEORADIUSBYMEMBER_RO: Command =
    Command::read("GEORADIUSBYMEMBER_RO", Arity::at_least(4), &[key(1, RO | ACCESS)], georadiusbymember_ro)
        .group(Group::Geo)
        .syntax(
            "key member radius (M | KM | FT | MI) [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC | DESC]",
        )
        .deprecated("6.2.0", "`GEOSEARCH` with the `BYRADIUS` and `FROMMEMBER` arguments")
        .since("3.2.10")
        .complexity(TIME)
        .summary("Answers the members of a sorted set of places within a circle around a member.")
        .examples(&[
            SICILY,
            (
                "GEORADIUSBYMEMBER_RO sicily Palermo 200 km WITHHASH COUNT 1",
                "1) 1) \"Palermo\"\n   2) (integer) 3479099956230698",
            ),
        ]);

const SICILY: (&str, &str) = ("GEOADD sicily 13.361389 38.115556 Palermo 15.087269 37.502669 Catania", "(integer) 2");

const TIME: &str =
    "O(N+log(M)), N being the number of members in the nine cells around the shape and M the size of the set";

fn geosearch(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    run(locked, args, Form::Search, reply)
}

fn geosearchstore(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    run(locked, args, Form::SearchStore, reply)
}

fn georadius(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    run(locked, args, Form::Radius { stores: true }, reply)
}

fn georadius_ro(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    run(locked, args, Form::Radius { stores: false }, reply)
}

fn georadiusbymember(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    run(locked, args, Form::RadiusByMember { stores: true }, reply)
}

fn georadiusbymember_ro(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    run(locked, args, Form::RadiusByMember { stores: false }, reply)
}

fn run(locked: &mut Locked<'_>, args: Args<'_>, form: Form, reply: &mut Reply) -> Outcome {
    let env = locked.env();
    let source = locked.read_as::<ZSet>(args.at(form.source_at()))?;
    let query = Query::parse(args, form, source, env)?;
    let mut found = match (source, query.shape) {
        (Some(zset), Some(shape)) => search(zset, shape, query.any.then_some(query.count)),
        _ => Vec::new(),
    };
    cut(&mut found, &query);
    let Some(key) = query.store else {
        answer(&found, &query, reply);
        return Ok(());
    };
    let score = |found: &Found<'_>| if query.store_distance { found.distance / query.unit } else { found.score };
    let elements: Vec<_> = found.iter().map(|found| (found.member, score(found))).collect();
    let count = elements.len() as u64;
    let event = if form == Form::SearchStore { "geosearchstore" } else { "georadiusstore" };
    let zset = in_order(env, elements)?;
    store(locked, key, zset, event, reply)?;
    locked.count_changes(count.saturating_sub(1));
    Ok(())
}

/// Puts what was found in order and leaves as much of it as is asked for. A limit without an order means the nearest.
fn cut(found: &mut Vec<Found<'_>>, query: &Query<'_>) {
    let count = if query.count == 0 { found.len() } else { query.count.min(found.len()) };
    let nearest = query.count > 0 && !query.any;
    let order = query.order.or(nearest.then_some(Order::Ascending));
    if let Some(order) = order {
        let mut compare = |one: &Found<'_>, other: &Found<'_>| match order {
            Order::Ascending => one.distance.total_cmp(&other.distance),
            Order::Descending => other.distance.total_cmp(&one.distance),
        };
        if count == found.len() {
            found.sort_by(compare);
        } else {
            sort_part(found, 0..count, &mut compare);
        }
    }
    found.truncate(count);
}

fn answer(found: &[Found<'_>], query: &Query<'_>, reply: &mut Reply) {
    reply.array(found.len());
    for found in found {
        if query.facts() > 0 {
            reply.array(1 + query.facts());
        }
        reply.bulk(found.member);
        if query.with_distance {
            answer_distance(found.distance / query.unit, reply);
        }
        if query.with_hash {
            reply.int(found.score as i64);
        }
        if query.with_place {
            answer_point(found.point, reply);
        }
    }
}

//! Members and where they are: GEOADD, GEOPOS, GEODIST, GEOHASH.

use larder_protocol::{Args, Reply};
use larder_storage::types::zset::ZSet;
use smallvec::SmallVec;

use super::super::command::*;
use super::super::parse::is;
use super::super::zset::{AddOptions, add_elements};
use super::{answer_distance, answer_point, point, unit};
use crate::error::{Error, Outcome, SYNTAX};
use crate::geohash::{Point, distance};
use crate::locked::Locked;

pub(super) const GEOADD: Command = Command::write("GEOADD", Arity::at_least(4), &[key(1, RW | UPDATE)], geoadd)
    .flags(DENYOOM)
    .group(Group::Geo)
    .syntax("key [NX | XX] [CH] (longitude latitude member)...")
    .since("3.2.0")
    .complexity("O(log(N)) for each member, N being the size of the set")
    .summary(
        "Adds members with their places to a sorted set, with conditions on request; makes the set if there is none.",
    )
    .examples(&[
        ("GEOADD sicily 13.361389 38.115556 Palermo 15.087269 37.502669 Catania", "(integer) 2"),
        ("GEOADD sicily NX 0 0 Palermo", "(integer) 0"),
        ("GEODIST sicily Palermo Catania km", "\"166.2742\""),
        ("GEOADD sicily 0 90 pole", "(error) ERR invalid longitude,latitude pair 0.000000,90.000000"),
    ]);

pub(super) const GEOPOS: Command = Command::read("GEOPOS", Arity::at_least(1), &[key(1, RO | ACCESS)], geopos)
    .group(Group::Geo)
    .syntax("key [member...]")
    .since("3.2.0")
    .complexity("O(1) for each member")
    .summary("Answers the places of members, with null for each that is not there.")
    .examples(&[
        ("GEOADD sicily 13.361389 38.115556 Palermo", "(integer) 1"),
        ("GEOPOS sicily Palermo Rome", "1) 1) \"13.36138933897018433\"\n   2) \"38.11555639549629859\"\n2) (nil)"),
    ]);

pub(super) const GEODIST: Command = Command::read("GEODIST", Arity::at_least(3), &[key(1, RO | ACCESS)], geodist)
    .group(Group::Geo)
    .syntax("key member1 member2 [M | KM | FT | MI]")
    .since("3.2.0")
    .complexity("O(1)")
    .summary("Answers how far two members are from each other, in meters or another unit.")
    .examples(&[
        ("GEOADD sicily 13.361389 38.115556 Palermo 15.087269 37.502669 Catania", "(integer) 2"),
        ("GEODIST sicily Palermo Catania", "\"166274.1516\""),
        ("GEODIST sicily Palermo Catania mi", "\"103.3182\""),
        ("GEODIST sicily Palermo Rome", "(nil)"),
    ]);

pub(super) const GEOHASH: Command = Command::read("GEOHASH", Arity::at_least(1), &[key(1, RO | ACCESS)], geohash)
    .group(Group::Geo)
    .syntax("key [member...]")
    .since("3.2.0")
    .complexity("O(1) for each member")
    .summary("Answers the places of members as geohash.org writes them.")
    .examples(&[
        ("GEOADD sicily 13.361389 38.115556 Palermo", "(integer) 1"),
        ("GEOHASH sicily Palermo Rome", "1) \"sqc8b49rny0\"\n2) (nil)"),
    ]);

fn geoadd(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let (options, elements) = parse(args.from(2))?;
    let mut scores = SmallVec::<[f64; 8]>::new();
    for at in (0..elements.len()).step_by(3) {
        scores.push(point(elements.from(at))?.score());
    }
    add_elements(locked, args.at(1), options, &scores, elements.iter().skip(2).step_by(3), reply)
}

/// Reads options up to the first longitude; gives the places and members that follow.
fn parse(mut args: Args<'_>) -> Result<(AddOptions, Args<'_>), Error> {
    let mut options = AddOptions::default();
    while let Some(word) = args.get(0) {
        match word {
            word if is(word, "NX") => options.nx = true,
            word if is(word, "XX") => options.xx = true,
            word if is(word, "CH") => options.ch = true,
            _ => break,
        }
        args = args.from(1);
    }
    let is_right = !args.is_empty() && args.len().is_multiple_of(3) && !(options.nx && options.xx);
    if is_right { Ok((options, args)) } else { Err(SYNTAX) }
}

/// The places of members that are there.
fn places(locked: &mut Locked<'_>, key: &[u8], members: Args<'_>) -> Result<SmallVec<[Option<Point>; 4]>, Error> {
    let env = locked.env();
    let zset = locked.read_as::<ZSet>(key)?;
    let place = |member| zset.and_then(|zset| zset.score(env, member)).map(Point::of_score);
    Ok(members.iter().map(place).collect())
}

fn geopos(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let places = places(locked, args.at(1), args.from(2))?;
    reply.array(places.len());
    for place in places {
        match place {
            Some(point) => answer_point(point, reply),
            None => reply.null_array(),
        }
    }
    Ok(())
}

fn geodist(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    if args.len() > 5 {
        return Err(SYNTAX);
    }
    let meters = args.get(4).map_or(Ok(1.0), unit)?;
    match places(locked, args.at(1), args.from(2).until(2))?[..] {
        [Some(one), Some(other)] => answer_distance(distance(one, other) / meters, reply),
        _ => reply.null(),
    }
    Ok(())
}

fn geohash(locked: &mut Locked<'_>, args: Args<'_>, reply: &mut Reply) -> Outcome {
    let places = places(locked, args.at(1), args.from(2))?;
    reply.array(places.len());
    for place in places {
        match place {
            Some(point) => reply.bulk(&point.geohash()),
            None => reply.null(),
        }
    }
    Ok(())
}

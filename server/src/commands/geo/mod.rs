//! Places on the earth, kept as the scores of sorted sets. Each command's row stands above its function:
//!
//! ```text
//! members.rs    members and where they are: GEOADD, GEOPOS, GEODIST, GEOHASH
//! search.rs     what is within a circle or a box: GEOSEARCH, GEOSEARCHSTORE, the GEORADIUS family
//! query.rs      the arguments of a search
//! ```

use larder_protocol::{Args, Reply};

use super::command::Command;
use super::parse::{float, is};
use crate::error::{Error, UNKNOWN_UNIT, not_on_the_map};
use crate::geohash::Point;

mod members;
mod query;
mod search;

pub(super) const COMMANDS: &[Command] = &[
    members::GEOADD,
    members::GEOPOS,
    members::GEODIST,
    members::GEOHASH,
    search::GEOSEARCH,
    search::GEOSEARCHSTORE,
    search::GEORADIUS,
    search::GEORADIUS_RO,
    search::GEORADIUSBYMEMBER,
    search::GEORADIUSBYMEMBER_RO,
];

/// The place that a longitude and a latitude, the first two arguments, mean.
fn point(args: Args<'_>) -> Result<Point, Error> {
    let point = Point { longitude: float(args.at(0))?, latitude: float(args.at(1))? };
    if point.is_on_the_map() { Ok(point) } else { Err(not_on_the_map(point.longitude, point.latitude)) }
}

/// Meters of a unit.
fn unit(arg: &[u8]) -> Result<f64, Error> {
    match arg {
        name if is(name, "M") => Ok(1.0),
        name if is(name, "KM") => Ok(1000.0),
        name if is(name, "FT") => Ok(0.3048),
        name if is(name, "MI") => Ok(1609.34),
        _ => Err(UNKNOWN_UNIT),
    }
}

/// Answers a distance with four digits after the point.
fn answer_distance(distance: f64, reply: &mut Reply) {
    let tenths_of_thousandths = (distance * 10_000.0).round_ties_even() as u64;
    let text = format!("{}.{:04}", tenths_of_thousandths / 10_000, tenths_of_thousandths % 10_000);
    reply.bulk(text.as_bytes());
}

/// Answers the two coordinates of a place.
fn answer_point(point: Point, reply: &mut Reply) {
    reply.array(2);
    for degrees in [point.longitude, point.latitude] {
        let text = format!("{degrees:.17}");
        let text = text.trim_end_matches('0').trim_end_matches('.');
        reply.number(if text == "-0" { b"0" } else { text.as_bytes() });
    }
}

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
        let text = seventeen_decimals(degrees);
        let text = text.trim_end_matches('0').trim_end_matches('.');
        reply.number(if text == "-0" { b"0" } else { text.as_bytes() });
    }
}

/// A coordinate with 17 digits after the point, rounded exactly, as C prints it.
fn seventeen_decimals(degrees: f64) -> String {
    const DECIMALS: u128 = 100_000_000_000_000_000;
    const UNIT: f64 = 18_446_744_073_709_551_616.0;
    let whole = degrees.abs().trunc();
    let fraction = (degrees.abs() - whole) * UNIT;
    if fraction.fract() != 0.0 {
        // It takes more than 64 bits: a coordinate very near to 0.
        return format!("{degrees:.17}");
    }
    let product = fraction as u128 * DECIMALS;
    let (digits, rest) = (product >> 64, product as u64);
    let up = rest > 1 << 63 || (rest == 1 << 63 && digits % 2 == 1);
    let digits = digits + u128::from(up);
    let whole = whole as u64 + (digits / DECIMALS) as u64;
    let sign = if degrees.is_sign_negative() { "-" } else { "" };
    format!("{sign}{whole}.{:017}", (digits % DECIMALS) as u64)
}

#[cfg(test)]
mod tests {
    use larder_storage::rng::Rng;

    use super::*;

    #[test]
    fn coordinates_have_the_digits_of_exact_arithmetic() {
        let mut rng = Rng::seeded(1);
        let check = |degrees: f64| assert_eq!(seventeen_decimals(degrees), format!("{degrees:.17}"));
        for degrees in [0.0, -0.0, 1.0, -180.0, 0.5, 1e-5, 1e-300, 3.0_f64.powi(-30), 1.0 - f64::EPSILON / 2.0] {
            check(degrees);
        }
        for _ in 0..20_000 {
            let size = 2.0_f64.powi(-(rng.index(60) as i32));
            let degrees = (rng.next_u64() as i64 as f64) / 9.3e18 * 180.0 * size;
            check(degrees);
            // With few bits there are ties.
            check((degrees * 262_144.0).round() / 262_144.0);
        }
    }
}

//! Places on the earth as integers: the two coordinates cut into equal parts, the bits of their numbers interleaved, so
//! that places with a common beginning are near each other. The arithmetic is Redis's, rounding included; sorted sets
//! hold such integers of 52 bits as scores.

/// A place, in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Point {
    pub(crate) longitude: f64,
    pub(crate) latitude: f64,
}

/// What coordinates are cut into parts: from the least to the greatest.
type Extent = (f64, f64);

pub(crate) const LONGITUDES: Extent = (-180.0, 180.0);
/// As far as the Mercator map of the web goes (EPSG:3857).
pub(crate) const LATITUDES: Extent = (-85.05112878, 85.05112878);
/// What geohash.org cuts.
const ALL_LATITUDES: Extent = (-90.0, 90.0);

/// Bits of each coordinate in a score.
pub(crate) const STEPS: u32 = 26;

impl Point {
    /// Whether it is on the map.
    pub(crate) fn is_on_the_map(self) -> bool {
        let within = |value, (least, greatest)| (least..=greatest).contains(&value);
        within(self.longitude, LONGITUDES) && within(self.latitude, LATITUDES)
    }

    /// The score of a member here.
    pub(crate) fn score(self) -> f64 {
        Cell::of(self, LATITUDES, STEPS).bits as f64
    }

    /// The place that a score means: the middle of its cell. Any score means one.
    pub(crate) fn of_score(score: f64) -> Self {
        let area = Cell { bits: integer(score), steps: STEPS }.area();
        let middle = |(from, to): Extent, (least, greatest): Extent| ((from + to) / 2.0).clamp(least, greatest);
        Self { longitude: middle(area.longitude, LONGITUDES), latitude: middle(area.latitude, LATITUDES) }
    }

    /// As geohash.org writes it: eleven letters, of which the last has no bits left.
    pub(crate) fn geohash(self) -> [u8; 11] {
        const LETTERS: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
        let bits = Cell::of(self, ALL_LATITUDES, STEPS).bits;
        let mut text = [LETTERS[0]; 11];
        for (place, letter) in text[..10].iter_mut().enumerate() {
            *letter = LETTERS[(bits >> (2 * STEPS as usize - 5 * (place + 1)) & 31) as usize];
        }
        text
    }
}

/// A score as C makes an integer of it on x86-64, which matters for scores that no place has.
fn integer(score: f64) -> u64 {
    const HALF: f64 = (1_u64 << 63) as f64;
    match score {
        _ if score < HALF => score as i64 as u64,
        _ if score < 2.0 * HALF => (score - HALF) as u64 | 1 << 63,
        _ => 0,
    }
}

/// A part of the map: so many bits of each coordinate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) bits: u64,
    pub(crate) steps: u32,
}

/// What a [`Cell`] covers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Area {
    pub(crate) longitude: Extent,
    pub(crate) latitude: Extent,
}

/// Bits of latitudes in interleaved bits, and of longitudes.
const LATITUDE_BITS: u64 = 0x5555_5555_5555_5555;
const LONGITUDE_BITS: u64 = !LATITUDE_BITS;

impl Cell {
    /// The one that holds a place of the map.
    pub(crate) fn on_the_map(point: Point, steps: u32) -> Self {
        Self::of(point, LATITUDES, steps)
    }

    fn of(Point { longitude, latitude }: Point, latitudes: Extent, steps: u32) -> Self {
        let number = |value: f64, (least, greatest): Extent| {
            let part = (value - least) / (greatest - least);
            (part * (1_u64 << steps) as f64) as u32
        };
        let bits = spread(number(latitude, latitudes)) | spread(number(longitude, LONGITUDES)) << 1;
        Self { bits, steps }
    }

    pub(crate) fn area(self) -> Area {
        let parts = (1_u64 << self.steps) as f64;
        let extent = |number: u32, (least, greatest): Extent| {
            let edge = |number: u32| least + f64::from(number) / parts * (greatest - least);
            (edge(number), edge(number.wrapping_add(1)))
        };
        Area { longitude: extent(gather(self.bits >> 1), LONGITUDES), latitude: extent(gather(self.bits), LATITUDES) }
    }

    /// The cell so many cells to the east and to the north, across the map's edge if need be.
    pub(crate) fn moved(self, east: i8, north: i8) -> Self {
        let shifted = |mask: u64, by: i8| {
            // The bits of a coordinate at the very end of the map do not fit; they stay as long as it does not move.
            let kept = self.bits & mask;
            let mask = mask & (u64::MAX >> (u64::BITS - 2 * self.steps));
            // With the bits between set, a carry goes through them.
            let (part, one) = (self.bits & mask, mask & mask.wrapping_neg());
            match by {
                0 => kept,
                1.. => (part | !mask).wrapping_add(one) & mask,
                _ => part.wrapping_sub(one) & mask,
            }
        };
        Self { bits: shifted(LONGITUDE_BITS, east) | shifted(LATITUDE_BITS, north), ..self }
    }

    /// The scores of its places, the last excluded.
    pub(crate) fn scores(self) -> (f64, f64) {
        let unused = 2 * (STEPS - self.steps);
        ((self.bits << unused) as f64, ((self.bits + 1) << unused) as f64)
    }
}

/// The bits of a number with a clear bit above each.
fn spread(number: u32) -> u64 {
    [
        (16, 0x0000_ffff_0000_ffff),
        (8, 0x00ff_00ff_00ff_00ff),
        (4, 0x0f0f_0f0f_0f0f_0f0f),
        (2, 0x3333_3333_3333_3333),
        (1, LATITUDE_BITS),
    ]
    .into_iter()
    .fold(u64::from(number), |bits, (shift, mask)| (bits | bits << shift) & mask)
}

/// Every other bit, from the lowest on.
fn gather(bits: u64) -> u32 {
    let steps: [(u32, u64); 5] = [
        (1, 0x3333_3333_3333_3333),
        (2, 0x0f0f_0f0f_0f0f_0f0f),
        (4, 0x00ff_00ff_00ff_00ff),
        (8, 0x0000_ffff_0000_ffff),
        (16, 0x0000_0000_ffff_ffff),
    ];
    steps.into_iter().fold(bits & LATITUDE_BITS, |bits, (shift, mask)| (bits | bits >> shift) & mask) as u32
}

const RADIANS_OF_A_DEGREE: f64 = std::f64::consts::PI / 180.0;
/// The earth's quadratic mean radius, in meters.
pub(crate) const EARTH_RADIUS: f64 = 6_372_797.560856;

pub(crate) fn radians(degrees: f64) -> f64 {
    degrees * RADIANS_OF_A_DEGREE
}

pub(crate) fn degrees(radians: f64) -> f64 {
    radians / RADIANS_OF_A_DEGREE
}

/// Meters between two places, along a great circle (the haversine formula).
pub(crate) fn distance(one: Point, other: Point) -> f64 {
    let east = ((radians(other.longitude) - radians(one.longitude)) / 2.0).sin();
    if east == 0.0 {
        return distance_of_latitudes(one.latitude, other.latitude);
    }
    let (from, to) = (radians(one.latitude), radians(other.latitude));
    let north = ((to - from) / 2.0).sin();
    let square = north * north + from.cos() * to.cos() * east * east;
    // Rounding can bring it above 1 for places opposite each other.
    2.0 * EARTH_RADIUS * square.sqrt().min(1.0).asin()
}

/// Meters between two places of the same longitude.
pub(crate) fn distance_of_latitudes(one: f64, other: f64) -> f64 {
    EARTH_RADIUS * (radians(other) - radians(one)).abs()
}

#[cfg(test)]
mod tests {
    use larder_storage::rng::Rng;

    use super::*;

    const PALERMO: Point = Point { longitude: 13.361389, latitude: 38.115556 };
    const CATANIA: Point = Point { longitude: 15.087269, latitude: 37.502669 };

    /// Asked of a redis-server.
    #[test]
    fn a_place_has_its_score_and_letters() {
        assert_eq!(PALERMO.score(), 3479099956230698.0);
        assert_eq!(&Point::of_score(PALERMO.score()).geohash(), b"sqc8b49rny0");
        assert_eq!(&Point::of_score(CATANIA.score()).geohash(), b"sqdtr74hyu0");
        let meters = distance(Point::of_score(PALERMO.score()), Point::of_score(CATANIA.score()));
        assert_eq!(format!("{meters:.4}"), "166274.1516");
    }

    #[test]
    fn bits_are_interleaved_and_taken_apart() {
        let mut rng = Rng::seeded(1);
        for _ in 0..1000 {
            let (one, other) = (rng.next_u64() as u32, rng.next_u64() as u32);
            let bits = spread(one) | spread(other) << 1;
            let expected = (0..32).fold(0, |sum, bit| {
                sum | u64::from(one >> bit & 1) << (2 * bit) | u64::from(other >> bit & 1) << (2 * bit + 1)
            });
            assert_eq!(bits, expected);
            assert_eq!((gather(bits), gather(bits >> 1)), (one, other));
        }
    }

    #[test]
    fn neighbours_are_next_to_a_cell_and_the_map_is_round() {
        let mut rng = Rng::seeded(2);
        for _ in 0..1000 {
            let steps = 1 + rng.index(STEPS as usize) as u32;
            let (x, y) = (rng.next_u64() as u32 & ((1 << steps) - 1), rng.next_u64() as u32 & ((1 << steps) - 1));
            let cell = Cell { bits: spread(y) | spread(x) << 1, steps };
            for (east, north) in [(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1)] {
                let moved = cell.moved(east, north);
                let expected = |at: u32, by: i8| at.wrapping_add_signed(by.into()) & ((1 << steps) - 1);
                assert_eq!(gather(moved.bits >> 1), expected(x, east));
                assert_eq!(gather(moved.bits), expected(y, north));
            }
        }
    }

    #[test]
    fn any_score_means_a_place_on_the_map() {
        for score in
            [0.0, -0.0, -1.0, 1.5, 4503599627370496.0, 1e18, 1e19, 1e300, -1e300, f64::INFINITY, f64::NEG_INFINITY]
        {
            assert!(Point::of_score(score).is_on_the_map(), "{score}");
        }
    }
}

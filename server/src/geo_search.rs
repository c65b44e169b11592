//! Which members of a sorted set of places are within a circle or a box.
//!
//! Nine cells cover the shape: the one that holds its middle and those around it. They are searched in Redis's order,
//! which is the order of an answer that is not sorted.

use larder_storage::types::zset::ZSetRef;

use crate::geohash::{Cell, EARTH_RADIUS, Point, STEPS, degrees, distance, distance_of_latitudes, radians};

/// What is searched.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Shape {
    pub(crate) center: Point,
    pub(crate) outline: Outline,
    /// Meters of the unit in which the outline is given.
    pub(crate) unit: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Outline {
    Circle { radius: f64 },
    Box { width: f64, height: f64 },
}

/// A member that was found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found<'a> {
    pub(crate) member: &'a [u8],
    pub(crate) score: f64,
    pub(crate) point: Point,
    /// Meters from the middle of the shape.
    pub(crate) distance: f64,
}

/// The members within a shape; with a limit no more than so many.
pub(crate) fn search<'a>(zset: ZSetRef<'a>, shape: Shape, limit: Option<usize>) -> Vec<Found<'a>> {
    let limit = limit.unwrap_or(usize::MAX);
    let mut found = Vec::new();
    let mut last = None;
    for (place, cell) in shape.cells().into_iter().enumerate() {
        let Some(cell) = cell else { continue };
        // Around a large shape neighbours meet on the other side of the earth.
        if last == Some(cell) {
            continue;
        }
        let (least, end) = cell.scores();
        let members = zset.range(zset.rank_of_score(least, false), zset.len());
        for (member, score) in members.take_while(|element| element.1 < end) {
            if found.len() >= limit {
                return found;
            }
            let point = Point::of_score(score);
            if let Some(distance) = shape.distance_within(point) {
                found.push(Found { member, score, point, distance });
            }
        }
        last = (place > 0).then_some(cell);
    }
    found
}

impl Shape {
    /// Meters from the middle to a place, if that is within.
    fn distance_within(self, point: Point) -> Option<f64> {
        let Self { center, outline, unit } = self;
        match outline {
            Outline::Circle { radius } => {
                let distance = distance(center, point);
                (distance <= radius * unit).then_some(distance)
            }
            Outline::Box { width, height } => {
                if distance_of_latitudes(point.latitude, center.latitude) > height * unit / 2.0 {
                    return None;
                }
                let beside = Point { longitude: center.longitude, latitude: point.latitude };
                (distance(point, beside) <= width * unit / 2.0).then(|| distance(center, point))
            }
        }
    }

    /// The cells to be searched, in order: the middle one, north, south, east, west, and the corners.
    fn cells(self) -> [Option<Cell>; 9] {
        let bounds = self.bounds();
        let mut cell = Cell::on_the_map(self.center, self.steps());
        let is_outside = |cell: Cell| {
            let at = |east, north| cell.moved(east, north).area();
            at(0, 1).latitude.1 < bounds.north
                || at(0, -1).latitude.0 > bounds.south
                || at(1, 0).longitude.1 < bounds.east
                || at(-1, 0).longitude.0 > bounds.west
        };
        if cell.steps > 1 && is_outside(cell) {
            cell = Cell::on_the_map(self.center, cell.steps - 1);
        }
        let area = cell.area();
        // With one step there are only four cells, all of them neighbours.
        let leaves_out = |east: i8, north: i8| {
            cell.steps >= 2
                && ((north < 0 && area.latitude.0 < bounds.south)
                    || (north > 0 && area.latitude.1 > bounds.north)
                    || (east < 0 && area.longitude.0 < bounds.west)
                    || (east > 0 && area.longitude.1 > bounds.east))
        };
        [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)]
            .map(|(east, north)| (!leaves_out(east, north)).then(|| cell.moved(east, north)))
    }

    /// How finely the map is cut, so that the nine cells are as small as they can be and cover the shape.
    fn steps(self) -> u32 {
        /// Half the width of the map, in meters at the equator.
        const HALF_MAP: f64 = 20_037_726.37;
        let reach = match self.outline {
            Outline::Circle { radius } => radius,
            Outline::Box { width, height } => ((width / 2.0) * (width / 2.0) + (height / 2.0) * (height / 2.0)).sqrt(),
        };
        let mut reach = reach * self.unit;
        if reach == 0.0 {
            return STEPS;
        }
        let mut steps = 1;
        while reach < HALF_MAP {
            reach *= 2.0;
            steps += 1;
        }
        // Once for the cells around, once more to be safe; towards the poles cells are narrower.
        steps -= 2;
        let latitude = self.center.latitude.abs();
        steps -= i32::from(latitude > 66.0) + i32::from(latitude > 80.0);
        steps.clamp(1, STEPS as i32) as u32
    }

    /// What the shape reaches. Its wider edge is the one that is nearer to a pole.
    fn bounds(self) -> Bounds {
        let Point { longitude, latitude } = self.center;
        let (width, height) = match self.outline {
            Outline::Circle { radius } => (self.unit * radius, self.unit * radius),
            Outline::Box { width, height } => (self.unit * (width / 2.0), self.unit * (height / 2.0)),
        };
        let north_south = degrees(height / EARTH_RADIUS);
        let edge = if latitude < 0.0 { latitude - north_south } else { latitude + north_south };
        let east_west = degrees(width / EARTH_RADIUS / radians(edge).cos());
        Bounds {
            west: longitude - east_west,
            east: longitude + east_west,
            south: latitude - north_south,
            north: latitude + north_south,
        }
    }
}

struct Bounds {
    west: f64,
    east: f64,
    south: f64,
    north: f64,
}

#[cfg(test)]
mod tests {
    use larder_storage::rng::Rng;

    use super::*;

    /// Every place within the shape is in one of the cells, unless the shape reaches across a pole or the date line,
    /// which Redis's search does not follow everywhere.
    #[test]
    fn cells_cover_the_shape() {
        let mut rng = Rng::seeded(1);
        let mut seen = 0;
        let mut uniform = |from: f64, to: f64| from + (to - from) * (rng.next_u64() as f64 / u64::MAX as f64);
        for _ in 0..20_000 {
            let center = Point { longitude: uniform(-150.0, 150.0), latitude: uniform(-60.0, 60.0) };
            let size = 10_f64.powf(uniform(0.0, 6.0));
            let outline = if (size as u64).is_multiple_of(2) {
                Outline::Circle { radius: size }
            } else {
                Outline::Box { width: size, height: size * uniform(0.2, 2.0) }
            };
            let shape = Shape { center, outline, unit: 1.0 };
            let reach = degrees(size / EARTH_RADIUS) * 2.0;
            let point = Point::of_score(
                Point {
                    longitude: (center.longitude + uniform(-reach, reach)).clamp(-180.0, 180.0),
                    latitude: (center.latitude + uniform(-reach, reach)).clamp(-85.0, 85.0),
                }
                .score(),
            );
            if shape.distance_within(point).is_none() {
                continue;
            }
            seen += 1;
            let score = point.score();
            let covered = shape.cells().into_iter().flatten().any(|cell| {
                let (least, end) = cell.scores();
                (least..end).contains(&score)
            });
            assert!(covered, "{shape:?} {point:?}");
        }
        assert!(seen > 1000, "{seen}");
    }
}

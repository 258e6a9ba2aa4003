//! Places on the map: 52-bit hashes, distances, and which hashes a search has to look at.
//!
//! A hash interleaves 26 bits of latitude and 26 of longitude, so that places close together share a prefix. The
//! latitude ends at 85.05112878 degrees (EPSG:3857); distances are great circles of a sphere. Every number must be the
//! one that Valkey computes, so the order of the floating-point operations is part of the format.

/// The longitudes that have a hash, in degrees.
pub const LONGITUDES: (f64, f64) = (-180.0, 180.0);
/// The latitudes that have a hash, in degrees.
pub const LATITUDES: (f64, f64) = (-85.051_128_78, 85.051_128_78);

/// Bits of each coordinate in a hash.
const STEPS: u32 = 26;
const EARTH_RADIUS_METERS: f64 = 6_372_797.560_856;
/// Half of the map's width in metres.
const MERCATOR_MAX: f64 = 20_037_726.37;
const DEGREE: f64 = std::f64::consts::PI / 180.0;
/// The digits of the geohash.org notation.
const ALPHABET: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";

fn radians(degrees: f64) -> f64 {
    degrees * DEGREE
}

fn degrees(radians: f64) -> f64 {
    radians / DEGREE
}

/// A place, in degrees.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Place {
    /// East of Greenwich.
    pub longitude: f64,
    /// North of the equator.
    pub latitude: f64,
}

impl Place {
    /// Whether the place has a hash.
    #[must_use]
    pub fn is_on_map(self) -> bool {
        (LONGITUDES.0..=LONGITUDES.1).contains(&self.longitude)
            && (LATITUDES.0..=LATITUDES.1).contains(&self.latitude)
    }

    /// The hash of a place on the map, as the score of a sorted set.
    #[must_use]
    pub fn score(self) -> u64 {
        Cell::of(self, STEPS, LATITUDES).bits
    }

    /// The middle of the cell that a score names. Whatever is no hash gives some place on the map's edge.
    #[must_use]
    pub fn of_score(score: f64) -> Self {
        let area = Cell { bits: score_bits(score), steps: STEPS }.area();
        Self {
            longitude: ((area.west + area.east) / 2.0).clamp(LONGITUDES.0, LONGITUDES.1),
            latitude: ((area.south + area.north) / 2.0).clamp(LATITUDES.0, LATITUDES.1),
        }
    }

    /// The notation of geohash.org, 11 characters. Its latitudes go to 90 degrees; the last character would need three
    /// bits more than a score has, and is `0`.
    #[must_use]
    pub fn text(self) -> [u8; 11] {
        let bits = Cell::of(self, STEPS, (-90.0, 90.0)).bits;
        let mut text = [b'0'; 11];
        for (index, character) in text.iter_mut().take(10).enumerate() {
            let digit = bits >> (52 - (index + 1) * 5) & 31;
            *character = ALPHABET[digit as usize];
        }
        text
    }

    /// Metres to another place, along a great circle.
    #[must_use]
    pub fn distance(self, other: Self) -> f64 {
        /// About 6 nm: below that the longitudes are the same.
        const EPSILON: f64 = 1e-15;
        let v = ((radians(other.longitude) - radians(self.longitude)) / 2.0).sin();
        if v.abs() <= EPSILON {
            return distance_of_latitudes(self.latitude, other.latitude);
        }
        let (own, others) = (radians(self.latitude), radians(other.latitude));
        let u = ((others - own) / 2.0).sin();
        let a = u * u + own.cos() * others.cos() * v * v;
        2.0 * EARTH_RADIUS_METERS * a.sqrt().asin()
    }
}

/// A score as bits, as a conversion in C gives them on x86-64: negative ones wrap, too large ones are 0.
fn score_bits(score: f64) -> u64 {
    const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;
    if score < TWO_TO_63 {
        (score as i64).cast_unsigned()
    } else if score < 2.0 * TWO_TO_63 {
        score as u64
    } else {
        0
    }
}

fn distance_of_latitudes(one: f64, other: f64) -> f64 {
    EARTH_RADIUS_METERS * (radians(other) - radians(one)).abs()
}

/// A rectangle of the map, in degrees.
#[derive(Debug, Clone, Copy)]
struct Area {
    west: f64,
    east: f64,
    south: f64,
    north: f64,
}

/// A cell of the grid that has `2^steps` cells each way; `bits` has latitudes in its even bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cell {
    bits: u64,
    steps: u32,
}

const EVEN_BITS: u64 = 0x5555_5555_5555_5555;

/// Puts the 32 bits of `value` on the even bits of the result.
fn spread(value: u32) -> u64 {
    const MASKS: [(u32, u64); 5] = [
        (16, 0x0000_ffff_0000_ffff),
        (8, 0x00ff_00ff_00ff_00ff),
        (4, 0x0f0f_0f0f_0f0f_0f0f),
        (2, 0x3333_3333_3333_3333),
        (1, EVEN_BITS),
    ];
    MASKS.iter().fold(u64::from(value), |bits, (shift, mask)| (bits | bits << shift) & mask)
}

/// The even bits of `bits`, together.
fn gather(bits: u64) -> u32 {
    const MASKS: [(u32, u64); 5] = [
        (1, 0x3333_3333_3333_3333),
        (2, 0x0f0f_0f0f_0f0f_0f0f),
        (4, 0x00ff_00ff_00ff_00ff),
        (8, 0x0000_ffff_0000_ffff),
        (16, 0x0000_0000_ffff_ffff),
    ];
    MASKS.iter().fold(bits & EVEN_BITS, |bits, (shift, mask)| (bits | bits >> shift) & mask) as u32
}

impl Cell {
    /// The cell of a place that is on the map.
    fn of(place: Place, steps: u32, latitudes: (f64, f64)) -> Self {
        let cells = (1_u64 << steps) as f64;
        let share = |value: f64, (low, high): (f64, f64)| (value - low) / (high - low);
        let row = share(place.latitude, latitudes) * cells;
        let column = share(place.longitude, LONGITUDES) * cells;
        Self { bits: spread(row as u32) | spread(column as u32) << 1, steps }
    }

    fn area(self) -> Area {
        let cells = (1_u64 << self.steps) as f64;
        let (row, column) = (gather(self.bits), gather(self.bits >> 1));
        let edge = |index: u32, (low, high): (f64, f64)| low + (f64::from(index) / cells) * (high - low);
        Area {
            west: edge(column, LONGITUDES),
            east: edge(column.wrapping_add(1), LONGITUDES),
            south: edge(row, LATITUDES),
            north: edge(row.wrapping_add(1), LATITUDES),
        }
    }

    /// The cell so many columns to the east and rows to the north; the grid goes round at its edges.
    fn neighbour(self, columns: i32, rows: i32) -> Self {
        let moved = |index: u32, by: i32| match by {
            // The easternmost places have a column of their own beyond the grid, which stays as it is.
            0 => index,
            by => index.wrapping_add_signed(by) & u32::MAX >> (32 - self.steps),
        };
        let (row, column) = (moved(gather(self.bits), rows), moved(gather(self.bits >> 1), columns));
        Self { bits: spread(row) | spread(column) << 1, steps: self.steps }
    }

    /// The scores of the places in it: from the first to before the second.
    fn scores(self) -> (f64, f64) {
        let shift = 2 * (STEPS - self.steps);
        ((self.bits << shift) as f64, ((self.bits + 1) << shift) as f64)
    }
}

/// What a search covers. Lengths are in the unit that the client used.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// Everything within a radius.
    Circle {
        /// Its middle.
        centre: Place,
        /// Its radius in units.
        radius: f64,
        /// Metres in a unit.
        unit: f64,
    },
    /// A rectangle along the axes.
    Rectangle {
        /// Its middle.
        centre: Place,
        /// East to west, in units.
        width: f64,
        /// North to south, in units.
        height: f64,
        /// Metres in a unit.
        unit: f64,
    },
    /// What straight lines on the map enclose.
    Polygon {
        /// Its corners, at least three.
        corners: Vec<Place>,
        /// Their mean on the sphere; see [`Shape::polygon`].
        centre: Place,
    },
}

impl Shape {
    /// A polygon of these corners.
    #[must_use]
    pub fn polygon(corners: Vec<Place>) -> Self {
        let (mut x, mut y, mut z) = (0.0, 0.0, 0.0);
        for corner in &corners {
            let (longitude, latitude) = (radians(corner.longitude), radians(corner.latitude));
            x += latitude.cos() * longitude.cos();
            y += latitude.cos() * longitude.sin();
            z += latitude.sin();
        }
        let centre = Place {
            longitude: degrees(f64::atan2(y, x)),
            latitude: degrees(f64::atan2(z, (x * x + y * y).sqrt())),
        };
        Self::Polygon { corners, centre }
    }

    fn centre(&self) -> Place {
        match self {
            Self::Circle { centre, .. } | Self::Rectangle { centre, .. } | Self::Polygon { centre, .. } => {
                *centre
            }
        }
    }

    /// Metres in a unit of the client's.
    #[must_use]
    pub fn unit(&self) -> f64 {
        match self {
            Self::Circle { unit, .. } | Self::Rectangle { unit, .. } => *unit,
            Self::Polygon { .. } => 1.0,
        }
    }

    /// Metres from the middle to a place; `None` when it is outside.
    #[must_use]
    pub fn distance_within(&self, place: Place) -> Option<f64> {
        let centre = self.centre();
        match self {
            Self::Circle { radius, unit, .. } => {
                let distance = centre.distance(place);
                // Written so that a distance that is no number is inside, as it is for Valkey.
                if distance > radius * unit { None } else { Some(distance) }
            }
            Self::Rectangle { width, height, unit, .. } => {
                let (width, height) = (width * unit, height * unit);
                if distance_of_latitudes(place.latitude, centre.latitude) > height / 2.0 {
                    return None;
                }
                let beside = Place { longitude: centre.longitude, latitude: place.latitude };
                if place.distance(beside) > width / 2.0 {
                    return None;
                }
                Some(centre.distance(place))
            }
            Self::Polygon { corners, .. } => encloses(corners, place).then(|| centre.distance(place)),
        }
    }

    fn bounds(&self) -> Area {
        let (half_width, half_height) = match self {
            Self::Circle { radius, unit, .. } => (unit * radius, unit * radius),
            Self::Rectangle { width, height, unit, .. } => (unit * width / 2.0, unit * height / 2.0),
            Self::Polygon { corners, .. } => return bounds_of(corners),
        };
        let Place { longitude, latitude } = self.centre();
        let rows = degrees(half_height / EARTH_RADIUS_METERS);
        // A degree of longitude is shortest at the edge that is nearer to a pole.
        let widest = if latitude < 0.0 { latitude - rows } else { latitude + rows };
        let columns = degrees(half_width / EARTH_RADIUS_METERS / radians(widest).cos());
        Area {
            west: longitude - columns,
            east: longitude + columns,
            south: latitude - rows,
            north: latitude + rows,
        }
    }

    /// Metres from the middle within which everything lies.
    fn reach(&self, bounds: Area) -> f64 {
        match self {
            Self::Circle { radius, unit, .. } => radius * unit,
            Self::Rectangle { width, height, unit, .. } => {
                let (width, height) = (width / 2.0, height / 2.0);
                (width * width + height * height).sqrt() * unit
            }
            Self::Polygon { centre, .. } => {
                let corners = [
                    (bounds.west, bounds.north),
                    (bounds.east, bounds.north),
                    (bounds.west, bounds.south),
                    (bounds.east, bounds.south),
                ];
                let distances =
                    corners.map(|(longitude, latitude)| centre.distance(Place { longitude, latitude }));
                distances
                    .into_iter()
                    .reduce(|most, next| if next > most { next } else { most })
                    .unwrap_or(0.0)
            }
        }
    }

    /// The ranges of scores, from the first to before the second, that hold every place inside: at most nine, in
    /// the order in which they are searched.
    #[must_use]
    pub fn ranges(&self) -> Vec<(f64, f64)> {
        let (bounds, centre) = (self.bounds(), self.centre());
        let mut steps = steps_for(self.reach(bounds), centre.latitude);
        let mut cell = Cell::of(centre, steps, LATITUDES);
        if steps > 1 && !covers(cell, bounds) {
            steps -= 1;
            cell = Cell::of(centre, steps, LATITUDES);
        }
        let area = cell.area();
        let narrow = steps >= 2;
        let without_south = narrow && area.south < bounds.south;
        let without_north = narrow && area.north > bounds.north;
        let without_west = narrow && area.west < bounds.west;
        let without_east = narrow && area.east > bounds.east;
        let directions = [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)];
        let mut cells: Vec<Cell> = directions
            .into_iter()
            .filter(|(columns, rows)| match (columns, rows) {
                (_, -1) if without_south => false,
                (_, 1) if without_north => false,
                (-1, _) if without_west => false,
                (1, _) if without_east => false,
                _ => true,
            })
            .map(|(columns, rows)| cell.neighbour(columns, rows))
            .collect();
        // On the coarsest grid opposite neighbours are the same cell.
        cells.dedup();
        cells.into_iter().map(Cell::scores).collect()
    }
}

/// How fine a grid may be whose nine cells about a place hold everything within `reach` metres.
fn steps_for(mut reach: f64, latitude: f64) -> u32 {
    if reach == 0.0 {
        return STEPS;
    }
    let mut steps = 1;
    while reach < MERCATOR_MAX {
        reach *= 2.0;
        steps += 1;
    }
    steps -= 2;
    // Cells are narrower towards the poles.
    if latitude.abs() > 66.0 {
        steps -= 1;
        if latitude.abs() > 80.0 {
            steps -= 1;
        }
    }
    steps.clamp(1, STEPS as i32).cast_unsigned()
}

/// Whether a cell's neighbours reach as far as the bounds.
fn covers(cell: Cell, bounds: Area) -> bool {
    let short = cell.neighbour(0, 1).area().north < bounds.north
        || cell.neighbour(0, -1).area().south > bounds.south
        || cell.neighbour(1, 0).area().east < bounds.east
        || cell.neighbour(-1, 0).area().west > bounds.west;
    !short
}

fn bounds_of(corners: &[Place]) -> Area {
    let mut area = Area { west: LONGITUDES.1, east: LONGITUDES.0, south: LATITUDES.1, north: LATITUDES.0 };
    for corner in corners {
        area.west = area.west.min(corner.longitude);
        area.east = area.east.max(corner.longitude);
        area.south = area.south.min(corner.latitude);
        area.north = area.north.max(corner.latitude);
    }
    area
}

/// Whether a ray from the place crosses an odd number of the polygon's sides.
fn encloses(corners: &[Place], place: Place) -> bool {
    let previous = corners.iter().cycle().skip(corners.len().saturating_sub(1));
    let crossings = corners.iter().zip(previous).filter(|(a, b)| {
        (a.latitude > place.latitude) != (b.latitude > place.latitude)
            && place.longitude
                < (b.longitude - a.longitude) * (place.latitude - a.latitude) / (b.latitude - a.latitude)
                    + a.longitude
    });
    crossings.count() % 2 == 1
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    const PALERMO: Place = Place { longitude: 13.361389, latitude: 38.115556 };
    const CATANIA: Place = Place { longitude: 15.087269, latitude: 37.502669 };

    #[test]
    fn hashes_are_those_of_valkeys_documentation() {
        assert_eq!(PALERMO.score(), 3_479_099_956_230_698);
        assert_eq!(CATANIA.score(), 3_479_447_370_796_909);
        assert_eq!(&Place::of_score(3_479_099_956_230_698.0).text(), b"sqc8b49rny0");
        assert_eq!(&Place::of_score(3_479_447_370_796_909.0).text(), b"sqdtr74hyu0");
    }

    #[test]
    fn a_score_gives_back_its_cell() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..10_000 {
            let place =
                Place { longitude: random.f64() * 360.0 - 180.0, latitude: random.f64() * 170.0 - 85.0 };
            let back = Place::of_score(place.score() as f64);
            assert!((place.longitude - back.longitude).abs() < 360.0 / f64::from(1 << 26));
            assert!((place.latitude - back.latitude).abs() < 171.0 / f64::from(1 << 26));
            assert_eq!(place.score(), back.score());
        }
    }

    #[test]
    fn no_score_leaves_the_map() {
        for score in [-1.0, f64::INFINITY, f64::NEG_INFINITY, 1e19, 1e18, -1e300, 0.5] {
            assert!(Place::of_score(score).is_on_map(), "{score}");
        }
    }

    #[test]
    fn distances_are_those_of_valkeys_documentation() {
        let (palermo, catania) =
            (Place::of_score(PALERMO.score() as f64), Place::of_score(CATANIA.score() as f64));
        assert_eq!(format!("{:.4}", palermo.distance(catania)), "166274.1516");
        assert_eq!(palermo.distance(palermo), 0.0);
    }

    /// Whatever a shape holds is in one of its ranges.
    #[test]
    fn the_ranges_hold_every_place_inside() {
        let mut random = fastrand::Rng::with_seed(11);
        for round in 0..3000 {
            let mut place = |spread: f64, centre: Place| Place {
                longitude: (centre.longitude + (random.f64() - 0.5) * spread).clamp(-179.0, 179.0),
                latitude: (centre.latitude + (random.f64() - 0.5) * spread).clamp(-70.0, 70.0),
            };
            let centre = place(140.0, Place::default());
            let spread = [0.01, 1.0, 20.0][round % 3];
            let corner = place(spread, centre);
            let reach = centre.distance(corner) + 1.0;
            let shape = match round % 4 {
                0 => Shape::polygon(vec![place(spread, centre), place(spread, centre), corner]),
                1 => Shape::Rectangle { centre, width: 2.0 * reach, height: 2.0 * reach, unit: 1.0 },
                _ => Shape::Circle { centre, radius: reach / 1000.0, unit: 1000.0 },
            };
            let ranges = shape.ranges();
            for _ in 0..20 {
                let inside = Place::of_score(place(spread, centre).score() as f64);
                if shape.distance_within(inside).is_some() {
                    let score = inside.score() as f64;
                    assert!(
                        ranges.iter().any(|(min, max)| (*min..*max).contains(&score)),
                        "{shape:?} {inside:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_polygon_may_be_hollowed() {
        let corner = |longitude, latitude| Place { longitude, latitude };
        let hollow =
            [corner(0.0, 0.0), corner(10.0, 0.0), corner(10.0, 10.0), corner(5.0, 1.0), corner(0.0, 10.0)];
        let shape = Shape::polygon(hollow.to_vec());
        assert!(shape.distance_within(corner(1.0, 2.0)).is_some());
        assert!(shape.distance_within(corner(5.0, 5.0)).is_none());
        assert!(shape.distance_within(corner(-1.0, 2.0)).is_none());
    }
}

//! Traces that are made: `KIND:OPTION=NUMBER,...` with the kinds `zipf`, `uniform`, `loop` and `scan`. Numbers may have units: `5k`, `1m`.
//!
//! | option | means |
//! |---|---|
//! | `keys` | popular keys; of a loop, its length |
//! | `requests` | requests in all |
//! | `theta` | the exponent of Zipf's law |
//! | `shift` | after every so many requests popularity is dealt anew among the same keys |
//! | `drift` | after every so many requests a key gives its popularity to one that is new |
//! | `scan` | after every so many requests `length` keys follow that are asked for only once |
//! | `loop` | after every so many requests the same `length` keys follow, from first to last |
//! | `length` | see there; a tenth of `keys` unless given |
//! | `seed` | of all random choices |

use std::path::Path;

use larder_storage::rng::Rng;

use super::{Problem, Trace};
use crate::size::parse_count;

/// How a trace is made.
#[derive(Clone, Debug, PartialEq)]
struct Spec {
    kind: Kind,
    keys: u64,
    requests: u64,
    theta: f64,
    shift: u64,
    drift: u64,
    scan: u64,
    loop_every: u64,
    length: u64,
    seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Popular,
    Loop,
    Scan,
}

/// Whether a trace of this name is to be made: it is a specification, and no file.
pub fn is_made(name: &str) -> bool {
    let kind = name.split(':').next().unwrap_or_default();
    ["zipf", "uniform", "loop", "scan"].contains(&kind) && !Path::new(name).exists()
}

/// What the trace of a specification is called: that, with `;` for `,`, which is understood as well.
pub fn title(specification: &str) -> String {
    specification.replace(',', ";")
}

/// Makes a trace.
///
/// # Errors
/// The specification is not one.
pub fn make(specification: &str) -> Result<Trace, Problem> {
    let spec = Spec::parse(specification)?;
    let mut numbering = Numbering::default();
    let mut requests = Vec::with_capacity(spec.requests as usize);
    let mut source = Source::new(&spec);
    for _ in 0..spec.requests {
        requests.push(numbering.number(source.next(&spec)));
    }
    let name = title(specification);
    Ok(Trace { name, requests, keys: numbering.given as usize, sizes: None, names: None })
}

impl Spec {
    fn parse(specification: &str) -> Result<Self, Problem> {
        let (kind, options) = specification.split_once(':').unwrap_or((specification, ""));
        let mut spec = Self {
            kind: match kind {
                "loop" => Kind::Loop,
                "scan" => Kind::Scan,
                _ => Kind::Popular,
            },
            keys: 100_000,
            requests: 1_000_000,
            theta: if kind == "uniform" { 0.0 } else { 0.9 },
            shift: 0,
            drift: 0,
            scan: 0,
            loop_every: 0,
            length: 0,
            seed: 1,
        };
        for option in options.split([',', ';']).filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            let wrong = |what| Problem::new(format!("{name}: {value:?} is {what}"));
            if name == "theta" {
                let theta = value.parse().ok().filter(|theta| (0.0..=10.0).contains(theta));
                spec.theta = theta.ok_or_else(|| wrong("no number from 0 to 10"))?;
                continue;
            }
            let unknown = || Problem::new(format!("{option:?} is no option of a synthetic trace"));
            let number = spec.option(name).ok_or_else(unknown)?;
            *number = parse_count(value).map_err(|_| wrong("no whole number from 0 on, such as 5000, 5k, 1m"))?;
        }
        if spec.length == 0 {
            spec.length = spec.keys.div_ceil(10);
        }
        for (name, value) in [("keys", spec.keys), ("requests", spec.requests), ("length", spec.length)] {
            if !(1..u64::from(u32::MAX)).contains(&value) {
                return Err(Problem::new(format!("{name} must be from 1 to {}", u32::MAX - 1)));
            }
        }
        Ok(spec)
    }

    fn option(&mut self, name: &str) -> Option<&mut u64> {
        Some(match name {
            "keys" => &mut self.keys,
            "requests" => &mut self.requests,
            "shift" => &mut self.shift,
            "drift" => &mut self.drift,
            "scan" => &mut self.scan,
            "loop" => &mut self.loop_every,
            "length" => &mut self.length,
            "seed" => &mut self.seed,
            _ => return None,
        })
    }
}

/// Numbers keys in order of appearance.
#[derive(Default)]
struct Numbering {
    /// Per key, its number and one.
    numbers: Vec<u32>,
    given: u32,
}

impl Numbering {
    fn number(&mut self, key: u64) -> u32 {
        let key = key as usize;
        if key >= self.numbers.len() {
            self.numbers.resize((key + 1).max(self.numbers.len() * 3 / 2), 0);
        }
        if self.numbers[key] == 0 {
            self.given += 1;
            self.numbers[key] = self.given;
        }
        self.numbers[key] - 1
    }
}

/// What gives the keys. Popular ones are below `keys`, those of loops follow, then come new ones.
struct Source {
    rng: Rng,
    zipf: Zipf,
    /// Requests for popular keys so far, and how often they were shifted.
    popular: u64,
    shifts: u64,
    /// Per rank its key, where popularity drifts.
    ranks: Vec<u64>,
    /// Keys of a scan and of a loop that are still to come.
    scanning: u64,
    looping: u64,
    next_new: u64,
}

impl Source {
    fn new(spec: &Spec) -> Self {
        Self {
            rng: Rng::seeded(spec.seed),
            zipf: Zipf::new(spec.keys, spec.theta),
            popular: 0,
            shifts: 0,
            ranks: if spec.drift > 0 { (0..spec.keys).collect() } else { Vec::new() },
            scanning: 0,
            looping: 0,
            next_new: if spec.kind == Kind::Scan {
                0
            } else {
                spec.keys + if spec.loop_every > 0 { spec.length } else { 0 }
            },
        }
    }

    fn next(&mut self, spec: &Spec) -> u64 {
        if self.scanning > 0 {
            self.scanning -= 1;
            return self.new_key();
        }
        if self.looping > 0 {
            self.looping -= 1;
            return spec.keys + spec.length - 1 - self.looping;
        }
        let number = self.popular;
        self.popular += 1;
        let due = |every: u64| every > 0 && self.popular.is_multiple_of(every);
        let (shifts, drifts) = (due(spec.shift), due(spec.drift));
        if due(spec.scan) {
            self.scanning = spec.length;
        }
        if due(spec.loop_every) {
            self.looping = spec.length;
        }
        let key = match spec.kind {
            Kind::Scan => self.new_key(),
            Kind::Loop => number % spec.keys,
            Kind::Popular => self.popular_key(spec),
        };
        self.shifts += u64::from(shifts);
        if drifts {
            let rank = self.rng.index(self.ranks.len());
            self.ranks[rank] = self.new_key();
        }
        key
    }

    fn new_key(&mut self) -> u64 {
        self.next_new += 1;
        self.next_new - 1
    }

    fn popular_key(&mut self, spec: &Spec) -> u64 {
        /// By this part of all keys a shift moves their ranks: the golden section spreads them evenly.
        const SHIFT: f64 = 0.618_033_988_75;
        let rank = self.zipf.rank(&mut self.rng) - 1;
        let by = (spec.keys as f64 * SHIFT) as u64 % spec.keys * (self.shifts % spec.keys);
        let rank = (rank + by % spec.keys) % spec.keys;
        self.ranks.get(rank as usize).copied().unwrap_or(rank)
    }
}

/// Draws ranks from 1 on, rank k in proportion to k to the power of minus theta, in constant time and without a table (Hörmann and
/// Derflinger, "Rejection-inversion to generate variates from monotone discrete distributions", ACM TOMACS 6, 1996).
struct Zipf {
    ranks: f64,
    theta: f64,
    /// The integral of the density up to the first and the last rank, and the distance within which the nearest rank is taken unseen.
    first: f64,
    last: f64,
    near: f64,
}

impl Zipf {
    fn new(ranks: u64, theta: f64) -> Self {
        let mut zipf = Self { ranks: ranks as f64, theta, first: 0.0, last: 0.0, near: 0.0 };
        zipf.first = zipf.integral(1.5) - 1.0;
        zipf.last = zipf.integral(zipf.ranks + 0.5);
        zipf.near = 2.0 - zipf.inverse(zipf.integral(2.5) - zipf.density(2.0));
        zipf
    }

    fn density(&self, x: f64) -> f64 {
        x.powf(-self.theta)
    }

    /// The integral of the density from 1 on.
    fn integral(&self, x: f64) -> f64 {
        let power = 1.0 - self.theta;
        if power.abs() < 1e-9 { x.ln() } else { (x.powf(power) - 1.0) / power }
    }

    fn inverse(&self, y: f64) -> f64 {
        let power = 1.0 - self.theta;
        if power.abs() < 1e-9 { y.exp() } else { (1.0 + y * power).max(0.0).powf(1.0 / power) }
    }

    fn rank(&self, rng: &mut Rng) -> u64 {
        loop {
            let drawn = (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
            let y = self.last + drawn * (self.first - self.last);
            let x = self.inverse(y);
            let rank = x.round().clamp(1.0, self.ranks);
            if rank - x <= self.near || y >= self.integral(rank + 0.5) - self.density(rank) {
                return rank as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_as_likely_as_zipf_says() {
        for theta in [0.0, 0.5, 0.9, 1.0, 1.3] {
            let (zipf, mut rng) = (Zipf::new(50, theta), Rng::seeded(1));
            let mut counts = [0.0; 50];
            let drawn = 400_000.0;
            (0..drawn as usize).for_each(|_| counts[zipf.rank(&mut rng) as usize - 1] += 1.0);
            let total: f64 = (1..=50).map(|rank| f64::from(rank).powf(-theta)).sum();
            for (at, count) in counts.iter().enumerate() {
                let expected = drawn * (at as f64 + 1.0).powf(-theta) / total;
                let distance: f64 = (count - expected) / expected.sqrt();
                assert!(distance.abs() < 5.0, "theta {theta}, rank {}: {count}, expected {expected}", at + 1);
            }
        }
    }

    fn made(specification: &str) -> Trace {
        make(specification).unwrap()
    }

    #[test]
    fn a_loop_goes_round_and_a_scan_on() {
        assert_eq!(made("loop:keys=3,requests=7").requests, [0, 1, 2, 0, 1, 2, 0]);
        assert_eq!(made("scan:requests=4").requests, [0, 1, 2, 3]);
        assert_eq!(made("loop:keys=1k,requests=2K").requests[999..=1000], [999, 0]);
    }

    #[test]
    fn scans_and_loops_come_between() {
        let trace = made("loop:keys=2,requests=9,scan=2,length=1");
        assert_eq!(trace.requests, [0, 1, 2, 0, 1, 3, 0, 1, 4]);
        let trace = made("loop:keys=2,requests=10,loop=2,length=3");
        assert_eq!(trace.requests, [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]);
    }

    /// The part of a trace's first and last quarter that asks for the key that is the most popular at first.
    fn first_key(trace: &Trace) -> (f64, f64) {
        let quarter = trace.requests.len() / 4;
        let count = |part: &[u32], key| part.iter().filter(|it| **it == key).count() as f64 / part.len() as f64;
        let (start, end) = (&trace.requests[..quarter], &trace.requests[3 * quarter..]);
        let top = (0..trace.keys as u32).max_by_key(|key| start.iter().filter(|it| *it == key).count()).unwrap();
        (count(start, top), count(end, top))
    }

    #[test]
    fn popularity_stays_shifts_or_drifts() {
        let (start, end) = first_key(&made("zipf:keys=100,requests=20000,theta=1"));
        assert!((start - end).abs() < 0.02 && start > 0.15, "{start} {end}");
        let shifted = made("zipf:keys=100,requests=20000,theta=1,shift=10000");
        let (start, end) = first_key(&shifted);
        assert!(start > 0.15 && end < 0.05, "{start} {end}");
        assert_eq!(shifted.keys, 100);
        let drifted = made("zipf:keys=100,requests=20000,theta=1,drift=10");
        assert!(drifted.keys > 1500, "{} keys", drifted.keys);
        assert!(first_key(&drifted).1 < 0.05);
    }

    #[test]
    fn a_seed_repeats_its_trace_and_no_other() {
        let requests = |seed| made(&format!("zipf:keys=1000;requests=100;seed={seed}")).requests;
        assert_eq!(requests(1), requests(1));
        assert_ne!(requests(1), requests(2));
        assert_eq!(made("zipf:keys=5,requests=1").name, "zipf:keys=5;requests=1");
    }

    #[test]
    fn what_is_no_specification_is_refused() {
        let error = |text: &str| make(text).unwrap_err().to_string();
        assert_eq!(error("zipf:keys=5,color=3"), "\"color=3\" is no option of a synthetic trace");
        for (option, value) in [("keys", "many"), ("shift", "-1"), ("seed", "1.5"), ("requests", "")] {
            let expected = format!("{option}: {value:?} is no whole number from 0 on, such as 5000, 5k, 1m");
            assert_eq!(error(&format!("zipf:{option}={value}")), expected);
        }
        for theta in ["-1", "11", "NaN"] {
            assert_eq!(error(&format!("zipf:theta={theta}")), format!("theta: {theta:?} is no number from 0 to 10"));
        }
        assert_eq!(error("zipf:requests"), error("zipf:requests="));
        assert_eq!(error("zipf:keys=0"), "keys must be from 1 to 4294967294");
        assert!(is_made("loop") && !is_made("loop.trace"));
    }
}

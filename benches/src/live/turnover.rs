//! Memory over time while a full cache turns over again and again with values whose sizes drift: what a server says its data takes,
//! and what the system has given it.
//!
//! Sizes go from the shortest to the longest and back in [`PERIOD`] turnovers, by equal factors in equal times. A turnover is as many
//! bytes written as the server may hold.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use larder_storage::rng::Rng;

use super::client::{Address, Client};
use super::info::Info;
use crate::size::Lengths;

/// Turnovers in which sizes come back to where they were.
pub const PERIOD: f64 = 10.0;
/// Elements of a collection.
const ELEMENTS: usize = 100;
/// Of how many keys one stays when the data set shrinks.
const KEPT: u64 = 10;

/// What is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// SET.
    String,
    /// HSET with many fields.
    Hash,
    /// RPUSH of many elements.
    List,
}

impl Kind {
    /// All of them, by their names.
    pub const ALL: [(&str, Kind); 3] = [("string", Kind::String), ("hash", Kind::Hash), ("list", Kind::List)];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    fn elements(self) -> usize {
        if self == Self::String { 1 } else { ELEMENTS }
    }

    fn push(self, client: &mut Client, key: &[u8], value: &[u8]) {
        match self {
            Self::String => client.push(&[b"SET", key, value]),
            Self::Hash => {
                let fields: Vec<String> = (0..ELEMENTS).map(|number| format!("field:{number}")).collect();
                let mut words: Vec<&[u8]> = vec![b"HSET", key];
                fields.iter().for_each(|field| words.extend([field.as_bytes(), value]));
                client.push(&words);
            }
            Self::List => {
                let mut words: Vec<&[u8]> = vec![b"RPUSH", key];
                words.extend([value; ELEMENTS]);
                client.push(&words);
            }
        }
    }
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The cache is written to as fast as it takes it.
    Turnover,
    /// Nothing is asked of the server.
    Rest,
    /// Most keys are being deleted.
    Deletion,
    /// They are gone, and nothing is asked again.
    Shrunk,
}

impl Phase {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Turnover => "turnover",
            Self::Rest => "rest",
            Self::Deletion => "deletion",
            Self::Shrunk => "shrunk",
        }
    }
}

/// Memory at one time.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// What is going on.
    pub phase: Phase,
    /// Since the start.
    pub seconds: f64,
    /// Turnovers so far.
    pub turnovers: f64,
    /// What the server's data takes, and what the system has given it, in bytes.
    pub used: u64,
    /// See `used`.
    pub resident: u64,
}

impl Sample {
    /// How many times the data that is resident.
    pub fn ratio(&self) -> f64 {
        self.resident as f64 / self.used.max(1) as f64
    }
}

/// How to load a server.
#[derive(Clone, Debug)]
pub struct Load {
    /// Its `maxmemory`.
    pub memory: u64,
    /// How often that many bytes are written.
    pub turnovers: u64,
    /// The shortest and the longest value.
    pub lengths: Lengths,
    /// What is stored.
    pub kind: Kind,
    /// Commands that are sent at once.
    pub depth: usize,
    /// Between two samples.
    pub interval: Duration,
    /// How long to watch at rest, and again after most keys were deleted.
    pub rest: Duration,
    /// Of the sizes.
    pub seed: u64,
}

impl Load {
    /// The length of a value after so many turnovers: about what is due then, 30 % more or less.
    fn length(&self, turnovers: f64, rng: &mut Rng) -> usize {
        let (from, to) = (f64::from(self.lengths.from.max(1)), f64::from(self.lengths.to.max(1)));
        let along = (1.0 - (turnovers / PERIOD * std::f64::consts::TAU).cos()) / 2.0;
        let due = from * (to / from).powf(along);
        (due * (0.7 + 0.6 * rng.below(1000) as f64 / 1000.0)).clamp(from, to) as usize
    }
}

/// Loads a server, and gives what was seen and how many commands it took per second. Each sample is shown when it is taken, and
/// whoever sees it says whether to go on.
///
/// # Errors
/// The server does not answer, or refuses a write, or it was not to go on.
pub fn measure(
    address: &Address,
    load: &Load,
    see: impl FnMut(&Sample) -> bool + Send,
) -> io::Result<(Vec<Sample>, f64)> {
    let watch = Watch {
        started: Instant::now(),
        written: AtomicU64::new(0),
        ends: AtomicBool::new(false),
        memory: load.memory,
    };
    let phase = Mutex::new(Phase::Turnover);
    thread::scope(|scope| {
        let samples = scope.spawn(|| watch.samples(address, &phase, load.interval, see));
        let outcome = go_through(address, load, &watch, &phase);
        let samples = samples.join().map_err(|_| io::Error::other("the watching thread ended"))?;
        Ok((samples?, outcome?))
    })
}

/// All phases; commands per second in the first.
fn go_through(address: &Address, load: &Load, watch: &Watch, phase: &Mutex<Phase>) -> io::Result<f64> {
    let _end = End(&watch.ends);
    let enter = |next| *phase.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = next;
    let mut client = Client::connect(address)?;
    let keys = write(&mut client, load, watch)?;
    let rate = keys as f64 / watch.started.elapsed().as_secs_f64();
    enter(Phase::Rest);
    watch.rest(load.rest)?;
    enter(Phase::Deletion);
    delete_most(&mut client, load, keys)?;
    enter(Phase::Shrunk);
    watch.rest(load.rest)?;
    Ok(rate)
}

/// Writes new keys until the cache has turned over often enough; how many.
fn write(client: &mut Client, load: &Load, watch: &Watch) -> io::Result<u64> {
    let (value, mut rng) = (vec![b'v'; load.lengths.to as usize], Rng::seeded(load.seed));
    let mut keys = 0;
    while watch.turnovers() < load.turnovers as f64 && !watch.ends.load(Relaxed) {
        let turnovers = watch.turnovers();
        let mut written = 0;
        // A batch of collections is as long as one of strings.
        let depth = (load.depth / load.kind.elements()).max(1);
        for _ in 0..depth {
            let length = load.length(turnovers, &mut rng);
            load.kind.push(client, key_of(keys).as_bytes(), &value[..length]);
            written += length * load.kind.elements();
            keys += 1;
        }
        client.send()?;
        accept_replies(client, depth)?;
        watch.written.fetch_add(written as u64, Relaxed);
    }
    Ok(keys)
}

/// Deletes all but one in [`KEPT`] of the keys, the oldest of which the cache has evicted.
fn delete_most(client: &mut Client, load: &Load, keys: u64) -> io::Result<()> {
    let resident = Info::of(client)?.keys();
    let doomed: Vec<u64> = (keys.saturating_sub(4 * resident)..keys).filter(|key| key % KEPT != 0).collect();
    for batch in doomed.chunks(load.depth.max(1)) {
        batch.iter().for_each(|&key| client.push(&[b"DEL", key_of(key).as_bytes()]));
        client.send()?;
        accept_replies(client, batch.len())?;
    }
    Ok(())
}

fn key_of(number: u64) -> String {
    format!("key:{number:09}")
}

fn accept_replies(client: &mut Client, count: usize) -> io::Result<()> {
    for _ in 0..count {
        if let Some(error) = client.reply()?.as_error() {
            return Err(io::Error::other(error.into_owned()));
        }
    }
    Ok(())
}

/// What writer and watcher share.
struct Watch {
    started: Instant,
    /// Bytes of values.
    written: AtomicU64,
    /// Whether one of the two has ended, which ends the other.
    ends: AtomicBool,
    memory: u64,
}

/// Says when it is dropped that who holds it has ended, by a panic too.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

impl Watch {
    fn turnovers(&self) -> f64 {
        self.written.load(Relaxed) as f64 / self.memory.max(1) as f64
    }

    /// Sleeps for so long, or until the other has ended.
    fn rest(&self, long: Duration) -> io::Result<()> {
        const NAP: Duration = Duration::from_millis(10);
        let end = Instant::now() + long;
        while let left = end.saturating_duration_since(Instant::now())
            && !left.is_zero()
        {
            if self.ends.load(Relaxed) {
                return Err(io::Error::other("nobody watches any more"));
            }
            thread::sleep(left.min(NAP));
        }
        Ok(())
    }

    fn samples(
        &self,
        address: &Address,
        phase: &Mutex<Phase>,
        interval: Duration,
        mut see: impl FnMut(&Sample) -> bool,
    ) -> io::Result<Vec<Sample>> {
        let _end = End(&self.ends);
        let (mut client, mut samples) = (Client::connect(address)?, Vec::new());
        let now = || *phase.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        while !self.ends.load(Relaxed) {
            let phase = now();
            let info = Info::of(&mut client)?;
            // What was seen while the next phase began is of neither.
            if now() != phase {
                continue;
            }
            let sample = Sample {
                phase,
                seconds: self.started.elapsed().as_secs_f64(),
                turnovers: self.turnovers(),
                used: info.number("used_memory"),
                resident: info.number("used_memory_rss"),
            };
            samples.push(sample);
            if !see(&sample) {
                return Err(io::Error::other("nobody wants to see more"));
            }
            thread::sleep(interval);
        }
        Ok(samples)
    }
}

/// What a run comes to; `None` where no look at the memory fell into that part of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// The ratio at the end of the turnovers; the mean and the highest; all from the second turnover on.
    pub end: Option<f64>,
    /// See `end`.
    pub mean: Option<f64>,
    /// See `end`.
    pub most: Option<f64>,
    /// The ratio after the rest.
    pub rested: Option<f64>,
    /// Bytes used and resident at the very end, when most keys were deleted.
    pub shrunk: Option<(u64, u64)>,
}

impl Summary {
    /// Of samples in their order.
    pub fn of(samples: &[Sample]) -> Self {
        let last = |phase| samples.iter().rfind(|sample| sample.phase == phase);
        let turning: Vec<f64> = samples
            .iter()
            .filter(|sample| sample.phase == Phase::Turnover && sample.turnovers >= 2.0)
            .map(Sample::ratio)
            .collect();
        Self {
            // The last look of a short run may have been at a cache that was not full yet.
            end: turning.last().copied(),
            mean: (!turning.is_empty()).then(|| turning.iter().sum::<f64>() / turning.len() as f64),
            most: turning.iter().copied().reduce(f64::max),
            rested: last(Phase::Rest).map(Sample::ratio),
            shrunk: last(Phase::Shrunk).map(|sample| (sample.used, sample.resident)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(kind: Kind) -> Load {
        let lengths = Lengths { from: 50, to: 2000 };
        let (interval, rest) = (Duration::from_millis(5), Duration::from_millis(50));
        Load { memory: 4 << 20, turnovers: 3, lengths, kind, depth: 64, interval, rest, seed: 1 }
    }

    #[test]
    fn sizes_go_up_and_come_back() {
        let (load, mut rng) = (load(Kind::String), Rng::seeded(1));
        let mut mean = |turnovers| (0..1000).map(|_| load.length(turnovers, &mut rng)).sum::<usize>() / 1000;
        let means = [0.0, 2.5, 5.0, 7.5, 10.0].map(&mut mean);
        assert!(means[0] < 60 && means[2] > 1600 && means[4] < 60, "{means:?}");
        assert!(means[1].abs_diff(316) < 30 && means[3].abs_diff(316) < 30, "{means:?}");
    }

    #[test]
    fn where_nobody_looked_there_is_no_figure() {
        let look = |turnovers| Sample { phase: Phase::Turnover, seconds: 1.0, turnovers, used: 100, resident: 120 };
        let none = Summary { end: None, mean: None, most: None, rested: None, shrunk: None };
        assert_eq!(Summary::of(&[look(0.0), look(1.9)]), none, "the cache was not full, or just so");
        let ratio = Some(1.2);
        assert_eq!(Summary::of(&[look(2.0)]), Summary { end: ratio, mean: ratio, most: ratio, ..none });
        let later = |phase, used| Sample { phase, used, ..look(3.0) };
        let deleting = [later(Phase::Rest, 100), later(Phase::Deletion, 50)];
        assert_eq!(Summary::of(&deleting), Summary { rested: ratio, ..none }, "keys were there still");
        let deleted = [deleting[0], deleting[1], later(Phase::Shrunk, 10)];
        assert_eq!(Summary::of(&deleted).shrunk, Some((10, 120)));
    }

    #[test]
    fn a_server_turns_over_and_shrinks() {
        for (name, kind) in Kind::ALL {
            let options = [("maxmemory", "4mb"), ("maxmemory-policy", "allkeys-lru")];
            let builder =
                options.into_iter().fold(larder::Server::builder(), |it, (name, value)| it.option(name, value));
            let server = builder.start().unwrap();
            let address = server.address().unwrap().to_string().parse().unwrap();
            let mut seen = Vec::new();
            let (samples, rate) = measure(&address, &load(kind), |sample| {
                seen.push((sample.seconds, sample.used));
                true
            })
            .unwrap();
            assert_eq!(name, kind.name());
            assert!(rate > 0.0);
            assert!(samples.iter().map(|sample| (sample.seconds, sample.used)).eq(seen));
            for phase in [Phase::Turnover, Phase::Rest, Phase::Shrunk] {
                assert!(samples.iter().any(|sample| sample.phase == phase), "{name}: {phase:?}");
            }
            let most = samples.iter().map(|sample| sample.used).max().unwrap();
            assert!(most > 3 << 20 && most < 5 << 20, "{name}: {most}");
            let (used, _) = Summary::of(&samples).shrunk.unwrap();
            assert!(used < most / 2, "{name}: {used} of {most} are used still");
        }
    }

    #[test]
    fn who_writes_and_who_watches_end_together() {
        use std::sync::mpsc::{RecvTimeoutError, channel};
        let server = larder::Server::builder().option("maxmemory", "4mb").option("maxmemory-policy", "allkeys-lru");
        let server = server.start().unwrap();
        let address = server.address().unwrap().to_string();
        let outcome = |address: &str, load: Load, until: Option<Phase>| {
            let (done, outcome) = channel();
            let address = address.parse().unwrap();
            let see = move |sample: &Sample| Some(sample.phase) != until;
            thread::spawn(move || {
                done.send(measure(&address, &load, see).map(|_| ()).map_err(|error| error.to_string()))
            });
            outcome.recv_timeout(Duration::from_secs(60))
        };
        let backwards = Load { lengths: Lengths { from: 9, to: 5 }, ..load(Kind::String) };
        assert_eq!(outcome(&address, backwards, None), Err(RecvTimeoutError::Disconnected), "a panic comes through");
        server.connect().execute(["ACL", "SETUSER", "blind", "on", ">pw", "~*", "+@all", "-info"]);
        let endless = Load { turnovers: u64::MAX, ..load(Kind::String) };
        let refused = outcome(&format!("redis://blind:pw@{address}"), endless.clone(), None).unwrap().unwrap_err();
        assert!(refused.starts_with("NOPERM "), "{refused}");
        let restful = Load { rest: Duration::from_secs(3600), ..load(Kind::String) };
        for (load, until) in [(endless, Phase::Turnover), (restful, Phase::Rest)] {
            let enough = outcome(&address, load, Some(until)).unwrap().unwrap_err();
            assert_eq!(enough, "nobody wants to see more");
        }
    }
}

//! Sends a trace's requests: GETs of up to a pipeline's depth of different keys at once, and behind them, with the next GETs, SETs of those that
//! missed. A key that comes again ends the pipeline before it, so that every request sees what those before it did.
//!
//! With several connections each has the keys of a part of all hashes, so that the order per key holds, and all wait for one another
//! from time to time, so that the order over all keys nearly does.
//!
//! A key is sent by the name that the trace has for it, or by its number, behind the run's prefix.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::client::{Address, Client};
use super::info::Info;
use crate::replay::{Point, quoted};
use crate::size::Lengths;
use crate::tell;
use crate::trace::Trace;

/// Requests of all connections between two meetings.
const MEETING: usize = 16 << 10;
/// Bytes of values that are sent at once.
const MOST_SENT: usize = 1 << 20;
/// Keys that are deleted at once.
const DELETED: usize = 500;

/// How requests are sent.
#[derive(Clone, Debug)]
pub struct Load {
    /// What keys begin with.
    pub prefix: String,
    /// Lengths of values; where the trace tells sizes and this is `None`, they are those.
    pub lengths: Option<Lengths>,
    /// Commands that are sent at once.
    pub depth: usize,
    /// Connections.
    pub connections: usize,
    /// The first request that counts.
    pub from: usize,
    /// Whether to delete what was written.
    pub clean: bool,
}

/// Length of values if neither trace nor load tells.
const USUAL_LENGTH: u32 = 100;

impl Load {
    fn length(&self, trace: &Trace, key: u32) -> usize {
        match (self.lengths, &trace.sizes) {
            (Some(lengths), _) => lengths.of(key) as usize,
            // They are those of key and value.
            (None, Some(sizes)) => {
                let own = trace.names.as_ref().map_or(0, |names| names.of(key).len());
                (sizes[key as usize] as usize).saturating_sub(own)
            }
            (None, None) => USUAL_LENGTH as usize,
        }
    }

    /// Puts the key of a number into `into`.
    fn write_key(&self, trace: &Trace, key: u32, into: &mut Vec<u8>) {
        into.clear();
        into.extend_from_slice(self.prefix.as_bytes());
        match &trace.names {
            Some(names) => into.extend_from_slice(names.of(key)),
            None => into.extend_from_slice(key.to_string().as_bytes()),
        }
    }
}

/// What a server did.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Its hits; the size is its `maxmemory`.
    pub point: Point,
    /// Its name, version and address.
    pub server: String,
    /// SETs that it refused for want of memory.
    pub refused: u64,
    /// What it said to the first of them.
    pub refusal: Option<String>,
    /// SETs that it took.
    pub stored: u64,
    /// Its keys at the end, and what memory they took by its own account and by the system's.
    pub keys: u64,
    /// See there.
    pub used_memory: u64,
    /// See there.
    pub used_memory_rss: u64,
    /// Keys that it evicted meanwhile.
    pub evicted: u64,
    /// Its processor time per request, in microseconds.
    pub cpu_us: f64,
}

impl Measured {
    /// The columns of [`Measured::csv`]: those of a point, and more.
    pub const MORE_COLUMNS: &'static str =
        "server,keys,used_memory,used_memory_rss,evicted_keys,refused,seconds,server_cpu_us_per_request";

    /// Tells what was refused, if anything was.
    ///
    /// # Errors
    /// Nothing could be stored.
    pub fn tell_refusals(&self) -> Result<(), String> {
        let Self { server, refused, stored, refusal: Some(error), .. } = self else { return Ok(()) };
        let told = format!("{server} refused {refused} of {} SETs, the first with: {error}", refused + stored);
        if *stored == 0 {
            return Err(told);
        }
        tell!("{told}");
        Ok(())
    }

    /// A line of a csv.
    pub fn csv(&self) -> String {
        let Self { point, server, keys, used_memory, used_memory_rss, evicted, refused, cpu_us, .. } = self;
        let (point, seconds, server) = (point.csv(), point.seconds, quoted(server));
        format!("{point},{server},{keys},{used_memory},{used_memory_rss},{evicted},{refused},{seconds:.1},{cpu_us:.2}")
    }
}

/// Replays a trace against a server.
///
/// # Errors
/// The server is not there, goes away, or answers with an error that is not want of memory.
pub fn measure(address: &Address, trace: &Trace, load: &Load) -> Result<Measured, String> {
    let failed = |error: io::Error| format!("{}: {error}", address.host);
    let mut client = Client::connect(address).map_err(failed)?;
    let before = Info::of(&mut client).map_err(failed)?;
    let started = Instant::now();
    let totals = drive(address, trace, load).map_err(failed)?;
    let seconds = started.elapsed().as_secs_f64();
    let after = Info::of(&mut client).map_err(failed)?;
    if load.clean {
        delete(&mut client, &totals.written, trace, load).map_err(failed)?;
    }
    let point = Point {
        trace: trace.name.clone(),
        policy: after.text("maxmemory_policy").to_owned(),
        size: after.number("maxmemory"),
        requests: trace.requests.len().saturating_sub(load.from) as u64,
        hits: totals.hits,
        seconds,
    };
    Ok(Measured {
        server: format!("{} {}", after.server(), address.host),
        refused: totals.refused,
        refusal: totals.refusal,
        stored: totals.stored,
        keys: after.keys(),
        used_memory: after.number("used_memory"),
        used_memory_rss: after.number("used_memory_rss"),
        evicted: after.number("evicted_keys").saturating_sub(before.number("evicted_keys")),
        cpu_us: 1e6 * (after.cpu_seconds() - before.cpu_seconds()) / trace.requests.len().max(1) as f64,
        point,
    })
}

/// What came of all requests.
struct Totals {
    hits: u64,
    refused: u64,
    refusal: Option<String>,
    stored: u64,
    /// Per connection and key, whether it was written.
    written: Vec<Vec<bool>>,
}

fn drive(address: &Address, trace: &Trace, load: &Load) -> io::Result<Totals> {
    let connections = load.connections.max(1);
    let clients: Vec<Client> = (0..connections).map(|_| Client::connect(address)).collect::<io::Result<_>>()?;
    let (barrier, failed) = (Barrier::new(connections), AtomicBool::new(false));
    let (barrier, failed) = (&barrier, &failed);
    let ended = || io::Error::other("a connection's thread panicked");
    let results: Vec<io::Result<Lane<'_>>> = std::thread::scope(|scope| {
        let lanes = clients.into_iter().enumerate().map(|(number, client)| {
            scope.spawn(move || {
                let mut lane = Lane::new(client, trace, load);
                let mut result = Ok(());
                for (chunk, requests) in trace.requests.chunks(MEETING).enumerate() {
                    if result.is_ok() && !failed.load(Ordering::Relaxed) {
                        let mut own =
                            requests.iter().enumerate().filter(|(_, key)| part_of(**key, connections) == number);
                        let send = || own.try_for_each(|(at, key)| lane.request(chunk * MEETING + at, *key));
                        result = catch_unwind(AssertUnwindSafe(send)).unwrap_or_else(|_| Err(ended()));
                        failed.fetch_or(result.is_err(), Ordering::Relaxed);
                    }
                    // Whoever failed, by a panic too, goes on meeting the others.
                    barrier.wait();
                }
                result.and_then(|()| lane.finish()).map(|()| lane)
            })
        });
        let lanes: Vec<_> = lanes.collect();
        lanes.into_iter().map(|lane| lane.join().unwrap_or_else(|_| Err(ended()))).collect()
    });
    let mut totals = Totals { hits: 0, refused: 0, refusal: None, stored: 0, written: Vec::new() };
    for lane in results {
        let lane = lane?;
        totals.hits += lane.hits;
        totals.refused += lane.refused;
        totals.refusal = totals.refusal.or(lane.refusal);
        totals.stored += lane.stored;
        totals.written.push(lane.written);
    }
    Ok(totals)
}

/// The connection that a key belongs to.
fn part_of(key: u32, connections: usize) -> usize {
    let mixed = u64::from(key).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    (mixed * connections as u64 >> 32) as usize
}

/// One connection and its part of the requests.
struct Lane<'a> {
    client: Client,
    trace: &'a Trace,
    load: &'a Load,
    value: Vec<u8>,
    /// Requests of the pipeline that is being filled.
    batch: Vec<(usize, u32)>,
    /// Per key, the pipeline that it was asked for in last; the present one.
    asked: Vec<u32>,
    pipeline: u32,
    /// Keys that missed and are to be set with the next pipeline.
    missed: Vec<u32>,
    missed_bytes: usize,
    written: Vec<bool>,
    hits: u64,
    refused: u64,
    refusal: Option<String>,
    stored: u64,
    key: Vec<u8>,
}

impl<'a> Lane<'a> {
    fn new(client: Client, trace: &'a Trace, load: &'a Load) -> Self {
        let longest = (0..trace.keys as u32).map(|key| load.length(trace, key)).max().unwrap_or(0);
        Self {
            client,
            trace,
            load,
            value: (0..longest).map(|at| b'a' + (at % 26) as u8).collect(),
            batch: Vec::new(),
            asked: vec![0; trace.keys],
            pipeline: 1,
            missed: Vec::new(),
            missed_bytes: 0,
            written: vec![false; trace.keys],
            hits: 0,
            refused: 0,
            refusal: None,
            stored: 0,
            key: Vec::new(),
        }
    }

    fn request(&mut self, at: usize, key: u32) -> io::Result<()> {
        if self.asked[key as usize] == self.pipeline {
            self.exchange()?;
        }
        self.asked[key as usize] = self.pipeline;
        self.batch.push((at, key));
        if self.batch.len() >= self.load.depth { self.exchange() } else { Ok(()) }
    }

    /// Sends what waits and reads the answers.
    fn exchange(&mut self) -> io::Result<()> {
        self.pipeline = self.pipeline.wrapping_add(1);
        let missed = std::mem::take(&mut self.missed);
        self.missed_bytes = 0;
        for key in &missed {
            let len = self.load.length(self.trace, *key);
            self.load.write_key(self.trace, *key, &mut self.key);
            self.client.push(&[b"SET", &self.key, &self.value[..len]]);
            self.written[*key as usize] = true;
        }
        let batch = std::mem::take(&mut self.batch);
        for (_, key) in &batch {
            self.load.write_key(self.trace, *key, &mut self.key);
            self.client.push(&[b"GET", &self.key]);
        }
        self.client.send()?;
        for key in &missed {
            if let Some(error) = self.client.reply()?.as_error() {
                if !error.starts_with("OOM") {
                    return Err(self.refusal(*key, &error));
                }
                self.refused += 1;
                self.refusal.get_or_insert_with(|| error.into_owned());
            } else {
                self.stored += 1;
            }
        }
        for (at, key) in batch {
            let reply = self.client.reply()?;
            if let Some(error) = reply.as_error() {
                return Err(self.refusal(key, &error));
            }
            if reply.is_null() {
                self.missed_bytes += self.load.length(self.trace, key);
                self.missed.push(key);
            } else {
                self.hits += u64::from(at >= self.load.from);
            }
        }
        if self.missed_bytes >= MOST_SENT { self.exchange() } else { Ok(()) }
    }

    /// What a server says to a key, and why it may.
    fn refusal(&mut self, key: u32, error: &str) -> io::Error {
        self.load.write_key(self.trace, key, &mut self.key);
        let name = self.key.escape_ascii();
        io::Error::other(if error.starts_with("WRONGTYPE") {
            format!("key \"{name}\" is there already, as another type ({error}); say another --prefix")
        } else {
            format!("key \"{name}\": {error}")
        })
    }

    /// Sends what is left.
    fn finish(&mut self) -> io::Result<()> {
        while !self.batch.is_empty() || !self.missed.is_empty() {
            self.exchange()?;
        }
        Ok(())
    }
}

fn delete(client: &mut Client, written: &[Vec<bool>], trace: &Trace, load: &Load) -> io::Result<()> {
    for lane in written {
        let numbers: Vec<u32> = (0..).zip(lane).filter(|(_, written)| **written).map(|(key, _)| key).collect();
        for part in numbers.chunks(DELETED) {
            let mut keys = vec![Vec::new(); part.len()];
            keys.iter_mut().zip(part).for_each(|(into, key)| load.write_key(trace, *key, into));
            let words: Vec<&[u8]> = std::iter::once(&b"UNLINK"[..]).chain(keys.iter().map(Vec::as_slice)).collect();
            client.call(&words)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::synthetic;

    fn load(prefix: &str) -> Load {
        Load { prefix: prefix.into(), lengths: None, depth: 16, connections: 1, from: 0, clean: false }
    }

    fn server(options: &[(&str, &str)]) -> (larder::Server, Address) {
        let builder =
            options.iter().fold(larder::Server::builder(), |builder, (name, value)| builder.option(name, *value));
        let server = builder.start().unwrap();
        let address = server.address().unwrap().to_string().parse().unwrap();
        (server, address)
    }

    #[test]
    fn without_a_limit_each_key_misses_once() {
        let (server, address) = server(&[]);
        let trace = synthetic::make("zipf:keys=500,requests=20000").unwrap();
        for connections in [1, 3] {
            let load = Load { connections, ..load(&format!("t{connections}:")) };
            let measured = measure(&address, &trace, &load).unwrap();
            assert_eq!(measured.point.hits, 20_000 - trace.keys as u64, "{connections} connections");
        }
        assert_eq!(server.connect().execute(["DBSIZE"]).as_i64(), Some(2 * trace.keys as i64));
        assert!(measure(&address, &trace, &load("t1:")).unwrap().point.hits == 20_000, "all are there now");
    }

    #[test]
    fn a_server_that_evicts_reports_it() {
        let (_server, address) = server(&[("maxmemory", "3mb"), ("maxmemory-policy", "allkeys-lru")]);
        let trace = synthetic::make("loop:keys=20000,requests=40000").unwrap();
        let load = Load { lengths: Some(Lengths { from: 300, to: 500 }), from: 30_000, ..load("e:") };
        let measured = measure(&address, &trace, &load).unwrap();
        assert_eq!(
            (measured.point.policy.as_str(), measured.point.size, measured.point.requests),
            ("allkeys-lru", 3 << 20, 10_000)
        );
        assert_eq!(measured.point.hits, 0, "a loop larger than the cache");
        assert!(measured.evicted > 30_000 && measured.keys < 10_000 && measured.used_memory < 4 << 20, "{measured:?}");
        assert!(measured.csv().contains(",larder-"), "{}", measured.csv());
    }

    #[test]
    fn only_what_was_written_is_deleted_and_only_on_demand() {
        let (server, address) = server(&[]);
        let mut other = server.connect();
        other.execute(["SET", "own:x", "1"]);
        let trace = synthetic::make("scan:requests=3000").unwrap();
        measure(&address, &trace, &load("own:")).unwrap();
        assert_eq!(other.execute(["DBSIZE"]).as_i64(), Some(3001));
        measure(&address, &trace, &Load { clean: true, ..load("two:") }).unwrap();
        assert_eq!(other.execute(["DBSIZE"]).as_i64(), Some(3001));
    }

    #[test]
    fn a_prefix_may_hold_colons() {
        let (server, address) = server(&[]);
        let trace = synthetic::make("loop:keys=300,requests=900").unwrap();
        let measured = measure(&address, &trace, &Load { clean: true, ..load("app:cache::v1:") }).unwrap();
        assert_eq!((measured.point.hits, measured.keys), (600, 300));
        let mut connection = server.connect();
        assert_eq!(connection.execute(["DBSIZE"]).as_i64(), Some(0), "all of it was deleted");
        let stats = connection.execute(["CACHE", "STATS"]).to_string();
        assert!(stats.contains("app") && !stats.contains("cache"), "the prefix ends at the first colon: {stats}");
    }

    #[test]
    fn a_server_without_room_refuses() {
        let (_server, address) = server(&[("maxmemory", "2mb"), ("maxmemory-policy", "noeviction")]);
        let trace = synthetic::make("scan:requests=10000").unwrap();
        let load = Load { lengths: Some(Lengths { from: 1000, to: 1000 }), ..load("r:") };
        let measured = measure(&address, &trace, &load).unwrap();
        assert!(measured.refused > 5000 && measured.stored + measured.refused == 10_000, "{measured:?}");
        assert!(measured.refusal.as_ref().is_some_and(|error| error.starts_with("OOM ")), "{measured:?}");
        assert_eq!(measured.tell_refusals(), Ok(()), "some were stored");
        let error = measure(&address, &trace, &Load { prefix: "s:".into(), ..load }).unwrap().tell_refusals();
        assert!(error.unwrap_err().contains(" refused 10000 of 10000 SETs, the first with: OOM "));
    }

    #[test]
    fn a_panic_of_one_connection_ends_all() {
        let (_server, address) = server(&[]);
        let mut trace = synthetic::make("scan:requests=50000").unwrap();
        // One key more than the trace says there are.
        trace.requests[20_000] = trace.keys as u32;
        let (done, outcome) = std::sync::mpsc::channel();
        let load = Load { connections: 3, ..load("p:") };
        std::thread::spawn(move || done.send(measure(&address, &trace, &load).err()));
        let outcome = outcome.recv_timeout(std::time::Duration::from_secs(60)).unwrap();
        assert!(outcome.unwrap().ends_with(": a connection's thread panicked"));
    }

    #[test]
    fn what_is_not_there_is_named() {
        let address = "127.0.0.1:1".parse().unwrap();
        let error = measure(&address, &synthetic::make("scan:requests=1").unwrap(), &load("x:")).unwrap_err();
        assert!(error.starts_with("127.0.0.1:1: "), "{error}");
    }
}

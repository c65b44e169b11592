//! MEMORY but for USAGE: what is known of the memory of the whole server. MODULE and LOLWUT, which have little to tell.

use larder_protocol::{Args, Reply};
use larder_storage::region::trim_allocator;

use super::command::*;
use super::command_info::help;
use super::parse::{integer, is};
use crate::engine::Engine;
use crate::error::Outcome;
use crate::info::{MemoryFigures, REDIS_VERSION};
use crate::locked::Locked;
use crate::session::Session;

/// Redis's hints for what tells of memory.
const TIPS: &[&str] = &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"];

pub(super) const COMMANDS: &[Command] = &[
    Command::all("MEMORY|DOCTOR", Arity::exactly(1), doctor)
        .group(Group::Server)
        .since("4.0.0")
        .complexity("O(1)")
        .summary("Tells in sentences whether memory is used well.")
        .tips(TIPS),
    Command::all("MEMORY|MALLOC-STATS", Arity::exactly(1), malloc_stats)
        .group(Group::Server)
        .since("4.0.0")
        .complexity("O(N) for N databases")
        .summary("Tells how many bytes the data's own allocator holds, and how many of them are free.")
        .tips(TIPS),
    Command::session("MEMORY|PURGE", Arity::exactly(1), purge)
        .group(Group::Server)
        .since("4.0.0")
        .complexity("O(N) for N free pages")
        .summary("Gives memory that nobody uses back to the system, and has the garbage of scripts collected.")
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .examples(&[("MEMORY PURGE", "OK")]),
    Command::all("MEMORY|STATS", Arity::exactly(1), stats)
        .group(Group::Server)
        .since("4.0.0")
        .complexity("O(N) for N databases")
        .summary("Tells what memory is used for, in bytes and shares.")
        .tips(TIPS),
    Command::container("MODULE")
        .group(Group::Server)
        .since("4.0.0")
        .complexity("Depends on the subcommand")
        .summary("Is about modules, of which there are none."),
    Command::session("MODULE|LIST", Arity::exactly(1), module_list)
        .flags(ADMIN | NOSCRIPT)
        .group(Group::Server)
        .since("4.0.0")
        .complexity("O(1)")
        .summary("Lists the modules: none.")
        .tips(&["nondeterministic_output_order"])
        .examples(&[("MODULE LIST", "(empty array)")]),
    Command::session("MODULE|HELP", Arity::exactly(1), help)
        .flags(LOADING | STALE)
        .group(Group::Server)
        .since("5.0.0")
        .complexity("O(1)")
        .summary("Lists the subcommands of MODULE."),
    Command::session("LOLWUT", Arity::at_least(0), lolwut)
        .flags(READONLY | FAST)
        .group(Group::Server)
        .since("5.0.0")
        .syntax("[VERSION version]")
        .complexity("O(1)")
        .summary("Answers the version of Redis that the server behaves as. It draws nothing.")
        .examples(&[("LOLWUT", "\"Redis ver. 7.4.1\\n\"")]),
];

fn purge(engine: &Engine, _: &mut Session, _: Args<'_>, reply: &mut Reply) -> Outcome {
    engine.scripts.purge();
    engine.keyspace().purge(true);
    trim_allocator();
    reply.ok();
    Ok(())
}

fn doctor(locked: &mut Locked<'_>, _: Args<'_>, reply: &mut Reply) -> Outcome {
    let figures = MemoryFigures::of(locked);
    let limit = locked.engine().settings().maxmemory.get();
    let mut findings = findings(&figures);
    if limit > 0 && figures.used > limit - limit / 20 {
        findings.push("maxmemory is nearly reached: keys are evicted, or writes refused.");
    }
    let text = match (findings.is_empty(), figures.taken() < LITTLE) {
        (true, true) => "There is too little data to tell anything.\n".to_owned(),
        (true, false) => "Memory is used well.\n".to_owned(),
        (false, _) => findings.iter().map(|finding| format!(" * {finding}\n")).collect(),
    };
    reply.verbatim("txt", text);
    Ok(())
}

/// What takes less says little by its shares.
const LITTLE: u64 = 5 << 20;

/// What is wrong, by Redis's limits (7.4, `object.c`). Redis looks at none of them where little is used, also where much was, or is
/// resident.
fn findings(figures: &MemoryFigures) -> Vec<&'static str> {
    /// Less than this in bytes is never too much.
    const MUCH: u64 = 10 << 20;
    /// Of a client on average.
    const CLIENT: u64 = 200 << 10;
    let exceeds = |whole: u64, part: u64, ratio: f64| {
        whole.saturating_sub(part) > MUCH && MemoryFigures::ratio(whole, part) > ratio
    };
    let active = figures.used + figures.free;
    let resident = figures.resident.unwrap_or_default();
    let checks = [
        (
            MemoryFigures::ratio(figures.peak, figures.used) > 1.5
                && (figures.taken() >= LITTLE || figures.peak - figures.used > MUCH),
            "It once used more than 1.5 times as much as now; what the system still shows is given back in time.",
        ),
        (
            exceeds(resident, figures.accounted(), 1.4),
            "High fragmentation: the process is resident with more than 1.4 times what its data and clients take.",
        ),
        (
            exceeds(active, figures.used, 1.1),
            "Pages have free places, more than a tenth of the data; they are filled or given back in the background.",
        ),
        (
            exceeds(figures.held(), active, 1.1),
            "Free pages are kept, more than a tenth of those in use; MEMORY PURGE gives them back.",
        ),
        (
            exceeds(resident.saturating_sub(figures.startup), figures.held(), 1.1),
            "RSS overhead: the process has become resident with more than 1.1 times what the data's allocator holds; the rest is of \
             clients, scripts, and what the global allocator has not given back yet.",
        ),
        (
            figures.clients > CLIENT * figures.connected,
            "Clients take more than 200 KB each on average: CLIENT LIST tells which.",
        ),
    ];
    checks.into_iter().filter_map(|(is_wrong, text)| is_wrong.then_some(text)).collect()
}

fn malloc_stats(locked: &mut Locked<'_>, _: Args<'_>, reply: &mut Reply) -> Outcome {
    let figures = MemoryFigures::of(locked);
    let regions = locked.engine().keyspace().regions();
    let heap = larder_storage::heap::figures();
    let text = format!(
        "used by the data: {}\nfree places in its pages: {}\npages handed out: {}\nfree pages kept: {}\n\
         mapped, with memory behind it or not: {}\n\
         long values and keys, parts of collections, and all else from {} to {} bytes: {}\nregions of these, with memory behind them: {}\n",
        figures.used,
        figures.free,
        regions.used_bytes(),
        regions.reserve_bytes(),
        regions.mapped_bytes(),
        larder_storage::heap::LEAST,
        larder_storage::heap::MOST,
        heap.used,
        heap.held,
    );
    reply.verbatim("txt", text);
    Ok(())
}

/// A map that is written entry by entry.
struct Facts<'r> {
    reply: &'r mut Reply,
    count: usize,
}

impl Facts<'_> {
    fn count(&mut self, name: &str, count: u64) {
        self.name(name).int(count as i64);
    }

    fn share(&mut self, name: &str, share: f64) {
        self.name(name).double(share);
    }

    fn name(&mut self, name: &str) -> &mut Reply {
        self.count += 1;
        self.reply.bulk(name.as_bytes());
        self.reply
    }
}

fn stats(locked: &mut Locked<'_>, _: Args<'_>, reply: &mut Reply) -> Outcome {
    let figures = MemoryFigures::of(locked);
    let map = reply.defer();
    let mut facts = Facts { reply, count: 0 };
    facts.count("peak.allocated", figures.peak);
    facts.count("total.allocated", figures.used);
    for name in ["startup.allocated", "replication.backlog", "clients.slaves"] {
        facts.count(name, 0);
    }
    facts.count("clients.normal", figures.clients);
    for name in ["cluster.links", "aof.buffer"] {
        facts.count(name, 0);
    }
    let scripts = &locked.engine().scripts;
    facts.count("lua.caches", scripts.cache.lock().figures().1 as u64);
    facts.count("functions.caches", scripts.libraries.lock().figures().2 as u64);
    for (db, index) in &figures.indexes {
        let database = facts.name(&format!("db.{db}"));
        database.map(2);
        database.bulk(b"overhead.hashtable.main");
        database.int(*index as i64);
        database.bulk(b"overhead.hashtable.expires");
        // Expiries stand with the keys.
        database.int(0);
    }
    facts.count("overhead.db.hashtable.lut", figures.overhead());
    facts.count("overhead.db.hashtable.rehashing", 0);
    facts.count("db.dict.rehashing.count", 0);
    facts.count("overhead.total", figures.overhead());
    facts.count("keys.count", figures.keys);
    facts.count("keys.bytes-per-key", figures.used.checked_div(figures.keys).unwrap_or(0));
    facts.count("dataset.bytes", figures.dataset());
    facts.share("dataset.percentage", figures.dataset_percent());
    facts.share("peak.percentage", figures.peak_percent());
    facts.count("allocator.allocated", figures.used);
    facts.count("allocator.active", figures.used + figures.free);
    facts.count("allocator.resident", figures.held());
    facts.count("allocator.muzzy", 0);
    facts.share("allocator-fragmentation.ratio", figures.fragmentation());
    facts.count("allocator-fragmentation.bytes", figures.free);
    facts.share("allocator-rss.ratio", figures.reserve_ratio());
    facts.count("allocator-rss.bytes", figures.reserve);
    if let Some(resident) = figures.resident {
        facts.share("rss-overhead.ratio", MemoryFigures::ratio(resident, figures.held()));
        facts.name("rss-overhead.bytes").int(resident as i64 - figures.held() as i64);
        facts.share("fragmentation", MemoryFigures::ratio(resident, figures.accounted()));
        facts.name("fragmentation.bytes").int(resident as i64 - figures.accounted() as i64);
    }
    let count = facts.count;
    reply.set_map_len(map, count);
    Ok(())
}

fn module_list(_: &Engine, _: &mut Session, _: Args<'_>, reply: &mut Reply) -> Outcome {
    reply.array(0);
    Ok(())
}

fn lolwut(_: &Engine, _: &mut Session, args: Args<'_>, reply: &mut Reply) -> Outcome {
    if let Some(version) = args.get(2).filter(|_| is(args.at(1), "VERSION")) {
        integer(version)?;
    }
    reply.verbatim("txt", format!("Redis ver. {REDIS_VERSION}\n"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::{Connection, Server, Value};

    fn text(connection: &mut Connection, words: &[&str]) -> String {
        let (Value::Verbatim { text: bytes, .. } | Value::Bulk(bytes)) = connection.execute(words.iter().copied())
        else {
            panic!("a text")
        };
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn figure(text: &str, name: &str) -> f64 {
        let (_, rest) = text.split_once(name).unwrap();
        rest.split_whitespace().next().unwrap().parse().unwrap()
    }

    #[test]
    fn pages_of_collections_that_are_not_full_count_as_fragmentation() {
        let server = Server::builder().seed(1).manual_clock(1_700_000_000_000).build().unwrap();
        let mut connection = server.connect();
        let value = "v".repeat(300);
        // Smaller ones have no pages.
        for key in 0..40 {
            let key = format!("h{key}");
            for field in 0..1750 {
                connection.execute(["HSET", &key, &format!("f{field}"), &value]);
            }
        }
        let info = text(&mut connection, &["INFO", "memory"]);
        let (active, used) = (figure(&info, "allocator_active:"), figure(&info, "allocator_allocated:"));
        let pages = figure(&text(&mut connection, &["MEMORY", "MALLOC-STATS"]), "pages handed out:");
        assert!(active >= pages && pages > 10e6, "{pages} of {active}");
        assert!((figure(&info, "allocator_frag_ratio:") - active / used).abs() < 0.01, "{info}");
        let doctor = text(&mut connection, &["MEMORY", "DOCTOR"]);
        let has_holes = active > 1.1 * used && active - used > f64::from(10 << 20);
        assert_eq!(doctor.contains("Pages have free places"), has_holes, "{active} for {used}: {doctor}");
        server.engine().validate();
    }
}

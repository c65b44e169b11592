//! INFO: a text in sections, each written by one small function, and where its figures come from.
//!
//! - [`sections`]: the functions. - [`shards`]: figures of the shards, [`figures`]: those of memory. - [`loops`]: those of the threads' event loops. - [`process`]: what the system tells of the process. - [`rates`]: figures per second.
//!
//! INFO runs with all shards held, so that its counts of keys agree with each other; whatever it locks beside them
//! comes later in the lock order. Beside a script that runs for long it tells what was known of the shards before.

mod figures;
mod loops;
mod process;
mod rates;
mod sections;
mod shards;

use std::fmt::{Display, Write};

use larder_protocol::Args;

use crate::engine::Engine;
use crate::locked::Locked;
use crate::stats::Totals;

pub(crate) use figures::MemoryFigures;
pub(crate) use loops::Loops;
pub(crate) use process::resident_bytes;
pub(crate) use rates::Rates;
pub(crate) use shards::{KnownShards, ShardFigures};

/// The version of Redis that Larder behaves as.
pub(crate) const REDIS_VERSION: &str = "7.4.1";

/// A section of the text.
struct Section {
    /// As INFO's arguments name it.
    names: &'static [&'static str],
    heading: &'static str,
    /// Whether INFO without arguments shows it.
    default: bool,
    write: fn(&mut Report<'_>),
}

/// The sections in order.
const SECTIONS: &[Section] = &[
    Section { names: &["server"], heading: "Server", default: true, write: sections::server },
    Section { names: &["clients"], heading: "Clients", default: true, write: sections::clients },
    Section { names: &["memory"], heading: "Memory", default: true, write: sections::memory },
    Section { names: &["persistence"], heading: "Persistence", default: true, write: sections::persistence },
    Section { names: &["stats"], heading: "Stats", default: true, write: sections::stats },
    Section { names: &["replication"], heading: "Replication", default: true, write: sections::replication },
    Section { names: &["cpu"], heading: "CPU", default: true, write: sections::cpu },
    Section { names: &["module_list", "modules"], heading: "Modules", default: true, write: sections::modules },
    Section { names: &["commandstats"], heading: "Commandstats", default: false, write: sections::commandstats },
    Section { names: &["errorstats"], heading: "Errorstats", default: true, write: sections::errorstats },
    Section { names: &["latencystats"], heading: "Latencystats", default: false, write: sections::latencystats },
    Section { names: &["cluster"], heading: "Cluster", default: true, write: sections::cluster },
    Section { names: &["keyspace"], heading: "Keyspace", default: true, write: sections::keyspace },
];

impl Section {
    fn is_wanted(&self, wanted: Args<'_>) -> bool {
        let default = wanted.is_empty() && self.default;
        default
            || wanted.iter().any(|word| {
                let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
                is("all")
                    || is("everything")
                    || (is("default") && self.default)
                    || self.names.iter().any(|name| is(name))
            })
    }
}

/// The text while it is written, and what the sections read.
struct Report<'r> {
    engine: &'r Engine,
    shards: &'r ShardFigures,
    totals: Totals,
    text: String,
}

impl Report<'_> {
    /// Adds a line.
    fn fact(&mut self, name: &str, value: impl Display) {
        // Writing to a string cannot fail.
        let _ = write!(self.text, "{name}:{value}\r\n");
    }

    /// Adds a count of bytes, and again for people.
    fn bytes(&mut self, name: &str, bytes: u64) {
        self.fact(name, bytes);
        self.fact(&format!("{name}_human"), human(bytes));
    }
}

/// The text of INFO with these arguments: names of sections, `default`, `all` and `everything`, in any case.
pub(crate) fn text(locked: &mut Locked<'_>, wanted: Args<'_>) -> String {
    let shards = ShardFigures::of(locked);
    write(locked.engine(), &shards, wanted)
}

/// The same beside a script; nothing where no shard is known.
pub(crate) fn text_beside_script(engine: &Engine, wanted: Args<'_>) -> Option<String> {
    engine.scripts.known_shards.get().map(|shards| write(engine, &shards, wanted))
}

fn write(engine: &Engine, shards: &ShardFigures, wanted: Args<'_>) -> String {
    let mut report = Report { engine, shards, totals: engine.stats().totals(), text: String::new() };
    for section in SECTIONS.iter().filter(|section| section.is_wanted(wanted)) {
        let gap = if report.text.is_empty() { "" } else { "\r\n" };
        let _ = write!(report.text, "{gap}# {}\r\n", section.heading);
        (section.write)(&mut report);
    }
    report.text
}

/// A count of bytes with a unit of 1024s, as Redis prints it.
fn human(bytes: u64) -> String {
    const UNITS: [char; 5] = ['K', 'M', 'G', 'T', 'P'];
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let power = (bytes.ilog2() / 10).min(UNITS.len() as u32);
    format!("{:.2}{}", bytes as f64 / (1u64 << (10 * power)) as f64, UNITS[power as usize - 1])
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn bytes_are_printed_for_people() {
        let cases = [(0, "0B"), (1023, "1023B"), (1024, "1.00K"), (1536, "1.50K"), (25_274_793_984, "23.54G")];
        for (bytes, printed) in cases {
            assert_eq!(human(bytes), printed);
        }
        assert_eq!(human(u64::MAX), "16384.00P");
    }
}

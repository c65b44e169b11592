//! How long a value may be cached. Invalidation keeps values right; the TTL is what bounds the damage when an invalidation
//! is lost, and what lets go of what nobody asks for.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::Clock;
use crate::keys::{Group, Kind, Query};

/// Decides the time to live of a value.
pub trait Ttl: Send + Sync {
    /// How the dashboard calls it.
    fn name(&self) -> &'static str;
    /// How long the answer to a query may be cached; `None`: not at all.
    fn of(&self, query: &Query) -> Option<Duration>;
    /// The longest that it says for the pages of rooms.
    fn longest(&self) -> Duration {
        Duration::from_secs(600)
    }
}

/// By what it is.
///
/// - A page of a room, 60 s: a message every two minutes, and half of that.
/// - A feed, 45 s: people look at it now and then and do not expect the second.
/// - Rooms and their list, 10 min: new ones hardly ever come. (What is said changes the order of the list: that is seen to in
///   [`crate::room_order`], so this is the bound for when nothing is said.)
/// - A profile, 1 h: it changes when its user does something about it.
pub struct ByKind;

impl Ttl for ByKind {
    fn name(&self) -> &'static str {
        "by kind"
    }

    fn of(&self, query: &Query) -> Option<Duration> {
        Some(of_kind(query.kind()))
    }

    fn longest(&self) -> Duration {
        of_kind(Kind::Page)
    }
}

/// The time to live of a kind of data.
pub fn of_kind(kind: Kind) -> Duration {
    Duration::from_secs(match kind {
        Kind::Page => 60,
        Kind::Feed => 45,
        Kind::Rooms => 600,
        Kind::Profile => 3_600,
    })
}

/// Half the average time between a room's updates: the cached page is then more likely right than wrong at its end.
pub struct HalfTheGap(pub Arc<Rates>);

impl Ttl for HalfTheGap {
    fn name(&self) -> &'static str {
        "half the time between updates"
    }

    fn of(&self, query: &Query) -> Option<Duration> {
        let Group::Room(_) = query.group() else { return ByKind.of(query) };
        let gap = self.0.gap(&query.group());
        Some(
            gap.map_or(Duration::from_secs(600), |gap| {
                (gap / 2).clamp(Duration::from_secs(1), Duration::from_secs(600))
            }),
        )
    }
}

/// Above ten messages a minute 30 s, else 300 s.
pub struct ByRate(pub Arc<Rates>);

impl Ttl for ByRate {
    fn name(&self) -> &'static str {
        "by message rate"
    }

    fn of(&self, query: &Query) -> Option<Duration> {
        let Group::Room(_) = query.group() else { return ByKind.of(query) };
        let is_busy = self.0.per_hour(&query.group()) > 600.0;
        Some(Duration::from_secs(if is_busy { 30 } else { 300 }))
    }
}

/// Hot rooms, above a hundred messages an hour, 30 s; cold ones 600 s, or not cached at all, so that they do not push out
/// what is asked for.
pub struct HotAndCold {
    /// Where the rates are known.
    pub rates: Arc<Rates>,
    /// Whether cold rooms are cached.
    pub caches_cold: bool,
}

impl Ttl for HotAndCold {
    fn name(&self) -> &'static str {
        if self.caches_cold { "hot 30 s, cold 600 s" } else { "hot 30 s, cold not cached" }
    }

    fn of(&self, query: &Query) -> Option<Duration> {
        let Group::Room(_) = query.group() else { return ByKind.of(query) };
        let is_hot = self.rates.per_hour(&query.group()) > 100.0;
        match (is_hot, self.caches_cold) {
            (true, _) => Some(Duration::from_secs(30)),
            (false, true) => Some(Duration::from_secs(600)),
            (false, false) => None,
        }
    }
}

/// The same time for everything.
pub struct Fixed(pub Duration);

impl Ttl for Fixed {
    fn name(&self) -> &'static str {
        "fixed"
    }

    fn of(&self, _: &Query) -> Option<Duration> {
        Some(self.0)
    }

    fn longest(&self) -> Duration {
        self.0
    }
}

/// Shortens a time by up to a tenth, by chance (0 to 1): what was cached together must not expire together.
pub fn with_jitter(ttl: Duration, chance: f64) -> Duration {
    ttl.mul_f64(1.0 - 0.1 * chance.clamp(0.0, 1.0))
}

/// How often groups are updated, as this server sees it (it sees all messages, those of other servers, too).
pub struct Rates {
    clock: Clock,
    groups: Mutex<HashMap<Group, Rate>>,
}

/// An average that forgets: half of it is gone after ten minutes.
#[derive(Debug, Clone, Copy)]
struct Rate {
    per_hour: f64,
    at_ms: i64,
}

const HALF_LIFE_MS: f64 = 600_000.0;
/// Rooms whose rates are kept; the quietest are forgotten first.
const MOST_GROUPS: usize = 10_000;

impl Rates {
    /// No group was ever updated.
    pub fn new(clock: Clock) -> Self {
        Self { clock, groups: Mutex::new(HashMap::new()) }
    }

    /// Notes an update.
    pub fn note(&self, group: &Group) {
        let now = self.clock.now_ms();
        let mut groups = self.groups.lock();
        if groups.len() >= MOST_GROUPS && !groups.contains_key(group) {
            groups.retain(|_, rate| rate.at(now) > 1.0);
        }
        let rate = groups.entry(group.clone()).or_insert(Rate { per_hour: 0.0, at_ms: now });
        // The weight of one update, so that a steady stream of r an hour averages to r.
        let weight = std::f64::consts::LN_2 * 3_600_000.0 / HALF_LIFE_MS;
        *rate = Rate { per_hour: rate.at(now) + weight, at_ms: now };
    }

    /// Updates an hour.
    pub fn per_hour(&self, group: &Group) -> f64 {
        self.groups.lock().get(group).map_or(0.0, |rate| rate.at(self.clock.now_ms()))
    }

    /// The average time between updates; `None` when there are hardly any.
    pub fn gap(&self, group: &Group) -> Option<Duration> {
        let per_hour = self.per_hour(group);
        (per_hour > 0.1).then(|| Duration::from_secs_f64(3_600.0 / per_hour))
    }
}

impl Rate {
    fn at(&self, now_ms: i64) -> f64 {
        self.per_hour * 0.5f64.powf((now_ms - self.at_ms) as f64 / HALF_LIFE_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RoomId;

    fn page() -> Query {
        Query::Messages { room: RoomId::new("general").unwrap(), limit: 50, before: None }
    }

    /// Rates after two hours with a message every so many seconds.
    fn rates(every_s: i64) -> Arc<Rates> {
        let clock = Clock::manual(1_800_000_000_000);
        let rates = Arc::new(Rates::new(clock.clone()));
        for _ in 0..7_200 / every_s {
            clock.advance(every_s * 1_000);
            rates.note(&page().group());
        }
        rates
    }

    fn seconds(ttl: &dyn Ttl) -> Option<u64> {
        ttl.of(&page()).map(|ttl| ttl.as_secs_f64().round() as u64)
    }

    #[test]
    fn each_kind_has_its_time() {
        let times = [page(), Query::Rooms { after: None }, Query::Profile { user: 1 }]
            .map(|query| ByKind.of(&query).unwrap().as_secs());
        assert_eq!(times, [60, 600, 3_600]);
        assert_eq!(of_kind(Kind::Feed).as_secs(), 45);
    }

    #[test]
    fn a_message_every_two_minutes_makes_a_minute() {
        let seconds = seconds(&HalfTheGap(rates(120))).unwrap();
        assert!((52..=60).contains(&seconds), "{seconds}");
    }

    #[test]
    fn busy_rooms_get_short_times() {
        assert_eq!(seconds(&ByRate(rates(5))), Some(30), "twelve a minute");
        assert_eq!(seconds(&ByRate(rates(8))), Some(300), "seven and a half a minute");
        let hot_and_cold = |every_s, caches_cold| seconds(&HotAndCold { rates: rates(every_s), caches_cold });
        assert_eq!(hot_and_cold(30, true), Some(30), "120 an hour");
        assert_eq!(hot_and_cold(60, true), Some(600), "60 an hour");
        assert_eq!(hot_and_cold(60, false), None);
    }

    #[test]
    fn jitter_takes_away_up_to_a_tenth() {
        let ttl = Duration::from_secs(100);
        assert_eq!(with_jitter(ttl, 0.0).as_secs(), 100);
        assert_eq!(with_jitter(ttl, 1.0).as_secs(), 90);
    }
}

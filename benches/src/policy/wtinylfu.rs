//! W-TinyLFU: new keys enter a small LRU window; what leaves it is let into the main part, a segmented LRU, only if it was asked for
//! more often than what it would push out (Einziger, Friedman and Manes, "TinyLFU: A Highly Efficient Cache Admission Policy",
//! ACM Transactions on Storage 13, 2017). The window is 1 % of the cache; or a hill climber moves its size to where hits are
//! more (Einziger, Eytan, Friedman and Manes, "Adaptive Software Cache Management", Middleware 2018).

use super::list::{Links, List};
use super::sketch::Sketch;
use super::{Model, NONE, Setup};

/// The window's part of the cache at the start, and of the main part what is protected.
const WINDOW: f64 = 0.01;
const PROTECTED: f64 = 0.8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Absent,
    Window,
    Probation,
    Protected,
}

/// See the module's page.
pub struct WTinyLfu {
    capacity: u64,
    window_capacity: u64,
    protected_capacity: u64,
    links: Links,
    window: List,
    probation: List,
    protected: List,
    places: Vec<Place>,
    sketch: Sketch,
    climber: Option<Climber>,
}

impl WTinyLfu {
    /// With a window of 1 %.
    pub fn fixed(setup: &Setup<'_>) -> Self {
        let window = ((setup.capacity as f64 * WINDOW) as u64).max(1);
        Self {
            capacity: setup.capacity,
            window_capacity: window,
            protected_capacity: ((setup.capacity - window) as f64 * PROTECTED) as u64,
            links: setup.links(),
            window: List::EMPTY,
            probation: List::EMPTY,
            protected: List::EMPTY,
            places: vec![Place::Absent; setup.trace.keys],
            sketch: Sketch::new(setup.entries()),
            climber: None,
        }
    }

    /// With a window that a hill climber moves.
    pub fn climbing(setup: &Setup<'_>) -> Self {
        let climber = Climber::new(setup.capacity as f64, 10 * setup.entries() as u64);
        Self { climber: Some(climber), ..Self::fixed(setup) }
    }

    fn use_again(&mut self, key: u32, place: Place) {
        match place {
            Place::Window => self.links.renew(&mut self.window, key),
            Place::Protected => self.links.renew(&mut self.protected, key),
            Place::Probation | Place::Absent => {
                self.links.remove(&mut self.probation, key);
                self.links.push(&mut self.protected, key);
                self.places[key as usize] = Place::Protected;
                self.bound_protected();
            }
        }
    }

    fn bound_protected(&mut self) {
        while self.protected.weight > self.protected_capacity
            && let Some(key) = self.links.pop(&mut self.protected)
        {
            self.links.push(&mut self.probation, key);
            self.places[key as usize] = Place::Probation;
        }
    }

    /// Moves what the window has too much to the main part, if it is worth more than what is there.
    fn leave_window(&mut self) {
        while self.window.weight > self.window_capacity
            && let Some(candidate) = self.links.pop(&mut self.window)
        {
            self.links.push(&mut self.probation, candidate);
            self.places[candidate as usize] = Place::Probation;
            while self.resident() > self.capacity && self.places[candidate as usize] != Place::Absent {
                self.evict(candidate);
            }
        }
        while self.resident() > self.capacity {
            let lists = [&mut self.probation, &mut self.protected, &mut self.window];
            let Some(key) = lists.into_iter().find_map(|list| self.links.pop(list)) else { return };
            self.places[key as usize] = Place::Absent;
        }
    }

    /// Evicts the candidate, the newest of probation, or what would have to go for it.
    fn evict(&mut self, candidate: u32) {
        let from = if self.probation.oldest == candidate { &mut self.protected } else { &mut self.probation };
        let victim = from.oldest;
        let (from, loser) = if victim == NONE || self.sketch.frequency(candidate) <= self.sketch.frequency(victim) {
            (&mut self.probation, candidate)
        } else {
            (from, victim)
        };
        self.links.remove(from, loser);
        self.places[loser as usize] = Place::Absent;
    }

    /// Gives so much to the window, or takes it.
    fn move_border(&mut self, by: f64) {
        let part = by.abs() as u64;
        if by > 0.0 {
            let part = part.min(self.protected_capacity);
            self.window_capacity += part;
            self.protected_capacity -= part;
            self.bound_protected();
            let mut moved = 0;
            while let Some(&key) = [self.probation.oldest, self.protected.oldest].iter().find(|key| **key != NONE) {
                moved += self.links.weight(key);
                if moved > part {
                    break;
                }
                let from = if self.probation.is_empty() { &mut self.protected } else { &mut self.probation };
                self.links.remove(from, key);
                self.links.push(&mut self.window, key);
                self.places[key as usize] = Place::Window;
            }
        } else {
            let part = part.min(self.window_capacity - 1);
            self.window_capacity -= part;
            self.protected_capacity += part;
            while self.window.weight > self.window_capacity
                && let Some(key) = self.links.pop(&mut self.window)
            {
                self.links.push(&mut self.probation, key);
                self.places[key as usize] = Place::Probation;
            }
        }
    }
}

impl Model for WTinyLfu {
    fn request(&mut self, key: u32) -> bool {
        self.sketch.count(key);
        let place = self.places[key as usize];
        let hit = place != Place::Absent;
        if hit {
            self.use_again(key, place);
        } else {
            self.links.push(&mut self.window, key);
            self.places[key as usize] = Place::Window;
            self.leave_window();
        }
        if let Some(by) = self.climber.as_mut().and_then(|climber| climber.note(hit)) {
            self.move_border(by);
        }
        hit
    }

    fn resident(&self) -> u64 {
        self.window.weight + self.probation.weight + self.protected.weight
    }
}

/// Tries another size of the window after each sample of requests, and goes on in that direction while hits are more. Steps
/// become smaller, and large again when the hit ratio changes much.
struct Climber {
    sample: u64,
    largest_step: f64,
    step: f64,
    requests: u64,
    hits: u64,
    before: f64,
}

impl Climber {
    const FIRST_STEP: f64 = 0.0625;
    const DECAY: f64 = 0.98;
    /// A change of the hit ratio that begins the search anew.
    const RESTART: f64 = 0.05;

    fn new(capacity: f64, sample: u64) -> Self {
        let largest_step = capacity * Self::FIRST_STEP;
        Self { sample, largest_step, step: -largest_step, requests: 0, hits: 0, before: 0.0 }
    }

    /// Counts a request; how much the window shall grow, if it is time.
    fn note(&mut self, hit: bool) -> Option<f64> {
        self.requests += 1;
        self.hits += u64::from(hit);
        if self.requests < self.sample {
            return None;
        }
        let ratio = self.hits as f64 / self.requests as f64;
        let change = ratio - self.before;
        let by = if change >= 0.0 { self.step } else { -self.step };
        self.step = if change.abs() >= Self::RESTART { self.largest_step.copysign(by) } else { by * Self::DECAY };
        (self.requests, self.hits, self.before) = (0, 0, ratio);
        Some(by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::hits;

    #[test]
    fn what_was_asked_for_more_often_stays() {
        // The window has one place: b leaves it and is dropped, as a was asked for twice.
        assert_eq!(hits("wtinylfu-1pct", 2, "a a b c a b"), ".h..h.");
        assert_eq!(hits("wtinylfu-1pct", 2, "a b b b c a"), "..hh..");
    }

    #[test]
    fn the_climber_turns_round_when_hits_become_fewer() {
        let mut climber = Climber::new(1600.0, 10);
        let mut sample = |hits: u64| (0..10).filter_map(|at| climber.note(at < hits)).collect::<Vec<f64>>();
        assert_eq!(sample(5), [-100.0]);
        assert_eq!(sample(6), [-100.0], "steps are large again, as the ratio has changed");
        assert_eq!(sample(5), [100.0]);
        assert_eq!(sample(5), [100.0]);
        assert_eq!(sample(5), [98.0]);
    }
}

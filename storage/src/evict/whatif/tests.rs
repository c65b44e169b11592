//! Tests with caches that are told of, and with an exact LRU cache that tells of itself.

use std::collections::{BTreeMap, HashMap};

use super::*;

const NOW: u64 = 1_700_000_000_000;

fn present(rule: Option<Rule>, limit: u64) -> Present {
    Present { selection: rule.map(|rule| Selection { rule, volatile: false }), limit, size_weight: 0 }
}

fn sample(key: u64, event: Event) -> Sample {
    let reads = Reads { hits: (event == Event::Hit).into(), misses: (event == Event::Miss).into() };
    Sample { hash: Rng::seeded(key).next_u64(), expiry: u64::MAX, size: 100, event, for_what_if: true, reads }
}

/// A cache of 1,000 keys of 100 bytes that is full.
fn census() -> Census {
    Census { keys: 1000, bytes: 100_000, expiring: 0, used: 120_000, shards: 1, evicted: 0, refused: 0 }
}

fn estimates(answer: &Answer, rule: Rule) -> [Option<Estimate>; SIZES.len()] {
    let curve = answer.curves.iter().find(|curve| curve.selection == Selection { rule, volatile: false });
    curve.unwrap().estimates.map(Result::ok)
}

/// Keys of a loop, each missed and stored: as LRU has it while the loop is larger than the cache.
fn told_of_a_loop(length: u64) -> (WhatIf, Slice) {
    let (slice, mut what_if) = (Slice::default(), WhatIf::new(1, present(Some(Rule::Lru), 120_000)));
    what_if.measure(&slice, Census::default(), present(Some(Rule::Lru), 120_000), NOW);
    for request in 0..80 * length {
        for event in [Event::Miss, Event::Stored] {
            let sample = sample(request % length, event);
            if slice.takes(sample.hash) {
                what_if.feed(&[(sample, NOW)]);
            }
        }
        if request % length == 0 {
            what_if.note_reads(0, length, 0.9);
            what_if.measure(&slice, Census { evicted: request, ..census() }, present(Some(Rule::Lru), 120_000), NOW);
        }
    }
    (what_if, slice)
}

#[test]
fn a_loop_shows_where_it_would_fit() {
    let (what_if, slice) = told_of_a_loop(1500);
    let answer = what_if.answer();
    assert_eq!((answer.memory, answer.hit_ratio), (120_000, Some(0.0)));
    let lru = estimates(&answer, Rule::Lru).map(|it| it.unwrap().hit_ratio);
    assert!(lru[..3].iter().all(|ratio| *ratio < 0.02), "{lru:?}");
    assert!(lru[3..].iter().all(|ratio| *ratio > 0.9), "{lru:?}");
    let adaptive = estimates(&answer, Rule::Adaptive)[PRESENT].unwrap();
    assert!(adaptive.hit_ratio > 0.3, "a part of the loop stays: {adaptive:?}");
    assert!(what_if.memory() < 4 << 20, "{} bytes", what_if.memory());
    assert!(what_if.columns.iter().all(|column| !column.selection.volatile));
    WhatIf::ignore(&slice);
    assert!(!slice.takes(0));
}

#[test]
fn of_few_reads_and_of_what_is_not_known_nothing_is_said() {
    let slice = Slice::default();
    let mut what_if = WhatIf::new(1, present(None, 0));
    assert_eq!(what_if.answer().hit_ratio, None);
    let census = Census { evicted: 1, ..census() };
    what_if.measure(&slice, census, present(None, 0), NOW);
    what_if.note_reads(5, 5, 1.0);
    let answer = what_if.answer();
    assert_eq!((answer.reads, answer.hit_ratio), (10.0, Some(0.5)));
    assert!(answer.curves.iter().all(|curve| curve.estimates == [Err(NoEstimate::FewData); SIZES.len()]), "{answer:?}");
    // A cache that was full before: what it misses may be what went then, which a larger one might have.
    what_if.note_reads(5000, 5000, 1.0);
    for curve in what_if.answer().curves {
        let told = curve.estimates.map(|it| it.ok().map(|it| it.hit_ratio));
        assert_eq!(told, [None, None, Some(0.5), None, None], "{curve:?}");
    }
}

#[test]
fn without_a_limit_the_present_size_misses_what_is_missed_now() {
    let (slice, mut what_if) = (Slice::default(), WhatIf::new(1, present(None, 0)));
    what_if.measure(&slice, Census::default(), present(None, 0), NOW);
    for request in 0..50_000u64 {
        let key = request % 1009;
        let event = if request < 1009 { Event::Stored } else { Event::Hit };
        what_if.feed(&[(sample(key, event), NOW)]);
    }
    what_if.measure(&slice, census(), present(None, 0), NOW);
    what_if.note_reads(49_000, 500, 1.0);
    let answer = what_if.answer();
    assert_eq!(answer.memory, 120_000);
    let lru = estimates(&answer, Rule::Lru);
    assert!(lru[4].is_some_and(|it| it.hit_ratio > 0.97), "{lru:?}");
}

#[test]
fn policies_for_keys_that_expire_are_told_where_some_do() {
    let (slice, mut what_if) = (Slice::default(), WhatIf::new(1, present(Some(Rule::Lru), 120_000)));
    let rules = |what_if: &WhatIf| what_if.columns.iter().filter(|column| column.selection.volatile).count();
    let measure = |what_if: &mut WhatIf, expiring| {
        what_if.measure(&slice, Census { expiring, ..census() }, present(Some(Rule::Lru), 120_000), NOW);
        rules(what_if)
    };
    assert_eq!(measure(&mut what_if, 0), 0);
    assert_eq!(measure(&mut what_if, 500), 5);
    assert_eq!(what_if.answer().curves.len(), 9);
    assert_eq!(measure(&mut what_if, 0), 0);
    // Where all do the others are the same as for all keys.
    assert_eq!(measure(&mut what_if, 1000), 1);
    assert_eq!(what_if.answer().curves.len(), 9);
}

#[test]
fn a_handful_of_keys_is_not_looked_at() {
    let (slice, mut what_if) = (Slice::default(), WhatIf::new(1, present(None, 0)));
    let few = Census { keys: 5, ..census() };
    what_if.measure(&slice, Census::default(), present(None, 0), NOW);
    assert!(slice.takes(1 << 40), "nobody knows yet that they are few");
    what_if.feed(&[(sample(1, Event::Hit), NOW)]);
    for _ in 0..3 {
        what_if.measure(&slice, few, present(None, 0), NOW);
        assert!(!slice.takes(1 << 40));
    }
    what_if.note_reads(1000, 0, 1.0);
    what_if.feed(&[(sample(1, Event::Miss), NOW)]);
    assert!(what_if.answer().curves.iter().all(|curve| curve.estimates == [Err(NoEstimate::FewData); SIZES.len()]));
    what_if.measure(&slice, census(), present(None, 0), NOW);
    assert!(slice.takes(1 << 40));
}

#[test]
fn the_slice_follows_the_cache_and_the_pace() {
    let (slice, mut what_if) = (Slice::default(), WhatIf::new(1, present(None, 0)));
    let part = |what_if: &mut WhatIf, keys| {
        what_if.measure(&slice, Census { keys, ..census() }, present(None, 0), NOW);
        what_if.part
    };
    assert_eq!(part(&mut what_if, 100), 1.0);
    assert_eq!(part(&mut what_if, 1_024_000), 0.001);
    assert_eq!(part(&mut what_if, 1_100_000), 0.001, "a little does not matter");
    let mut parts = Vec::new();
    while what_if.slow_down() {
        parts.push(part(&mut what_if, 1_024_000));
    }
    assert_eq!(parts, [0.0005, 0.00025], "with fewer keys little could be said");
    (0..20).for_each(|_| what_if.speed_up());
    assert_eq!(part(&mut what_if, 1_024_000), 0.001);
}

/// An exact LRU cache of keys of 100 bytes.
struct Lru {
    room: usize,
    used: HashMap<u64, u64>,
    by_use: BTreeMap<u64, u64>,
    uses: u64,
    hits: u64,
    misses: u64,
}

impl Lru {
    fn new(room: usize) -> Self {
        Self { room, used: HashMap::new(), by_use: BTreeMap::new(), uses: 0, hits: 0, misses: 0 }
    }

    /// Asks for a key and stores it; whether it was there, and whether another one went.
    fn request(&mut self, key: u64) -> (bool, bool) {
        self.uses += 1;
        let before = self.used.insert(key, self.uses);
        let hit = before.is_some_and(|use_| self.by_use.remove(&use_).is_some());
        self.by_use.insert(self.uses, key);
        (self.hits, self.misses) = (self.hits + u64::from(hit), self.misses + u64::from(!hit));
        let oldest = if self.used.len() > self.room { self.by_use.pop_first() } else { None };
        if let Some((_, key)) = oldest {
            self.used.remove(&key);
        }
        (hit, oldest.is_some())
    }
}

/// A cache under LRU that tells of itself, and others of all sizes beside it.
struct Told {
    what_if: WhatIf,
    slice: Slice,
    caches: Vec<Lru>,
    evicted: u64,
    /// Reads that nobody was told of yet, in all and since the last sample.
    reads: Reads,
    carried: Reads,
    /// What the caches had had before, at each look.
    before: Vec<Vec<(u64, u64)>>,
}

impl Told {
    fn new(room: usize) -> Self {
        let caches = SIZES.map(|size| Lru::new((room as f64 * size) as usize)).into();
        let what_if = WhatIf::new(1, present(Some(Rule::Lru), room as u64 * 100));
        let mut told = Self {
            what_if,
            slice: Slice::default(),
            caches,
            evicted: 0,
            reads: Reads::default(),
            carried: Reads::default(),
            before: Vec::new(),
        };
        told.look();
        told
    }

    fn look(&mut self) {
        let (keys, limit) = (self.caches[PRESENT].used.len(), self.caches[PRESENT].room as u64 * 100);
        let census = Census {
            keys,
            bytes: keys * 100,
            expiring: 0,
            used: keys * 100,
            shards: 1,
            evicted: self.evicted,
            refused: 0,
        };
        let reads = std::mem::take(&mut self.reads);
        self.what_if.note_reads(reads.hits.into(), reads.misses.into(), 1.0);
        self.what_if.measure(&self.slice, census, present(Some(Rule::Lru), limit), NOW);
        self.before.push(self.caches.iter().map(|cache| (cache.hits, cache.misses)).collect());
    }

    fn request(&mut self, key: u64) {
        let told: Vec<(bool, bool)> = self.caches.iter_mut().map(|cache| cache.request(key)).collect();
        let (hit, has_evicted) = told[PRESENT];
        let read = Reads { hits: hit.into(), misses: (!hit).into() };
        (self.reads, self.carried) = (self.reads.plus(read), self.carried.plus(read));
        self.evicted += u64::from(has_evicted);
        let events = if hit { &[Event::Hit][..] } else { &[Event::Miss, Event::Stored] };
        events.iter().for_each(|event| self.feed(key, *event));
        if self.caches[0].uses.is_multiple_of(500) {
            self.look();
        }
    }

    fn feed(&mut self, key: u64, event: Event) {
        let sample = sample(key, event);
        if self.slice.takes(sample.hash) {
            self.what_if.feed(&[(Sample { reads: std::mem::take(&mut self.carried), ..sample }, NOW)]);
        }
    }

    /// The estimates for LRU, each with what the cache of that size had in the same reads.
    fn compared(&self) -> Vec<Option<(Estimate, f64)>> {
        let estimates = estimates(&self.what_if.answer(), Rule::Lru);
        let compare = |(at, estimate): (usize, Option<Estimate>)| {
            let estimate = estimate?;
            let (hits, misses) = (self.caches[at].hits, self.caches[at].misses);
            // The look after which as many reads came as the estimate is about.
            let since =
                |(before, missed): (u64, u64)| ((hits - before) as f64, (hits + misses - before - missed) as f64);
            let all = self.before.iter().map(|counts| since(counts[at]));
            let (hits, reads) =
                all.min_by(|one, other| (one.1 - estimate.reads).abs().total_cmp(&(other.1 - estimate.reads).abs()))?;
            Some((estimate, hits / reads))
        };
        estimates.into_iter().enumerate().map(compare).collect()
    }
}

/// Estimates that are within their errors, of those there are.
fn within(told: &Told) -> (usize, usize) {
    let known: Vec<(Estimate, f64)> = told.compared().into_iter().flatten().collect();
    let right = known.iter().filter(|(estimate, truth)| (estimate.hit_ratio - truth).abs() <= estimate.error.max(0.01));
    (right.count(), known.len())
}

#[test]
fn the_truth_is_within_the_error_where_a_loop_is_just_larger_than_the_cache() {
    let mut all_known = 0;
    for (loop_keys, seed) in [(4400, 0), (8800, 1), (4120, 2), (8200, 3)] {
        let mut told = Told::new(4000);
        for request in 0..14 * loop_keys {
            told.request(seed << 32 | request % loop_keys);
        }
        assert!(told.what_if.part < 0.45, "a part of the keys is looked at");
        let (right, known) = within(&told);
        assert_eq!(right, known, "{loop_keys}: {:?}", told.compared());
        all_known += known;
    }
    // Where the loop is hardly larger many a slice says that it fits: of a cache that misses all little is told then.
    assert!(all_known >= 15, "{all_known} of 20");
}

#[test]
fn the_truth_is_within_the_error_while_caches_fill() {
    let (mut told, mut rng) = (Told::new(4000), Rng::seeded(3));
    let (mut right, mut known) = (0, 0);
    for request in 0..400_000u64 {
        // Popular ones more often.
        let key = rng.below(40_000).min(rng.below(40_000)).min(rng.below(40_000));
        told.request(key);
        if request % 5000 == 0 {
            let now = within(&told);
            (right, known) = (right + now.0, known + now.1);
            if request < 4000 {
                assert_eq!(now.1, 0, "what is not full tells nothing");
            }
        }
    }
    assert!(known > 300 && right * 100 >= known * 95, "{right} of {known}");
    assert!(told.compared().iter().all(Option::is_some), "{:?}", told.compared());
}

#[test]
fn lru_tells_of_a_size_once_it_was_filled_and_others_after_a_turnover() {
    let mut told = Told::new(400);
    let mut first = [None; 2];
    for request in 0..5000 {
        told.request(request % 2500);
        let answer = told.what_if.answer();
        for (first, rule) in first.iter_mut().zip([Rule::Lru, Rule::Lfu]) {
            if first.is_none() && estimates(&answer, rule)[4].is_some() {
                *first = Some(request);
            }
        }
    }
    // Four times 400 keys; a look comes every 500 requests.
    assert!(first[0].is_some_and(|at| (1600..2200).contains(&at)), "{first:?}");
    assert!(first[1].is_some_and(|at| (3200..3800).contains(&at)), "{first:?}");
}

#[test]
fn a_cache_that_is_not_full_hits_as_much_with_more_memory() {
    let (mut told, mut rng) = (Told::new(10_000), Rng::seeded(3));
    for _ in 0..60_000 {
        told.request(rng.below(4000));
    }
    let answer = told.what_if.answer();
    let lru = estimates(&answer, Rule::Lru);
    assert!(lru.iter().all(Option::is_some), "{lru:?}");
    let (present, _) = told.compared()[PRESENT].unwrap();
    assert_eq!(present.error, 0.0, "that is no estimate");
    for (_, (estimate, truth)) in
        told.compared().into_iter().flatten().enumerate().filter(|(at, _)| ![0, PRESENT].contains(at))
    {
        assert!(
            (estimate.hit_ratio - truth).abs() < 0.01 && (0.0001..0.01).contains(&estimate.error),
            "{estimate:?}, not {truth}"
        );
    }
    let (estimate, truth) = told.compared()[0].unwrap();
    assert!((estimate.hit_ratio - truth).abs() < estimate.error, "{estimate:?}, not {truth}");
}

#[test]
fn a_new_limit_begins_a_new_curve_but_the_present_ratio_is_known() {
    let (mut told, mut rng) = (Told::new(4000), Rng::seeded(3));
    let mut run = |told: &mut Told, requests| (0..requests).for_each(|_| told.request(rng.below(8000)));
    run(&mut told, 100_000);
    assert_eq!(told.what_if.answer().state, State::Ready);
    told.caches.iter_mut().zip(SIZES).for_each(|(cache, size)| cache.room = (6000.0 * size) as usize);
    told.look();
    run(&mut told, 1500);
    let answer = told.what_if.answer();
    assert_eq!((answer.state, answer.reads), (State::Learning, 1500.0));
    let lru = estimates(&answer, Rule::Lru);
    let own = lru[PRESENT].zip(answer.hit_ratio);
    assert!(own.is_some_and(|(it, own)| it.error == 0.0 && (it.hit_ratio - own).abs() < 0.1), "{answer:?}");
    assert!(lru[0].is_none() && lru[1].is_none(), "{lru:?}");
    run(&mut told, 100_000);
    assert_eq!(told.what_if.answer().state, State::Ready);
}

#[test]
fn what_was_known_is_told_until_more_is() {
    let (mut told, mut rng) = (Told::new(4000), Rng::seeded(3));
    let mut run = |told: &mut Told, requests| (0..requests).for_each(|_| told.request(rng.below(20_000)));
    run(&mut told, 200_000);
    let before = told.what_if.answer();
    told.what_if.restart();
    told.look();
    let after = told.what_if.answer();
    assert_eq!(after.hit_ratio, before.hit_ratio);
    let (old, new) = (estimates(&before, Rule::Lfu), estimates(&after, Rule::Lfu));
    for (old, new) in old.iter().zip(new) {
        assert_eq!(new.map(|it| (it.hit_ratio, it.at_ms)), old.map(|it| (it.hit_ratio, Some(NOW))));
    }
    run(&mut told, 200_000);
    let now = told.what_if.answer();
    assert!(now.state == State::Ready && estimates(&now, Rule::Lfu)[0].unwrap().at_ms.is_none(), "{now:?}");
}

#[test]
fn what_is_known_of_the_keys_that_stay_is_kept_by_a_smaller_slice() {
    let (mut told, mut rng) = (Told::new(4000), Rng::seeded(3));
    let mut run =
        |told: &mut Told, requests| (0..requests).for_each(|_| told.request(rng.below(20_000).min(rng.below(20_000))));
    run(&mut told, 200_000);
    let (before, part) = (told.what_if.answer(), told.what_if.part());
    assert!(told.what_if.slow_down());
    told.look();
    let after = told.what_if.answer();
    assert_eq!((told.what_if.part(), after.state), (part / 2.0, State::Ready));
    assert_eq!(
        estimates(&after, Rule::Lfu).map(|it| it.map(|it| it.hit_ratio)),
        estimates(&before, Rule::Lfu).map(|it| it.map(|it| it.hit_ratio))
    );
    let (mut right, mut known) = (0, 0);
    for _ in 0..20 {
        run(&mut told, 10_000);
        assert_eq!(told.what_if.answer().state, State::Ready);
        let now = within(&told);
        (right, known) = (right + now.0, known + now.1);
    }
    assert!(right * 100 >= known * 95, "{right} of {known}: {:?}", told.compared());
}

#[test]
fn the_first_reads_of_a_cache_that_is_being_filled_are_no_measure() {
    let (mut told, mut rng) = (Told::new(20_000), Rng::seeded(3));
    (0..600).for_each(|_| told.request(rng.below(40_000).min(rng.below(40_000))));
    // The samples of others were lost, as they were too many at once.
    for _ in 0..9000 {
        let key = rng.below(40_000).min(rng.below(40_000));
        let (hit, _) = told.caches.iter_mut().map(|cache| cache.request(key)).nth(PRESENT).unwrap();
        told.reads = told.reads.plus(Reads { hits: hit.into(), misses: (!hit).into() });
    }
    told.look();
    let answer = told.what_if.answer();
    assert!(answer.hit_ratio.is_some());
    assert!(answer.curves.iter().all(|curve| curve.estimates == [Err(NoEstimate::FewData); SIZES.len()]), "{answer:?}");
}

#[test]
fn once_a_cache_with_room_is_filled_all_sizes_that_hold_it_have_its_ratio_though_not_all_was_looked_at() {
    let (mut told, mut rng) = (Told::new(20_000), Rng::seeded(3));
    for request in 0..40_000 {
        if request == 3000 {
            WhatIf::ignore(&told.slice);
        } else if request == 20_000 {
            told.what_if.resume(&told.slice);
            told.carried = Reads::default();
        }
        told.request(rng.below(4000));
    }
    let answer = told.what_if.answer();
    assert!(answer.hit_ratio.is_some_and(|it| it < 0.92), "the first uses count: {:?}", answer.hit_ratio);
    for curve in answer.curves {
        let known = curve.estimates.map(|it| it.map(|it| it.hit_ratio));
        assert!(known[0].is_ok_and(|it| it > 0.98) && known.iter().all(|it| *it == known[0]), "{curve:?}");
    }
}

#[test]
fn there_is_a_row_for_the_policy_in_use_and_a_new_limit_counts_at_once() {
    let volatile =
        Present { selection: Some(Selection { rule: Rule::Ttl, volatile: true }), limit: 1000, size_weight: 0 };
    let mut what_if = WhatIf::new(1, volatile);
    let rows = |what_if: &WhatIf| what_if.answer().curves.into_iter().map(|curve| curve.selection).collect::<Vec<_>>();
    assert!(rows(&what_if).contains(&volatile.selection.unwrap()), "{:?}", rows(&what_if));
    what_if.measure(&Slice::default(), census(), volatile, NOW);
    assert_eq!(rows(&what_if).len(), 5, "nothing expires, so that others would be of no use");
    what_if.adopt(Present { limit: 5000, ..volatile }, 100, NOW);
    assert_eq!(what_if.answer().memory, 5000);
}

#[test]
fn what_was_known_while_nothing_went_is_no_answer_once_something_has() {
    let (mut told, mut rng) = (Told::new(4000), Rng::seeded(3));
    let mut run = |told: &mut Told, requests, keys| (0..requests).for_each(|_| told.request(rng.below(keys)));
    run(&mut told, 12_000, 3000);
    assert!(estimates(&told.what_if.answer(), Rule::Lfu)[4].is_some(), "all sizes are alike");
    told.what_if.restart();
    told.look();
    assert!(estimates(&told.what_if.answer(), Rule::Lfu)[4].is_some(), "they still are");
    run(&mut told, 5000, 20_000);
    assert_eq!(estimates(&told.what_if.answer(), Rule::Lfu)[4], None);
}

#[test]
fn a_pause_does_no_harm() {
    let (mut told, mut rng) = (Told::new(4000), Rng::seeded(3));
    let mut run = |told: &mut Told, requests| (0..requests).for_each(|_| told.request(rng.below(20_000)));
    run(&mut told, 50_000);
    for _ in 0..20 {
        WhatIf::ignore(&told.slice);
        run(&mut told, 20_000);
        told.what_if.resume(&told.slice);
        told.carried = Reads::default();
        run(&mut told, 20_000);
    }
    let answer = told.what_if.answer();
    let lru = estimates(&answer, Rule::Lru);
    for (estimate, cache) in lru.iter().zip(&told.caches) {
        let truth = cache.hits as f64 / (cache.hits + cache.misses) as f64;
        assert!(estimate.is_some_and(|it| (it.hit_ratio - truth).abs() < 0.02), "{lru:?}, not {truth}");
    }
}

#[test]
fn with_pauses_what_goes_by_use_is_told_once_it_has_learned_of_it() {
    let (mut told, mut rng) = (Told::new(1000), Rng::seeded(3));
    let rules = [Rule::Lru, Rule::Lfu, Rule::Adaptive];
    let mut first = [None; 3];
    for looked_at in (500..30_000).step_by(500) {
        (0..500).for_each(|_| told.request(rng.below(2000)));
        WhatIf::ignore(&told.slice);
        (0..500).for_each(|_| told.request(rng.below(2000)));
        told.what_if.resume(&told.slice);
        told.carried = Reads::default();
        let answer = told.what_if.answer();
        for (rule, first) in rules.into_iter().zip(&mut first) {
            *first = first.or_else(|| estimates(&answer, rule)[1].map(|_| looked_at));
        }
    }
    // Half of the cache is 500 keys.
    let [lru, lfu, adaptive] = first.map(Option::unwrap);
    assert!(lru < 10_000 && (16_000..18_000).contains(&lfu) && (16_000..18_000).contains(&adaptive), "{first:?}");
}

#[test]
fn an_estimate_that_may_be_far_off_is_none() {
    let (mut told, mut rng) = (Told::new(4000), Rng::seeded(3));
    (0..50_000).for_each(|_| told.request(rng.below(20_000)));
    assert!(estimates(&told.what_if.answer(), Rule::Lru).iter().all(Option::is_some));
    // What is stored in pauses the small caches do not have.
    for round in 1..=10 {
        let keys = round * 100_000..round * 100_000 + 3000;
        WhatIf::ignore(&told.slice);
        keys.clone().for_each(|key| told.request(key));
        told.what_if.resume(&told.slice);
        told.carried = Reads::default();
        keys.for_each(|key| told.request(key));
    }
    let lru = estimates(&told.what_if.answer(), Rule::Lru);
    assert!(lru.iter().enumerate().all(|(at, it)| it.is_some() == (at == PRESENT)), "{lru:?}");
}

#[test]
fn of_a_cache_that_refuses_what_is_new_nothing_else_is_known() {
    let (slice, mut what_if) = (Slice::default(), WhatIf::new(1, present(None, 120_000)));
    what_if.measure(&slice, Census::default(), present(None, 120_000), NOW);
    for request in 0..20_000u64 {
        what_if.feed(&[(sample(request % 1000, if request < 1000 { Event::Stored } else { Event::Hit }), NOW)]);
    }
    let mut told = |present: Present, refused| {
        what_if.measure(&slice, Census { refused, ..census() }, present, NOW);
        what_if.note_reads(17_000, 2000, 1.0);
        what_if.answer().curves
    };
    let is_known = |curve: &Curve| curve.estimates.iter().any(Result::is_ok);
    assert!(told(present(None, 120_000), 10).iter().any(is_known), "a few do not matter");
    assert!(!told(present(None, 120_000), 100).iter().any(is_known));
    let volatile = Selection { rule: Rule::Lru, volatile: true };
    let present = Present { selection: Some(volatile), ..present(None, 120_000) };
    told(present, 100);
    for curve in told(present, 200) {
        let known = curve.estimates.map(|it| it.map(|it| it.error));
        let expected = [Err(NoEstimate::FewData); SIZES.len()];
        let mut own = expected;
        own[PRESENT] = Ok(0.0);
        assert_eq!(known, if curve.selection == volatile { own } else { expected }, "{curve:?}");
    }
}

/// A key that expires in a minute, or never.
fn sample_expiring(key: u64, event: Event, expires: bool) -> Sample {
    Sample { expiry: if expires { NOW + 60_000 } else { u64::MAX }, ..sample(key, event) }
}

#[test]
fn where_keys_that_stay_fill_the_memory_a_policy_for_those_that_expire_would_refuse_writes() {
    // Every fourth key expires; 1.5 times as many keys are read as there is room for, so that without those all of 2x have room.
    let (slice, mut what_if) = (Slice::default(), WhatIf::new(1, present(Some(Rule::Lru), 120_000)));
    what_if.measure(&slice, Census::default(), present(Some(Rule::Lru), 120_000), NOW);
    let (mut cache, mut rng) = (Lru::new(1000), Rng::seeded(7));
    for request in 0..40_000u64 {
        let key = rng.below(1500);
        let (hit, _) = cache.request(key);
        let events = if hit { &[Event::Hit][..] } else { &[Event::Miss, Event::Stored] };
        what_if.feed(&events.iter().map(|it| (sample_expiring(key, *it, key % 4 == 0), NOW)).collect::<Vec<_>>());
        what_if.note_reads(hit.into(), (!hit).into(), 1.0);
        if request % 500 == 0 {
            let census = Census { expiring: 250, evicted: request, ..census() };
            what_if.measure(&slice, census, present(Some(Rule::Lru), 120_000), NOW);
        }
    }
    let answer = what_if.answer();
    assert_eq!(answer.state, State::Ready);
    for curve in answer.curves {
        let refuses = curve.estimates.map(|it| it == Err(NoEstimate::Refuses));
        let expected = [true, true, true, false, false].map(|it| it && curve.selection.volatile);
        assert_eq!(refuses, expected, "{curve:?}");
    }
}

#[test]
fn however_many_keys_come_and_go_what_is_remembered_is_bounded() {
    let mut told = Told::new(4000);
    (0..60_000).for_each(|key| told.request(key));
    let (held, known) = (told.what_if.held, told.what_if.everything.miniature.len());
    assert!(known as f64 <= 4.5 * held, "{known}, where the cache holds {held}");
}

//! Random places and searches: the same members in the same order, with the same digits, as a real redis-server answers.

use larder_tests::random::Random;
use larder_tests::{Both, Compare};

/// Rounds from empty servers.
const ROUNDS: usize = 12;
/// Searches of a round.
const SEARCHES: usize = 400;

/// A number between two others, often with few digits, so that places and distances are equal now and then.
fn number(random: &mut Random, from: f64, to: f64) -> String {
    let value = from + (to - from) * (random.bits() as f64 / u64::MAX as f64);
    match random.below(4) {
        0 => format!("{value:.0}"),
        1 => format!("{value:.2}"),
        _ => format!("{value}"),
    }
}

/// Where the places of a round are: all over the map, or crowded, so that cells and distances repeat.
type Region = ((f64, f64), (f64, f64));

fn region(random: &mut Random) -> Region {
    *random.pick(&[
        ((-180.0, 180.0), (-85.0, 85.0)),
        ((2.0, 3.0), (48.0, 49.0)),
        ((-180.0, -170.0), (60.0, 85.05)),
        ((0.0, 0.001), (-0.001, 0.001)),
        ((170.0, 180.0), (-85.05, -70.0)),
    ])
}

fn place(random: &mut Random, (longitudes, latitudes): Region) -> [String; 2] {
    let clamped = |text: String, most: f64| {
        let value: f64 = text.parse().unwrap();
        if value.abs() > most { format!("{}", value.clamp(-most, most)) } else { text }
    };
    [
        clamped(number(random, longitudes.0, longitudes.1), 180.0),
        clamped(number(random, latitudes.0, latitudes.1), 85.05),
    ]
}

fn shape(random: &mut Random) -> Vec<String> {
    let unit = *random.pick(&["m", "km", "ft", "mi"]);
    let size = |random: &mut Random| {
        let size = 10_f64.powf(random.below(9) as f64 - 1.0);
        number(random, size / 10.0, size * 3.0)
    };
    if random.once_in(2) {
        vec!["BYRADIUS".into(), size(random), unit.into()]
    } else {
        vec!["BYBOX".into(), size(random), size(random), unit.into()]
    }
}

fn search(random: &mut Random, region: Region, members: usize) -> Vec<String> {
    let stores = random.once_in(4);
    let mut words = if stores { vec!["GEOSEARCHSTORE".to_string(), "d".into()] } else { vec!["GEOSEARCH".into()] };
    words.push("g".into());
    if random.once_in(2) {
        words.extend(["FROMMEMBER".into(), format!("m{}", random.below(members))]);
    } else {
        words.push("FROMLONLAT".into());
        words.extend(place(random, region));
    }
    words.extend(shape(random));
    words.extend(random.pick(&[None, None, Some("ASC"), Some("DESC")]).map(str::to_string));
    match random.below(4) {
        0 => words.extend(["COUNT".into(), (1 + random.below(60)).to_string()]),
        1 => words.extend(["COUNT".into(), (1 + random.below(60)).to_string(), "ANY".into()]),
        _ => {}
    }
    if stores {
        words.extend(random.once_in(2).then(|| "STOREDIST".to_string()));
    } else {
        let facts = ["WITHCOORD", "WITHDIST", "WITHHASH"];
        words.extend(facts.into_iter().filter(|_| random.once_in(3)).map(str::to_string));
    }
    words
}

#[test]
fn random_searches_find_the_same() {
    let Some(mut both) = Both::start() else { return };
    let mut random = Random::from_environment();
    for round in 0..ROUNDS {
        both.protocol(2 + (round % 2) as u8);
        let region = region(&mut random);
        let members = *random.pick(&[5, 60, 200, 2000]);
        let mut check = |words: &[String]| {
            if let Err(difference) = both.command(words, Compare::Exact) {
                panic!("{}", both.report(&difference));
            }
        };
        for member in 0..members {
            let mut words = vec!["GEOADD".to_string(), "g".into()];
            words.extend(place(&mut random, region));
            words.push(format!("m{member}"));
            check(&words);
        }
        for _ in 0..SEARCHES {
            let words = search(&mut random, region, members);
            check(&words);
            if words[0] == "GEOSEARCHSTORE" {
                check(&["ZRANGE", "d", "0", "-1", "WITHSCORES"].map(str::to_string));
            }
        }
        for _ in 0..100 {
            let mut member = || format!("m{}", random.below(members));
            check(&["GEODIST".into(), "g".into(), member(), member()]);
            check(&["GEOPOS".into(), "g".into(), member(), member()]);
            check(&["GEOHASH".into(), "g".into(), member(), member()]);
        }
        both.fresh().unwrap();
    }
}

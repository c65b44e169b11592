//! One read after the other: the bare page of 50 messages, and the full page of a room with reactions and active members.
//! The database is asked with the very SQL that fills the cache; a miss is a read whose own keys were removed before. Where
//! the database is told to be slow, its label says so: it stands in for a distant one.

use std::time::Instant;

use super::fleet::Fleet;
use super::table::{Row, time_rows};
use super::{Context, Target};
use crate::app::App;
use crate::cache::layers::Layer;
use crate::db::seed::room_name;
use crate::keys::Query;
use crate::model::RoomId;
use crate::options::{L1Name, StrategyName};

const ROOMS: usize = 10;

/// The experiment.
pub async fn run(context: &Context, target: &Target) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for delay_ms in [context.options.db_delay_ms, 20] {
        let note = if delay_ms > 0 { format!(", database {delay_ms} ms away (simulated)") } else { String::new() };
        let shared = Fleet::start(context, target, 1, |options| {
            (options.l1, options.strategy, options.db_delay_ms) = (L1Name::Off, StrategyName::CacheAside, delay_ms);
        })
        .await?;
        let layered = Fleet::start(context, target, 1, |options| {
            (options.l1, options.l1_ms, options.db_delay_ms) = (L1Name::Pubsub, 3_600_000, delay_ms);
        })
        .await?;
        let bare = Fleet::start(context, target, 1, |options| {
            (options.strategy, options.db_delay_ms) = (StrategyName::None, delay_ms);
        })
        .await?;
        let (few, many) = (context.amount(if delay_ms > 0 { 100 } else { 400 }), context.amount(4_000));
        for kind in ["bare page", "full page"] {
            let case = |how: &str| format!("{kind}, {how}{note}");
            rows.extend(time_rows(&case("database"), direct(&bare, kind, few, Layer::Database).await?));
            rows.extend(time_rows(&case("miss and fill"), misses(&shared, kind, few).await?));
            rows.extend(time_rows(&case("L2"), direct(&shared, kind, many, Layer::L2).await?));
            rows.extend(time_rows(&case("L1"), direct(&layered, kind, many, Layer::L1).await?));
            rows.extend(time_rows(&case("database, HTTP"), over_http(&bare, kind, few, Layer::Database).await?));
            rows.extend(time_rows(&case("L2, HTTP"), over_http(&shared, kind, many, Layer::L2).await?));
            rows.extend(time_rows(&case("L1, HTTP"), over_http(&layered, kind, many, Layer::L1).await?));
        }
        for fleet in [shared, layered, bare] {
            fleet.end().await?;
        }
    }
    Ok(rows)
}

fn query(kind: &str, number: usize) -> Result<Query, String> {
    let room = RoomId::new(&room_name(number % ROOMS)).map_err(|error| error.to_string())?;
    let (limit, before) = (50, None);
    Ok(if kind == "bare page" {
        Query::Messages { room, limit, before }
    } else {
        Query::RoomPage { room, limit, before }
    })
}

/// Reads that a layer answers, without HTTP. The first read of each room, which finds nothing, does not count.
async fn direct(fleet: &Fleet, kind: &str, count: usize, layer: Layer) -> Result<Vec<f64>, String> {
    let app = &fleet.apps[0];
    let mut times = Vec::with_capacity(count);
    for number in 0..count + 2 * ROOMS {
        let query = query(kind, number)?;
        let start = Instant::now();
        let (_, served) = app.read(&query).await.map_err(|error| error.to_string())?;
        if number >= 2 * ROOMS && served.layer == layer {
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    enough(times, count, layer)
}

async fn misses(fleet: &Fleet, kind: &str, count: usize) -> Result<Vec<f64>, String> {
    let app: &App = &fleet.apps[0];
    let mut times = Vec::with_capacity(count);
    for number in 0..count {
        let query = query(kind, number)?;
        app.layers.invalidate(&query.group(), None).await;
        let start = Instant::now();
        app.read(&query).await.map_err(|error| error.to_string())?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times)
}

async fn over_http(fleet: &Fleet, kind: &str, count: usize, layer: Layer) -> Result<Vec<f64>, String> {
    let client = fleet.clients(1).await?.remove(0);
    let part = if kind == "bare page" { "messages" } else { "page" };
    let mut times = Vec::with_capacity(count);
    for number in 0..count + 2 * ROOMS {
        let path = format!("/api/rooms/{}/{part}", room_name(number % ROOMS));
        let start = Instant::now();
        let answer = client.get(&path).await?;
        if number >= 2 * ROOMS && answer.header("x-cache") == layer.name() {
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    enough(times, count, layer)
}

/// Figures of a layer that hardly answered would be none.
fn enough(times: Vec<f64>, count: usize, layer: Layer) -> Result<Vec<f64>, String> {
    if times.len() * 10 < count * 9 {
        return Err(format!("{} answered {} of {count} reads only", layer.name(), times.len()));
    }
    Ok(times)
}

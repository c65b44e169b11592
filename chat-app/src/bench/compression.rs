//! What compression saves on pages of chat, and what it costs.

use std::time::Instant;

use super::fleet::Fleet;
use super::table::Row;
use super::{Context, Target};
use crate::cache::entry::{Compression, Entry};
use crate::db::seed::room_name;
use crate::keys::Query;
use crate::model::RoomId;

/// The experiment.
pub async fn run(context: &Context, target: &Target) -> Result<Vec<Row>, String> {
    let fleet = Fleet::start(context, target, 1, |_| {}).await?;
    let (mut rows, rooms) = (Vec::new(), context.amount(50));
    for (label, full) in [("bare page", false), ("full page", true)] {
        let (mut plain, mut packed, mut pack_us, mut unpack_us) = (0, 0, 0.0, 0.0);
        for number in 0..rooms {
            let room = RoomId::new(&room_name(number)).map_err(|error| error.to_string())?;
            let (limit, before) = (50, None);
            let query =
                if full { Query::RoomPage { room, limit, before } } else { Query::Messages { room, limit, before } };
            let (page, _) = fleet.apps[0].read(&query).await.map_err(|error| error.to_string())?;
            let entry = Entry { payload: Some(page), version: 1, cached_at_ms: 0, fresh_until_ms: 1, cost_us: 1 };
            plain += entry.encode(Compression { from_bytes: None }).len();
            let start = Instant::now();
            let bytes = entry.encode(Compression { from_bytes: Some(0) });
            pack_us += start.elapsed().as_secs_f64() * 1e6;
            packed += bytes.len();
            let start = Instant::now();
            Entry::decode(&bytes).ok_or("what was stored is not read again")?;
            unpack_us += start.elapsed().as_secs_f64() * 1e6;
        }
        let per = rooms as f64;
        rows.push(Row::new(label, "plain bytes", plain as f64 / per));
        rows.push(Row::new(label, "zstd bytes", packed as f64 / per));
        rows.push(Row::new(label, "saved %", 100.0 - packed as f64 * 100.0 / plain as f64));
        rows.push(Row::new(label, "compress us", pack_us / per));
        rows.push(Row::new(label, "expand us", unpack_us / per));
    }
    fleet.end().await?;
    Ok(rows)
}

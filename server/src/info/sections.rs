//! The sections of INFO. A figure that Redis has and that means nothing here is left out, rather than made up.

use std::sync::atomic::Ordering::Relaxed;

use super::shards::Database;
use super::{MemoryFigures, REDIS_VERSION, Report, human, process};
use crate::client::Client;
use crate::commands::table::TABLE;
use crate::config::{Choice, Supervised};

pub(super) fn server(report: &mut Report<'_>) {
    let engine = report.engine;
    let (settings, identity) = (engine.settings(), &engine.identity);
    let uptime = identity.started.elapsed().as_secs();
    report.fact("redis_version", REDIS_VERSION);
    report.fact("redis_git_sha1", "00000000");
    report.fact("redis_git_dirty", 0);
    report.fact("redis_build_id", "0");
    report.fact("redis_mode", "standalone");
    report.fact("larder_version", env!("CARGO_PKG_VERSION"));
    report.fact("os", process::system());
    report.fact("arch_bits", usize::BITS);
    report.fact("monotonic_clock", "POSIX clock_gettime");
    report.fact("multiplexing_api", "tokio");
    report.fact("atomicvar_api", "std");
    // There is no C compiler in it, which Redis tells in this way.
    report.fact("gcc_version", "0.0.0");
    report.fact("process_id", std::process::id());
    let manager = settings.supervised.get().manager();
    report.fact("process_supervised", manager.map_or("no", Supervised::name));
    report.fact("run_id", &identity.run_id);
    report.fact("tcp_port", identity.port.load(Relaxed));
    report.fact("server_time_usec", engine.clock().now_us());
    report.fact("uptime_in_seconds", uptime);
    report.fact("uptime_in_days", uptime / (24 * 3600));
    report.fact("hz", settings.hz.get());
    report.fact("configured_hz", settings.hz.get());
    report.fact("lru_clock", (engine.clock().now_ms() / 1000) & 0xff_ffff);
    report.fact("executable", path(std::env::current_exe().ok().as_deref()));
    report.fact("config_file", path(engine.config().file()));
    report.fact("io_threads_active", u8::from(settings.worker_threads() > 1));
    listeners(report);
}

fn path(path: Option<&std::path::Path>) -> String {
    path.map(|path| path.display().to_string()).unwrap_or_default()
}

/// A line per way in.
fn listeners(report: &mut Report<'_>) {
    let engine = report.engine;
    let (settings, port) = (engine.settings(), engine.identity.port.load(Relaxed));
    let mut ways = Vec::new();
    if port != 0 {
        let bind = settings.bind.get();
        let addresses: String =
            String::from_utf8_lossy(&bind).split_whitespace().map(|address| format!(",bind={address}")).collect();
        ways.push(format!("name=tcp{addresses},port={port}"));
    }
    let socket = settings.unixsocket.get();
    if !socket.is_empty() {
        ways.push(format!("name=unix,bind={}", String::from_utf8_lossy(&socket)));
    }
    for (number, way) in ways.iter().enumerate() {
        report.fact(&format!("listener{number}"), way);
    }
}

pub(super) fn clients(report: &mut Report<'_>) {
    let engine = report.engine;
    let clients = engine.clients().all();
    let largest = |size: fn(&Client) -> usize| clients.iter().map(|client| size(client)).max().unwrap_or(0);
    let with = |holds: fn(&Client) -> bool| clients.iter().filter(|client| holds(client)).count();
    report.fact("connected_clients", engine.clients().len());
    report.fact("cluster_connections", 0);
    report.fact("maxclients", engine.settings().maxclients.get());
    report.fact("client_recent_max_input_buffer", largest(|client| client.facts.query_bytes.load(Relaxed)));
    report.fact("client_recent_max_output_buffer", largest(output_bytes));
    report.fact("blocked_clients", engine.waiting().count() + with(|client| client.facts.paused.load(Relaxed)));
    report.fact("tracking_clients", engine.tracking().counts().clients);
    report.fact("pubsub_clients", with(|client| client.facts.listens()));
    report.fact("watching_clients", with(|client| client.watched_keys() > 0));
    report.fact("clients_in_timeout_table", with(|client| client.waits_until().is_some()));
    report.fact("total_watched_keys", report.shards.watched);
    report.fact("total_blocking_keys", report.shards.waited_for);
    report.fact("total_blocking_keys_on_nokey", report.shards.also_without_key);
}

fn output_bytes(client: &Client) -> usize {
    client.facts.output_bytes.load(Relaxed) + client.outbox_bytes()
}

pub(super) fn memory(report: &mut Report<'_>) {
    let engine = report.engine;
    let figures = MemoryFigures::with(report.engine, report.shards);
    let (used, resident) = (figures.used, figures.resident);
    report.bytes("used_memory", used);
    if let Some(resident) = resident {
        report.bytes("used_memory_rss", resident);
    }
    report.bytes("used_memory_peak", figures.peak);
    report.fact("used_memory_peak_perc", format_args!("{:.2}%", figures.peak_percent()));
    report.fact("used_memory_overhead", figures.overhead());
    // Only data counts as used, and there is none at the start.
    report.fact("used_memory_startup", 0);
    report.fact("used_memory_dataset", figures.dataset());
    report.fact("used_memory_dataset_perc", format_args!("{:.2}%", figures.dataset_percent()));
    report.fact("allocator_allocated", used);
    report.fact("allocator_active", used + figures.free);
    report.fact("allocator_resident", figures.held());
    report.fact("allocator_muzzy", 0);
    if let Some(machine) = process::machine_bytes() {
        report.bytes("total_system_memory", machine);
    }
    scripts_memory(report);
    let settings = engine.settings();
    report.bytes("maxmemory", settings.maxmemory.get());
    report.fact("maxmemory_policy", settings.maxmemory_policy.get().name());
    report.fact("allocator_frag_ratio", format_args!("{:.2}", figures.fragmentation()));
    report.fact("allocator_frag_bytes", figures.free);
    report.fact("allocator_rss_ratio", format_args!("{:.2}", figures.reserve_ratio()));
    report.fact("allocator_rss_bytes", figures.reserve);
    if let Some(resident) = resident {
        let held = figures.held();
        report.fact("rss_overhead_ratio", format_args!("{:.2}", ratio(resident, held)));
        report.fact("rss_overhead_bytes", resident as i64 - held as i64);
        report.fact("mem_fragmentation_ratio", format_args!("{:.2}", ratio(resident, figures.accounted())));
        report.fact("mem_fragmentation_bytes", resident as i64 - figures.accounted() as i64);
    }
    for name in ["mem_not_counted_for_evict", "mem_replication_backlog", "mem_total_replication_buffers"] {
        report.fact(name, 0);
    }
    report.fact("mem_clients_slaves", 0);
    report.fact("mem_clients_normal", figures.clients);
    for name in ["mem_cluster_links", "mem_aof_buffer"] {
        report.fact(name, 0);
    }
    report.fact("mem_cache_insight", figures.insight);
    report.fact("mem_eviction_policy", figures.policy);
    report.fact("mem_allocator", "larder-slab");
    report.fact("mem_overhead_db_hashtable_rehashing", 0);
    report.fact("active_defrag_running", 0);
    let (pending, freed) = engine.garbage_counts();
    report.fact("lazyfree_pending_objects", pending);
    report.fact("lazyfreed_objects", freed);
}

/// What interpreters hold is known to within 16 KiB each; of what is cached the sources are counted.
fn scripts_memory(report: &mut Report<'_>) {
    let scripts = &report.engine.scripts;
    let (held, held_by_functions) = (scripts.held.load(Relaxed), scripts.held_by_functions.load(Relaxed));
    let (scripts, bytes, _) = scripts.cache.lock().figures();
    for name in ["used_memory_lua", "used_memory_vm_eval"] {
        report.fact(name, held);
    }
    report.fact("used_memory_lua_human", human(held as u64));
    report.fact("used_memory_scripts_eval", bytes);
    report.fact("number_of_cached_scripts", scripts);
    let (libraries, functions, of_functions) = report.engine.scripts.libraries.lock().figures();
    report.fact("number_of_functions", functions);
    report.fact("number_of_libraries", libraries);
    report.fact("used_memory_vm_functions", held_by_functions);
    report.bytes("used_memory_vm_total", (held + held_by_functions) as u64);
    report.fact("used_memory_functions", of_functions);
    report.bytes("used_memory_scripts", (bytes + of_functions) as u64);
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// There is no persistence: nothing is ever loaded or saved, and every change is unsaved.
pub(super) fn persistence(report: &mut Report<'_>) {
    report.fact("loading", 0);
    report.fact("async_loading", 0);
    for name in ["current_cow_peak", "current_cow_size", "current_cow_size_age"] {
        report.fact(name, 0);
    }
    report.fact("current_fork_perc", "0.00");
    report.fact("current_save_keys_processed", 0);
    report.fact("current_save_keys_total", 0);
    report.fact("rdb_changes_since_last_save", report.totals.dirty);
    report.fact("rdb_bgsave_in_progress", 0);
    report.fact("rdb_last_save_time", report.engine.identity.started_ms / 1000);
    report.fact("rdb_last_bgsave_status", "ok");
    report.fact("rdb_last_bgsave_time_sec", -1);
    report.fact("rdb_current_bgsave_time_sec", -1);
    for name in ["rdb_saves", "rdb_last_cow_size", "rdb_last_load_keys_expired", "rdb_last_load_keys_loaded"] {
        report.fact(name, 0);
    }
    report.fact("aof_enabled", 0);
    report.fact("aof_rewrite_in_progress", 0);
    report.fact("aof_rewrite_scheduled", 0);
    report.fact("aof_last_rewrite_time_sec", -1);
    report.fact("aof_current_rewrite_time_sec", -1);
    report.fact("aof_last_bgrewrite_status", "ok");
    report.fact("aof_rewrites", 0);
    report.fact("aof_rewrites_consecutive_failures", 0);
    report.fact("aof_last_write_status", "ok");
    for name in ["aof_last_cow_size", "module_fork_in_progress", "module_fork_last_cow_size"] {
        report.fact(name, 0);
    }
}

pub(super) fn stats(report: &mut Report<'_>) {
    let engine = report.engine;
    let totals = report.totals.clone();
    let rates = engine.rates.per_second();
    let (channels, patterns, shard_channels) = engine.channels().counts();
    report.fact("total_connections_received", totals.connections);
    report.fact("total_commands_processed", totals.commands);
    report.fact("instantaneous_ops_per_sec", rates.commands.round());
    report.fact("total_net_input_bytes", totals.input_bytes);
    report.fact("total_net_output_bytes", totals.output_bytes);
    report.fact("total_net_repl_input_bytes", 0);
    report.fact("total_net_repl_output_bytes", 0);
    report.fact("instantaneous_input_kbps", format_args!("{:.2}", rates.input_bytes / 1024.0));
    report.fact("instantaneous_output_kbps", format_args!("{:.2}", rates.output_bytes / 1024.0));
    report.fact("instantaneous_input_repl_kbps", "0.00");
    report.fact("instantaneous_output_repl_kbps", "0.00");
    report.fact("rejected_connections", totals.rejected_connections);
    report.fact("sync_full", 0);
    report.fact("sync_partial_ok", 0);
    report.fact("sync_partial_err", 0);
    report.fact("expired_subkeys", totals.expired_fields);
    report.fact("expired_keys", totals.expired);
    report.fact("expired_stale_perc", format_args!("{:.2}", report.shards.stale_percent));
    report.fact("expired_time_cap_reached_count", totals.sweep_cut_short);
    report.fact("expire_cycle_cpu_milliseconds", totals.sweep_nanoseconds / 1_000_000);
    report.fact("evicted_keys", totals.evicted);
    report.fact("evicted_clients", totals.evicted_clients);
    let (.., evicted_scripts) = engine.scripts.cache.lock().figures();
    report.fact("evicted_scripts", evicted_scripts);
    let excess = engine.evictor().excess(engine);
    report.fact("total_eviction_exceeded_time", excess.total.as_millis());
    report.fact("current_eviction_exceeded_time", excess.current.as_millis());
    report.fact("keyspace_hits", totals.hits);
    report.fact("keyspace_misses", totals.misses);
    report.fact("pubsub_channels", channels);
    report.fact("pubsub_patterns", patterns);
    report.fact("pubsubshard_channels", shard_channels);
    report.fact("latest_fork_usec", 0);
    report.fact("total_forks", 0);
    for name in [
        "migrate_cached_sockets",
        "slave_expires_tracked_keys",
        "active_defrag_hits",
        "active_defrag_misses",
        "active_defrag_key_hits",
        "active_defrag_key_misses",
        "total_active_defrag_time",
        "current_active_defrag_time",
    ] {
        report.fact(name, 0);
    }
    tracking(report);
    report.fact("unexpected_error_replies", 0);
    report.fact("total_error_replies", totals.errors);
    report.fact("dump_payload_sanitizations", totals.sanitized_payloads);
    report.fact("total_reads_processed", totals.reads);
    report.fact("total_writes_processed", totals.writes);
    report.fact("io_threaded_reads_processed", 0);
    report.fact("io_threaded_writes_processed", 0);
    // Replies have no buffer whose size would follow their use.
    report.fact("reply_buffer_shrinks", 0);
    report.fact("reply_buffer_expands", 0);
    loops(report);
    report.fact("client_query_buffer_limit_disconnections", totals.query_limit_closed);
    report.fact("client_output_buffer_limit_disconnections", totals.output_limit_closed);
    denials(report);
}

/// What is remembered for clients that track keys.
fn tracking(report: &mut Report<'_>) {
    let tracked = report.engine.tracking().counts();
    report.fact("tracking_total_keys", tracked.keys);
    report.fact("tracking_total_items", tracked.items);
    report.fact("tracking_total_prefixes", tracked.prefixes);
}

/// Calls that the rules of users forbade.
fn denials(report: &mut Report<'_>) {
    let totals = report.totals.clone();
    report.fact("acl_access_denied_auth", totals.denied_auth);
    report.fact("acl_access_denied_cmd", totals.denied_commands);
    report.fact("acl_access_denied_key", totals.denied_keys);
    report.fact("acl_access_denied_channel", totals.denied_channels);
}

/// The event loops of the threads.
fn loops(report: &mut Report<'_>) {
    let engine = report.engine;
    let rates = engine.rates.per_second();
    let loops = engine.loops.totals();
    report.fact("eventloop_cycles", loops.cycles);
    report.fact("eventloop_duration_sum", loops.busy.as_micros());
    report.fact("eventloop_duration_cmd_sum", engine.stats().command_nanoseconds() / 1000);
    report.fact("instantaneous_eventloop_cycles_per_sec", rates.cycles.round());
    report.fact("instantaneous_eventloop_duration_usec", rates.cycle_us.round());
}

/// There is no replication: this is a master without replicas.
pub(super) fn replication(report: &mut Report<'_>) {
    report.fact("role", "master");
    report.fact("connected_slaves", 0);
    report.fact("master_failover_state", "no-failover");
    let id = report.engine.identity.replication_id.lock().clone();
    report.fact("master_replid", id);
    report.fact("master_replid2", "0".repeat(40));
    report.fact("master_repl_offset", 0);
    report.fact("second_repl_offset", -1);
    report.fact("repl_backlog_active", 0);
    // As it would be; there is none.
    report.fact("repl_backlog_size", 1 << 20);
    report.fact("repl_backlog_first_byte_offset", 0);
    report.fact("repl_backlog_histlen", 0);
}

pub(super) fn cpu(report: &mut Report<'_>) {
    let Some(seconds) = process::cpu_seconds() else { return };
    report.fact("used_cpu_sys", format_args!("{:.6}", seconds.system));
    report.fact("used_cpu_user", format_args!("{:.6}", seconds.user));
    report.fact("used_cpu_sys_children", format_args!("{:.6}", seconds.children_system));
    report.fact("used_cpu_user_children", format_args!("{:.6}", seconds.children_user));
    if let Some(seconds) = process::main_thread_cpu_seconds() {
        report.fact("used_cpu_sys_main_thread", format_args!("{:.6}", seconds.system));
        report.fact("used_cpu_user_main_thread", format_args!("{:.6}", seconds.user));
    }
}

/// There are no modules.
pub(super) fn modules(_: &mut Report<'_>) {}

pub(super) fn commandstats(report: &mut Report<'_>) {
    for (number, row) in TABLE.rows().enumerate() {
        let counted = report.engine.stats().row(number as u16);
        if counted.calls == 0 && counted.failed == 0 && counted.rejected == 0 {
            continue;
        }
        let microseconds = counted.nanoseconds / 1000;
        report.fact(
            &format!("cmdstat_{}", row.lower_name()),
            format_args!(
                "calls={},usec={microseconds},usec_per_call={:.2},rejected_calls={},failed_calls={}",
                counted.calls,
                ratio(microseconds, counted.calls),
                counted.rejected,
                counted.failed,
            ),
        );
    }
}

pub(super) fn errorstats(report: &mut Report<'_>) {
    for (code, count) in report.engine.stats().errors() {
        // What would end the name or the line stands for itself no longer.
        let code = code.replace(['#', ':', '\n', '\r'], "_");
        report.fact(&format!("errorstat_{code}"), format_args!("count={count}"));
    }
}

/// Percentiles of the times of each command, in microseconds.
pub(super) fn latencystats(report: &mut Report<'_>) {
    let engine = report.engine;
    let tracked = engine.settings().latency_tracking.get();
    let percentiles = engine.settings().latency_tracking_info_percentiles.get();
    let percentiles = String::from_utf8_lossy(&percentiles);
    for (number, row) in TABLE.rows().enumerate() {
        let Some(times) = engine.stats().times(number as u16, tracked) else { continue };
        let shown = percentiles.split_whitespace().map(|percentile| {
            let time = times.percentile(percentile.parse().unwrap_or_default());
            format!("p{percentile}={:.3}", time as f64 / 1000.0)
        });
        let shown = shown.collect::<Vec<_>>().join(",");
        report.fact(&format!("latency_percentiles_usec_{}", row.lower_name()), shown);
    }
}

pub(super) fn cluster(report: &mut Report<'_>) {
    report.fact("cluster_enabled", 0);
}

pub(super) fn keyspace(report: &mut Report<'_>) {
    for database in &report.shards.databases {
        let Database { number, keys, expires, average_ttl, timed } = database;
        report.fact(
            &format!("db{number}"),
            format_args!("keys={keys},expires={expires},avg_ttl={average_ttl},subexpiry={timed}"),
        );
    }
}

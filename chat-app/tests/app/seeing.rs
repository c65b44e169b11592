//! Dashboard, metrics and what reads them.

use std::collections::HashSet;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use chat_app::client::Client;
use larder_tests::tool;
use serde_json::json;

use crate::fleet::{AppProcess, Directory, Fleet, eventually};
use crate::servers::{first, peers};

const PAGE: &str = "/api/rooms/general/messages";

fn monitoring(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("monitoring").join(name)
}

/// The names of metrics in a text.
fn metrics_in(text: &str) -> HashSet<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c| !word(c)).filter(|name| name.starts_with("chat_")).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dashboard_counts_over_all_servers() {
    for peer in peers() {
        let Some(fleet) = Fleet::start(peer, &["--l1", "off", "--limit", "2"]).await else { continue };
        let ann = fleet.everywhere("Ann").await;
        for client in &ann {
            for _ in 0..10 {
                client.get(PAGE).await.unwrap();
            }
            client.post(PAGE, &json!({ "body": "counted" })).await.unwrap();
        }
        let stats = async || ann[1].get("/api/stats").await.unwrap().json();
        eventually("all are counted", async || {
            let stats = stats().await;
            stats["servers"] == 3 && stats["refused"] == 1 && stats["messages"] == 2
        })
        .await;
        let stats = stats().await;
        let hits = stats["l2_hits"].as_u64().unwrap();
        assert!(hits >= 27 && stats["l1_hits"] == 0 && stats["queries_saved"] == hits, "{stats}");
        assert!(stats["hit_rate"].as_f64().unwrap() > 70.0);
        assert!(stats["percentiles_ms"]["database"][2].as_f64().unwrap() > 0.0);
        assert!(stats["caches"][0]["memory"].as_u64().unwrap() > 0 && stats["caches"][0]["keys"].as_u64().unwrap() > 0);
        let page = ann[0].get("/dashboard").await.unwrap().text();
        for active in ["cache-aside", "version", "sliding, 2 in 60 s", "zstd", "by kind"] {
            assert!(page.contains(active), "{active}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_cache_alerts() {
    let Some(mut fleet) = Fleet::start(first(), &[]).await else { return };
    let ann = fleet.apps[0].user("Ann").await;
    fleet.cache.kill();
    eventually("an alert", async || {
        let stats = ann.get("/api/stats").await.unwrap().json();
        stats["alerts"].as_array().unwrap().iter().any(|alert| alert["what"] == "cache cannot be reached")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_state_server_alerts() {
    let Some(mut fleet) = Fleet::start(first(), &[]).await else { return };
    let ann = fleet.apps[0].user("Ann").await;
    let stats = async || ann.get("/api/stats").await.unwrap().json();
    eventually("it is there", async || stats().await["state"]["up"] == true).await;
    fleet.stop_state();
    eventually("an alert", async || {
        let stats = stats().await;
        let said = |alert: &serde_json::Value| alert["what"] == "the state server cannot be reached";
        stats["state"]["up"] == false && stats["alerts"].as_array().unwrap().iter().any(said)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_of_rules_and_dashboards_is_there() {
    let directory = Directory::new();
    let app = AppProcess::start(&directory, &["--seed", "500"]).await;
    let ann = app.user("Ann").await;
    ann.get(PAGE).await.unwrap();
    ann.get(PAGE).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let text = Client::new(&app.host()).get("/metrics").await.unwrap().text();
    let there = metrics_in(&text);
    for file in ["alerts.yml", "grafana.json"] {
        let used = metrics_in(&std::fs::read_to_string(monitoring(file)).unwrap());
        assert!(used.len() > 5, "{file}");
        let absent: Vec<&String> = used.difference(&there).collect();
        assert!(absent.is_empty(), "{file}: {absent:?}");
    }
    assert!(!text.contains("general") && !text.contains("Ann"), "no label holds a room or user");
    let grafana: serde_json::Value =
        serde_json::from_slice(&std::fs::read(monitoring("grafana.json")).unwrap()).unwrap();
    assert!(grafana["panels"].as_array().unwrap().len() > 5);
    let Some(promtool) = tool("promtool") else { return };
    let mut check = Command::new(&promtool).args(["check", "metrics"]).stdin(Stdio::piped()).spawn().unwrap();
    check.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(check.wait().unwrap().success(), "promtool check metrics");
    let rules = Command::new(&promtool).args(["check", "rules"]).arg(monitoring("alerts.yml")).status().unwrap();
    assert!(rules.success(), "promtool check rules");
}

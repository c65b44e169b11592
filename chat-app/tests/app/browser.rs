//! The pages in a real browser: headless Chromium, driven over its DevTools protocol.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use chat_app::client::Client;
use futures_util::{SinkExt, StreamExt};
use larder_tests::process::absent;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::fleet::{AppProcess, Directory, Fleet};
use crate::postgres::Postgres;
use crate::restart::Way;
use crate::servers::first;

/// A browser; killed on drop.
struct Browser {
    child: Child,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    last_id: u64,
    /// What pages complained about: errors of scripts, and what the Content-Security-Policy refused.
    complaints: Vec<String>,
    _directory: Directory,
}

/// A tab with cookies of its own, as somebody else's browser has.
struct Tab {
    session: String,
}

impl Browser {
    async fn start() -> Option<Self> {
        let Some(program) = program() else {
            absent("chromium");
            return None;
        };
        let directory = Directory::new();
        let child = Command::new(program)
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
            .args(["--remote-debugging-port=0", "--remote-allow-origins=*", "--window-size=1200,900"])
            .arg(format!("--user-data-dir={}", directory.0.display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (file, start) = (directory.0.join("DevToolsActivePort"), Instant::now());
        let address = loop {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            if let Some((port, path)) = text.split_once('\n') {
                break format!("ws://127.0.0.1:{port}{path}");
            }
            assert!(start.elapsed() < Duration::from_secs(60), "the browser does not start");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let (socket, _) = tokio_tungstenite::connect_async(address).await.unwrap();
        Some(Self { child, socket, last_id: 0, complaints: Vec::new(), _directory: directory })
    }

    async fn call(&mut self, session: &str, method: &str, parameters: Value) -> Value {
        self.last_id += 1;
        let mut request = json!({ "id": self.last_id, "method": method, "params": parameters });
        if !session.is_empty() {
            request["sessionId"] = session.into();
        }
        self.socket.send(Frame::Text(request.to_string().into())).await.unwrap();
        loop {
            let frame = tokio::time::timeout(Duration::from_secs(30), self.socket.next()).await.expect(method);
            let Frame::Text(text) = frame.unwrap().unwrap() else { continue };
            let said: Value = serde_json::from_str(text.as_str()).unwrap();
            match said["method"].as_str() {
                Some("Runtime.exceptionThrown") => self.complaints.push(said["params"]["exceptionDetails"].to_string()),
                Some("Log.entryAdded") if said["params"]["entry"]["source"] == "security" => {
                    self.complaints.push(said["params"]["entry"]["text"].to_string());
                }
                _ => {}
            }
            if said["id"] == self.last_id {
                assert!(said["error"].is_null(), "{method}: {}", said["error"]);
                return said["result"].clone();
            }
        }
    }

    async fn open(&mut self, url: &str) -> Tab {
        let context = self.call("", "Target.createBrowserContext", json!({})).await["browserContextId"].clone();
        let target = json!({ "url": "about:blank", "browserContextId": context });
        let target = self.call("", "Target.createTarget", target).await["targetId"].clone();
        let attach = json!({ "targetId": target, "flatten": true });
        let session = self.call("", "Target.attachToTarget", attach).await["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            self.call(&session, domain, json!({})).await;
        }
        let tab = Tab { session };
        self.go(&tab, url).await;
        tab
    }

    async fn go(&mut self, tab: &Tab, url: &str) {
        self.call(&tab.session, "Page.navigate", json!({ "url": url })).await;
        self.waits(tab, "document.readyState === 'complete' && location.href !== 'about:blank'").await;
    }

    async fn evaluate(&mut self, tab: &Tab, script: &str) -> Value {
        let parameters = json!({ "expression": script, "returnByValue": true });
        self.call(&tab.session, "Runtime.evaluate", parameters).await["result"]["value"].clone()
    }

    /// Waits until a script's value is true.
    async fn waits(&mut self, tab: &Tab, script: &str) {
        let start = Instant::now();
        while self.evaluate(tab, script).await != true {
            if start.elapsed() > Duration::from_secs(20) {
                let page = self.evaluate(tab, "document.body.innerText").await;
                panic!("{script} does not become true; the page says:\n{page}\n{:?}", self.complaints);
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// Types into what has the focus, and presses Enter.
    async fn types(&mut self, tab: &Tab, text: &str) {
        self.call(&tab.session, "Input.insertText", json!({ "text": text })).await;
        for kind in ["keyDown", "keyUp"] {
            let key =
                json!({ "type": kind, "key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r" });
            self.call(&tab.session, "Input.dispatchKeyEvent", key).await;
        }
    }

    /// Keeps a picture where `CHAT_SCREENSHOTS` says.
    async fn screenshot(&mut self, tab: &Tab, name: &str) {
        let Some(directory) = std::env::var_os("CHAT_SCREENSHOTS") else { return };
        let data = self.call(&tab.session, "Page.captureScreenshot", json!({ "format": "png" })).await;
        let path = PathBuf::from(directory).join(format!("{name}.png"));
        std::fs::write(path, from_base64(data["data"].as_str().unwrap())).unwrap();
    }

    async fn media(&mut self, tab: &Tab, scheme: &str, width: u32) {
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.call(&tab.session, "Emulation.setEmulatedMedia", features).await;
        let metrics = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.call(&tab.session, "Emulation.setDeviceMetricsOverride", metrics).await;
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = |name: &str| std::env::split_paths(&path).map(|part| part.join(name)).find(|file| file.is_file());
    ["chromium", "chromium-browser", "google-chrome"].iter().find_map(|name| found(name))
}

fn from_base64(text: &str) -> Vec<u8> {
    let digit =
        |byte: u8| b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".iter().position(|b| *b == byte);
    let digits: Vec<u32> = text.bytes().filter_map(digit).map(|digit| digit as u32).collect();
    let group = |group: &[u32]| {
        let bits = group.iter().enumerate().fold(0, |bits, (index, digit)| bits | digit << (18 - 6 * index));
        bits.to_be_bytes()[1..group.len()].to_vec()
    };
    digits.chunks(4).flat_map(group).collect()
}

/// Signs in as anybody would.
async fn sign_in(browser: &mut Browser, host: &str, name: &str) -> Tab {
    let tab = browser.open(&format!("http://{host}/")).await;
    browser.evaluate(&tab, "document.querySelector('[name=name]').focus()").await;
    browser.types(&tab, name).await;
    browser.waits(&tab, "location.pathname === '/rooms'").await;
    tab
}

#[tokio::test(flavor = "multi_thread")]
async fn two_browsers_chat_and_watch_the_cache() {
    let Some(mut browser) = Browser::start().await else { return };
    let Some(mut fleet) = Fleet::start(first(), &["--limit", "1000"]).await else { return };
    let (first, second) = (fleet.apps[0].host(), fleet.apps[1].host());
    let ann = sign_in(&mut browser, &first, "Ann").await;
    let bob = sign_in(&mut browser, &second, "Bob <i>").await;
    browser.screenshot(&ann, "rooms").await;
    for (tab, host) in [(&ann, &first), (&bob, &second)] {
        browser.go(tab, &format!("http://{host}/rooms/general")).await;
        browser.waits(tab, "document.getElementById('state').textContent === 'Connected.'").await;
    }
    browser.evaluate(&ann, "document.getElementById('body').focus()").await;
    browser.types(&ann, "hello <b>Bob</b>").await;
    let last =
        |text: &str| format!("document.querySelector('#messages').lastElementChild.innerText.includes({text:?})");
    browser.waits(&bob, &last("hello <b>Bob</b>")).await;
    browser.evaluate(&bob, "document.getElementById('body').focus()").await;
    browser.types(&bob, "hello Ann").await;
    browser.waits(&ann, &last("hello Ann")).await;
    browser.screenshot(&ann, "room").await;
    browser.media(&bob, "dark", 400).await;
    browser.screenshot(&bob, "room-dark-phone").await;
    let is_wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth";
    assert_eq!(browser.evaluate(&bob, is_wide).await, false, "nothing is cut off on a phone");

    browser.go(&ann, &format!("http://{first}/dashboard")).await;
    browser.waits(&ann, "/\\d/.test(document.getElementById('hit-rate').textContent)").await;
    let rate = "document.getElementById('reads').textContent + document.getElementById('hit-rate').textContent";
    let before = browser.evaluate(&ann, rate).await;
    let reader = fleet.apps[0].user("Reader").await;
    for _ in 0..100 {
        reader.get("/api/rooms/general/messages").await.unwrap();
    }
    browser.waits(&ann, &format!("{rate} !== {before}")).await;
    browser.waits(&ann, "document.getElementById('verdict').textContent.includes('%')").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    browser.screenshot(&ann, "dashboard").await;

    fleet.cache.kill();
    browser.waits(&ann, "document.getElementById('alerts').textContent.includes('cannot be reached')").await;
    browser.screenshot(&ann, "dashboard-cache-down").await;
    browser.go(&ann, &format!("http://{first}/rooms/general")).await;
    browser.waits(&ann, "document.getElementById('state').textContent === 'Connected.'").await;
    browser.evaluate(&ann, "document.getElementById('body').focus()").await;
    browser.types(&ann, "without a cache").await;
    browser.waits(&bob, &last("without a cache")).await;
    browser.go(&ann, &format!("http://{first}/feed")).await;
    browser.screenshot(&ann, "feed").await;
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_stays_in_the_field_and_who_is_signed_out_is_told() {
    let Some(mut browser) = Browser::start().await else { return };
    let Some(fleet) = Fleet::start(first(), &["--limit", "1"]).await else { return };
    let host = fleet.apps[0].host();
    let ann = sign_in(&mut browser, &host, "Ann").await;
    browser.go(&ann, &format!("http://{host}/rooms/general")).await;
    browser.waits(&ann, "document.getElementById('state').textContent === 'Connected.'").await;
    browser.evaluate(&ann, "document.getElementById('body').focus()").await;
    browser.types(&ann, "the only one").await;
    browser.waits(&ann, "document.querySelector('#messages').innerText.includes('the only one')").await;
    browser.types(&ann, "one too many").await;
    browser.waits(&ann, "document.getElementById('state').textContent.includes('too many requests')").await;
    assert_eq!(browser.evaluate(&ann, "document.getElementById('body').value").await, "one too many");
    // Without a mouse: who comes to a message finds what can be done with it.
    let reached = "(() => { const item = document.querySelector('#messages').lastElementChild; item.focus(); \
                   return !item.querySelector('.actions').hidden; })()";
    assert_eq!(browser.evaluate(&ann, reached).await, true);
    let cut_off = "(() => { const list = document.querySelector('#messages'); \
                   const shown = list.lastElementChild.querySelector('.actions').getBoundingClientRect(); \
                   return shown.bottom > list.getBoundingClientRect().bottom + 1; })()";
    assert_eq!(browser.evaluate(&ann, cut_off).await, false, "all of it is seen");
    // Lines stay lines when a message is edited, and the new text is shown where the old one was.
    let press = "document.querySelector('#messages').lastElementChild.querySelector('[data-edit]').click()";
    browser.evaluate(&ann, press).await;
    let field = "document.querySelector('.edit textarea')";
    browser.evaluate(&ann, &format!("{field}.value = 'two\\nlines'; {field}.form.requestSubmit()")).await;
    let text = "document.querySelector('#messages').lastElementChild.querySelector('.text').textContent";
    browser.waits(&ann, &format!("{text} === 'two\\nlines' && !document.querySelector('.edit')")).await;
    // Signed out by another of one's browsers.
    let elsewhere = fleet.apps[1].user("Ann").await;
    elsewhere.post("/api/sign-out-everywhere", &json!({})).await.unwrap();
    browser.waits(&ann, "document.querySelector('#state a')?.textContent === 'Sign in'").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    browser.waits(&ann, "document.querySelector('#state a')?.textContent === 'Sign in'").await;
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}

/// What the state of the connection says.
const CONNECTED: &str = "document.getElementById('state').textContent === 'Connected.'";
const CUT: &str = "document.getElementById('state').textContent.startsWith('Not connected')";
/// The newest message of the page.
const NEWEST: &str = "document.querySelector('#messages').lastElementChild";

async fn react(client: &Client, message: &str) {
    let answer = client.post(&format!("/api/messages/{message}/reactions"), &json!({ "emoji": "🎉" })).await.unwrap();
    assert!(answer.status.is_success(), "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_being_written_outlives_whatever_comes_meanwhile() {
    let Some(mut browser) = Browser::start().await else { return };
    let options = ["--limit", "100000", "--write-limit", "100000"];
    let Some(fleet) = Fleet::start(first(), &options).await else { return };
    let (way, bob) = (Way::to(fleet.apps[0].port).await, fleet.apps[1].user("Bob").await);
    let host = format!("127.0.0.1:{}", way.port);
    let ann = sign_in(&mut browser, &host, "Ann").await;
    browser.go(&ann, &format!("http://{host}/rooms/general")).await;
    browser.waits(&ann, CONNECTED).await;
    browser.evaluate(&ann, "document.getElementById('body').focus()").await;
    browser.types(&ann, "mine").await;
    browser.waits(&ann, &format!("!!{NEWEST}.querySelector('[data-edit]')")).await;
    browser.evaluate(&ann, &format!("{NEWEST}.querySelector('[data-edit]').click()")).await;
    let change = "document.querySelector('.edit textarea')";
    browser.evaluate(&ann, &format!("{change}.value = 'mine, and better'")).await;
    // Somebody reacts to the very message.
    let id = browser.evaluate(&ann, &format!("{NEWEST}.dataset.id")).await.as_str().unwrap().to_owned();
    react(&bob, &id).await;
    browser.waits(&ann, &format!("!!{NEWEST}.querySelector('.reactions')")).await;
    assert_eq!(browser.evaluate(&ann, &format!("{change}.value")).await, "mine, and better");
    assert_eq!(browser.evaluate(&ann, &format!("document.activeElement === {change}")).await, true);

    // More changes than are told to a reader who comes back, while the line is cut.
    browser.evaluate(&ann, "document.getElementById('body').focus(); window.isSamePage = true").await;
    browser.call(&ann.session, "Input.insertText", json!({ "text": "half a thought" })).await;
    way.cut().await;
    browser.waits(&ann, CUT).await;
    let page = bob.get("/api/rooms/general/messages?limit=100").await.unwrap().json();
    for message in page["messages"].as_array().unwrap() {
        react(&bob, message["id"].as_str().unwrap()).await;
    }
    for number in 0..40 {
        let said = json!({ "body": format!("meanwhile {number}") });
        bob.post("/api/rooms/general/messages", &said).await.unwrap();
    }
    way.mend();
    browser.waits(&ann, &format!("{NEWEST}.innerText.includes('meanwhile 39')")).await;
    browser.waits(&ann, CONNECTED).await;
    let count = "document.querySelectorAll('#messages .message').length >= 50 && \
                 document.querySelector('#messages').innerText.match(/meanwhile/g).length === 40";
    browser.waits(&ann, count).await;
    let field = "document.getElementById('body')";
    let state =
        format!("[window.isSamePage, {field}.value, document.activeElement === {field}, {change}?.value].join()");
    assert_eq!(browser.evaluate(&ann, &state).await, "true,half a thought,true,mine, and better");

    // To another page and back.
    browser.go(&ann, &format!("http://{host}/feed")).await;
    browser.go(&ann, &format!("http://{host}/rooms/general")).await;
    browser.waits(&ann, CONNECTED).await;
    assert_eq!(browser.evaluate(&ann, &format!("{field}.value")).await, "half a thought");
    browser.evaluate(&ann, &format!("{field}.form.requestSubmit()")).await;
    browser.waits(&ann, &format!("{NEWEST}.innerText.includes('half a thought')")).await;
    browser.go(&ann, &format!("http://{host}/rooms/general")).await;
    assert_eq!(browser.evaluate(&ann, &format!("{field}.value")).await, "", "what was sent is no draft");
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_database_browsers_come_again_ever_more_rarely() {
    let (Some(mut browser), Some(database)) = (Browser::start().await, Postgres::start()) else { return };
    let (to_database, directory) = (Way::to(database.port).await, Directory::new());
    let url = Postgres::url_at(to_database.port);
    let app = AppProcess::start(&directory, &["--seed", "500", "--database-url", &url]).await;
    let to_app = Way::to(app.port).await;
    let host = format!("127.0.0.1:{}", to_app.port);
    let ann = sign_in(&mut browser, &host, "Ann").await;
    browser.go(&ann, &format!("http://{host}/rooms/general")).await;
    browser.waits(&ann, CONNECTED).await;
    let count = "window.opened = 0; window.WebSocket = class extends WebSocket { \
                 constructor(...all) { super(...all); this.addEventListener('open', () => { window.opened += 1; }); } }; 0";
    browser.evaluate(&ann, count).await;
    to_database.cut().await;
    to_app.cut().await;
    to_app.mend();
    browser.waits(&ann, CUT).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    // After a quarter of a second, half a second, one, two, give or take a half of each.
    let opened = browser.evaluate(&ann, "window.opened").await.as_u64().unwrap();
    assert!((1..=6).contains(&opened), "{opened} sockets in six seconds");
    assert_eq!(browser.evaluate(&ann, CUT).await, true, "an open socket is none that works");
    to_database.mend();
    browser.waits(&ann, CONNECTED).await;
    app.user("Bob").await.post("/api/rooms/general/messages", &json!({ "body": "back" })).await.unwrap();
    browser.waits(&ann, &format!("{NEWEST}.innerText.includes('back')")).await;
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}

//! What the caches and state servers of a test are: a single server, three masters that share the slots, or a master with a
//! replica that three Sentinels watch.
//!
//! `CHAT_TOPOLOGIES=larder,redis,cluster,sentinel` names those that every test runs on, `larder,redis` without it. A test that makes
//! no sense on some of them says so ([`only_on`]).

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use larder_tests::RawClient;
use larder_tests::process::{ServerProcess, free_port, subject, tool};
use parking_lot::Mutex;

/// What the caches of a test are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A Larder; an application that is alone has those that it starts itself.
    Larder,
    /// A redis-server.
    Redis,
    /// Three masters.
    Cluster,
    /// A master and a replica behind three Sentinels.
    Sentinel,
}

const ALL: [(&str, Peer); 4] =
    [("larder", Peer::Larder), ("redis", Peer::Redis), ("cluster", Peer::Cluster), ("sentinel", Peer::Sentinel)];

/// What every test runs on.
pub fn peers() -> Vec<Peer> {
    chosen().unwrap_or_else(|| vec![Peer::Larder, Peer::Redis])
}

/// What tests run on that need one only.
pub fn first() -> Peer {
    peers()[0]
}

/// Whether one of these is among what the tests run on; says so if not.
pub fn only_on(which: &[Peer], why: &str) -> bool {
    let is_there = peers().iter().any(|peer| which.contains(peer));
    if !is_there {
        println!("note: this test runs on {which:?} only: {why}");
    }
    is_there
}

fn chosen() -> Option<Vec<Peer>> {
    let names = std::env::var("CHAT_TOPOLOGIES").ok().filter(|names| !names.is_empty())?;
    let find =
        |name: &str| ALL.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("no topology {name}")).1;
    Some(names.split(',').map(find).collect())
}

/// Servers that are one to the application; killed on drop.
pub struct Servers {
    peer: Peer,
    program: PathBuf,
    options: Vec<String>,
    /// Of those that hold data.
    ports: Vec<u16>,
    nodes: Vec<ServerProcess>,
    sentinel_ports: Vec<u16>,
    sentinels: Vec<ServerProcess>,
}

impl Servers {
    /// Starts what a peer is; `None` where it is not installed.
    pub fn start(peer: Peer, options: &[&str]) -> Option<Self> {
        let mut servers = Self::absent(peer, options)?;
        servers.restart();
        Some(servers)
    }

    /// Ports where nothing is yet; `None` where the peer is not installed.
    pub fn absent(peer: Peer, options: &[&str]) -> Option<Self> {
        let program = match peer {
            Peer::Larder => subject().to_path_buf(),
            _ => tool("redis-server")?,
        };
        let (nodes, sentinels) = match peer {
            Peer::Larder | Peer::Redis => (1, 0),
            Peer::Cluster => (3, 0),
            Peer::Sentinel => (2, 3),
        };
        Some(Self {
            peer,
            program,
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            ports: (0..nodes).map(|_| port()).collect(),
            nodes: Vec::new(),
            sentinel_ports: (0..sentinels).map(|_| port()).collect(),
            sentinels: Vec::new(),
        })
    }

    /// Starts what does not run, empty and on the same ports.
    pub fn restart(&mut self) {
        self.nodes = (0..self.ports.len()).map(|index| self.node(index)).collect();
        match self.peer {
            Peer::Cluster => self.join(),
            Peer::Sentinel if self.sentinels.is_empty() => {
                self.sentinels = self.sentinel_ports.iter().map(|port| self.sentinel(*port)).collect();
            }
            _ => {}
        }
    }

    fn node(&self, index: usize) -> ServerProcess {
        let mut options: Vec<String> = self.options.clone();
        let master = format!("127.0.0.1 {}", self.ports[0]);
        match self.peer {
            Peer::Cluster => {
                options.extend(["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"].map(str::to_owned));
                // A test may give them all one directory.
                options.extend(["--cluster-config-file".to_owned(), format!("nodes-{}.conf", self.ports[index])]);
            }
            Peer::Sentinel => {
                options.extend(["--repl-diskless-sync-delay", "0"].map(str::to_owned));
                if index > 0 {
                    options.extend(["--replicaof".to_owned(), master]);
                }
            }
            _ => {}
        }
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let mut node = ServerProcess::spawn(&self.program, self.ports[index], &options);
        assert!(node.is_ready(), "{:?} does not start: {}", self.peer, node.log());
        node
    }

    fn sentinel(&self, port: u16) -> ServerProcess {
        let file = std::env::temp_dir().join(format!("chat-app-sentinel-{port}.conf"));
        let text = format!(
            "port {port}\nbind 127.0.0.1\nsentinel monitor chat 127.0.0.1 {} 2\n\
             sentinel down-after-milliseconds chat 500\nsentinel failover-timeout chat 3000\n",
            self.ports[0]
        );
        std::fs::write(&file, text).unwrap();
        let mut sentinel = ServerProcess::spawn_bare(&self.program, port, &[&file.display().to_string(), "--sentinel"]);
        assert!(sentinel.is_ready(), "{}", sentinel.log());
        sentinel
    }

    /// Makes the nodes one cluster.
    fn join(&self) {
        let share = 16_384_usize.div_ceil(self.nodes.len());
        for (index, node) in self.nodes.iter().enumerate() {
            let (from, to) = (index * share, ((index + 1) * share).min(16_384) - 1);
            let mut client = node.client();
            let epoch = (index + 1).to_string();
            assert_eq!(client.call(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch]), b"+OK\r\n");
            assert_eq!(client.call(&["CLUSTER", "ADDSLOTSRANGE", &from.to_string(), &to.to_string()]), b"+OK\r\n");
            let first = self.ports[0].to_string();
            assert_eq!(client.call(&["CLUSTER", "MEET", "127.0.0.1", &first]), b"+OK\r\n");
        }
        let (nodes, start) = (format!("cluster_known_nodes:{}\r\n", self.nodes.len()), Instant::now());
        let is_one = |info: &String| info.contains("cluster_state:ok") && info.contains(&nodes);
        while !self.each(&["CLUSTER", "INFO"]).iter().all(is_one) {
            assert!(start.elapsed() < Duration::from_secs(30), "no cluster: {:?}", self.each(&["CLUSTER", "NODES"]));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What the application is told.
    pub fn url(&self) -> String {
        let hosts = |ports: &[u16]| {
            let hosts: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
            hosts.join(",")
        };
        match self.peer {
            Peer::Larder | Peer::Redis => format!("redis://{}", hosts(&self.ports)),
            Peer::Cluster => format!("redis-cluster://{}", hosts(&self.ports[..2])),
            Peer::Sentinel => format!("redis-sentinel://{}/chat", hosts(&self.sentinel_ports)),
        }
    }

    /// Connections to all masters.
    pub fn masters(&self) -> Vec<RawClient> {
        let count = if self.peer == Peer::Cluster { self.nodes.len() } else { 1 };
        self.nodes[..count].iter().map(ServerProcess::client).collect()
    }

    /// The replies of all masters, as they travel.
    pub fn each(&self, command: &[&str]) -> Vec<String> {
        let reply = |mut client: RawClient| String::from_utf8_lossy(&client.call(command)).into_owned();
        self.masters().into_iter().map(reply).collect()
    }

    /// The reply of the master that has the key.
    pub fn ask(&self, command: &[&str]) -> String {
        let replies = self.each(command);
        let reply = replies.iter().find(|reply| !reply.starts_with("-MOVED"));
        reply.unwrap_or_else(|| panic!("{command:?}: {replies:?}")).clone()
    }

    /// Moves the slot of a key, with what it holds, from one master of the cluster to another.
    pub fn move_slot_of(&self, key: &str) {
        let trimmed = |reply: &String| reply.trim_matches([':', '\r', '\n']).to_owned();
        let slot = trimmed(&self.each(&["CLUSTER", "KEYSLOT", key])[0]);
        let has_it = |reply: &String| !reply.starts_with("-MOVED");
        let from = self.each(&["EXISTS", key]).iter().position(has_it).unwrap();
        let to = (from + 1) % self.nodes.len();
        let ids: Vec<String> = self
            .each(&["CLUSTER", "MYID"])
            .iter()
            .map(|reply| reply.split("\r\n").nth(1).unwrap().to_owned())
            .collect();
        let mut masters = self.masters();
        let mut set_slot = |node: usize, state: &str, other: usize| {
            let reply = masters[node].call(&["CLUSTER", "SETSLOT", &slot, state, &ids[other]]);
            assert_eq!(String::from_utf8_lossy(&reply), "+OK\r\n", "{state}");
        };
        set_slot(to, "IMPORTING", from);
        set_slot(from, "MIGRATING", to);
        loop {
            let mut client = self.nodes[from].client();
            let keys = String::from_utf8_lossy(&client.call(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"])).into_owned();
            let keys: Vec<&str> = keys.split("\r\n").skip(2).step_by(2).collect();
            if keys.is_empty() {
                break;
            }
            let port = self.ports[to].to_string();
            let migrate = ["MIGRATE", "127.0.0.1", &port, "", "0", "1000", "KEYS"];
            client.call(&migrate.into_iter().chain(keys).collect::<Vec<_>>());
        }
        for node in [to, from, 3 - from - to] {
            set_slot(node, "NODE", to);
        }
    }

    /// Keys on all masters.
    pub fn keys(&self) -> u64 {
        self.each(&["DBSIZE"]).iter().map(|reply| reply.trim_matches([':', '\r', '\n']).parse::<u64>().unwrap()).sum()
    }

    /// A number that INFO tells, over all masters.
    pub fn info(&self, name: &str) -> u64 {
        let number = |text: &String| -> u64 {
            let from = text.find(&format!("{name}:")).unwrap_or_else(|| panic!("no {name}")) + name.len() + 1;
            text[from..].chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
        };
        self.each(&["INFO", "everything"]).iter().map(number).sum()
    }

    /// Puts keys of others there.
    pub fn fill_with_foreign_keys(&self, thousands: usize) {
        let mut masters = self.masters();
        for thousand in 0..thousands {
            let mut words = vec!["MSET".to_owned()];
            (0..1_000).for_each(|number| words.extend([format!("foreign:{{{thousand}}}:{number}"), "x".into()]));
            let is_stored = |client: &mut RawClient| client.call(&words) == b"+OK\r\n";
            assert!(masters.iter_mut().any(is_stored), "one of them has the slot");
        }
    }

    /// Sends a signal to all that hold data.
    pub fn signal(&self, name: &str) {
        self.nodes.iter().for_each(|node| node.signal(name));
    }

    /// Kills all that hold data; their ports stay free for others.
    pub fn kill(&mut self) {
        self.signal("KILL");
        for node in &mut self.nodes {
            node.wait(Duration::from_secs(5));
        }
    }

    /// Kills the master, and waits until the Sentinels have made the replica one; `meanwhile` is done until then.
    pub async fn fail_over(&mut self, meanwhile: impl AsyncFn()) {
        let master = self.nodes.remove(0);
        self.ports.remove(0);
        drop(master);
        let start = Instant::now();
        while !self.ask(&["ROLE"]).contains("master") {
            assert!(start.elapsed() < Duration::from_secs(30), "no failover: {}", self.sentinels[0].log());
            meanwhile().await;
        }
    }

    /// Waits until the Sentinels know each other and the replica.
    pub fn wait_watched(&self) {
        let start = Instant::now();
        let is_ready = |sentinel: &ServerProcess| {
            let master = String::from_utf8_lossy(&sentinel.client().call(&["SENTINEL", "MASTER", "chat"])).into_owned();
            let number = |field: &str| master.split("\r\n").skip_while(|line| *line != field).nth(2).map(str::to_owned);
            number("num-other-sentinels").as_deref() == Some("2") && number("num-slaves").as_deref() == Some("1")
        };
        while !self.sentinels.iter().all(is_ready) {
            assert!(start.elapsed() < Duration::from_secs(30), "{}", self.sentinels[0].log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for port in &self.sentinel_ports {
            drop(std::fs::remove_file(std::env::temp_dir().join(format!("chat-app-sentinel-{port}.conf"))));
        }
    }
}

/// A free port that no other test of this process was given: some time passes until it is used. The nodes of a cluster also
/// talk on a port that is 10,000 higher, which must be none of those that outgoing connections take.
pub fn port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let port = free_port();
        let is_free = port < 22_000 && std::net::TcpListener::bind(("127.0.0.1", port + 10_000)).is_ok();
        if is_free && GIVEN.lock().insert(port) {
            return port;
        }
    }
}

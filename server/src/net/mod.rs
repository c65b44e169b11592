//! Sockets and threads: one thread per core, each with a tokio runtime of its own; the first also accepts
//! connections and hands them out in turn.

mod connection;
mod round;
mod socket;

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::background;
use crate::client::{Addresses, Client};
use crate::config::error_text;
use crate::engine::Engine;
use crate::script::STACK_BYTES;
pub(crate) use round::Rounds;
use socket::Socket;

/// A connection on its way to a thread.
enum Incoming {
    Tcp(std::net::TcpStream),
    #[cfg(unix)]
    Unix(std::os::unix::net::UnixStream),
}

/// Sockets that are listened on.
pub(crate) struct Listeners {
    tcp: Vec<StdListener>,
    #[cfg(unix)]
    unix: Option<(std::os::unix::net::UnixListener, std::path::PathBuf)>,
}

impl Listeners {
    /// Opens every socket that the options name; `picks_port` opens TCP on a free port where the option says none.
    pub(crate) fn open(engine: &Engine, picks_port: bool) -> io::Result<Self> {
        let settings = engine.settings();
        let (mut port, backlog) = (settings.port.get() as u16, settings.tcp_backlog.get() as i32);
        let tcp_wanted = port != 0 || picks_port;
        let mut tcp = Vec::new();
        let bind = settings.bind.get();
        for word in String::from_utf8_lossy(&bind).split_whitespace().filter(|_| tcp_wanted) {
            let (optional, address) = word.strip_prefix('-').map_or((false, word), |address| (true, address));
            match listen(address, port, backlog) {
                Ok(listener) => {
                    port = listener.local_addr()?.port();
                    tcp.push(listener);
                }
                Err(error) if optional && error.kind() != io::ErrorKind::AddrInUse => {
                    tracing::warn!("Not listening on {address}, which is optional: {}", error_text(&error));
                }
                Err(error) => {
                    let reason = error_text(&error);
                    let text = format!("Could not create server TCP listening socket {address}:{port}: bind: {reason}");
                    return Err(io::Error::new(error.kind(), text));
                }
            }
        }
        engine.identity.port.store(port as u64, Relaxed);
        engine.config().note_port(port);
        let listeners = Self {
            tcp,
            #[cfg(unix)]
            unix: open_unix(engine)?,
        };
        if listeners.kinds().is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "Configured to not listen anywhere, exiting."));
        }
        Ok(listeners)
    }

    /// The kinds of socket that are open.
    pub(crate) fn kinds(&self) -> &'static [&'static str] {
        match (!self.tcp.is_empty(), self.has_unix()) {
            (true, true) => &["tcp", "unix"],
            (true, false) => &["tcp"],
            (false, true) => &["unix"],
            (false, false) => &[],
        }
    }

    fn has_unix(&self) -> bool {
        #[cfg(unix)]
        return self.unix.is_some();
        #[cfg(not(unix))]
        return false;
    }

    /// The first TCP address.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.tcp.first()?.local_addr().ok()
    }
}

fn listen(address: &str, port: u16, backlog: i32) -> io::Result<StdListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let address = match address {
        "*" => "0.0.0.0",
        "::*" => "::",
        other => other,
    };
    let address = std::net::ToSocketAddrs::to_socket_addrs(&(address, port))?
        .next()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no such address"))?;
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // A server that was just stopped must be able to start again; on Windows the option means something else.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

#[cfg(unix)]
fn open_unix(engine: &Engine) -> io::Result<Option<(std::os::unix::net::UnixListener, std::path::PathBuf)>> {
    use std::os::unix::fs::PermissionsExt;
    let settings = engine.settings();
    if settings.unixsocket.is_empty() {
        return Ok(None);
    }
    let path = engine.config().resolve(&settings.unixsocket.get());
    // As Redis does: what an earlier run left there is in the way.
    let _ = std::fs::remove_file(&path);
    let listener = std::os::unix::net::UnixListener::bind(&path).map_err(|error| {
        let reason = error_text(&error);
        io::Error::new(error.kind(), format!("Failed opening Unix socket {}: bind: {reason}", path.display()))
    })?;
    let permissions = settings.unixsocketperm.get() as u32;
    if permissions != 0 {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(permissions))?;
    }
    listener.set_nonblocking(true)?;
    Ok(Some((listener, path)))
}

/// Starts all threads; they end when the engine's shutdown is asked for.
pub(crate) fn start(engine: &Arc<Engine>, listeners: Listeners) -> io::Result<Vec<JoinHandle<()>>> {
    let threads = engine.settings().worker_threads();
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..threads).map(|_| unbounded_channel()).unzip();
    let mut listeners = Some((listeners, senders));
    let mut handles = Vec::new();
    for (number, receiver) in receivers.into_iter().enumerate() {
        let (engine, accepting) = (engine.clone(), listeners.take());
        let (tell, told) = std::sync::mpsc::channel();
        let work = move || {
            let options = tokio::runtime::LocalOptions::default();
            let rounds = Arc::new(Rounds::default());
            let parked = rounds.clone();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .on_thread_park(move || parked.end())
                .build_local(options);
            let runtime = match runtime {
                Ok(runtime) => runtime,
                Err(error) => return drop(tell.send(Err(error))),
            };
            let _ = tell.send(Ok(()));
            // Connections that are open when the end comes close with the runtime and its tasks.
            runtime.block_on(worker(engine, number, threads, receiver, accepting, rounds));
        };
        let thread = std::thread::Builder::new().name(format!("larder-{number}")).stack_size(STACK_BYTES);
        handles.push(thread.spawn(work)?);
        told.recv().map_err(|_| io::Error::other("a thread ended before it began"))??;
    }
    Ok(handles)
}

async fn worker(
    engine: Arc<Engine>,
    number: usize,
    threads: usize,
    mut incoming: UnboundedReceiver<Incoming>,
    accepting: Option<(Listeners, Vec<UnboundedSender<Incoming>>)>,
    rounds: Arc<Rounds>,
) {
    engine.loops.add_this();
    let stats = engine.stats().worker();
    let shared = Rc::new(connection::Worker::new(stats.clone(), rounds.clone()));
    tokio::task::spawn_local(background::run(engine.clone(), number, threads, stats.clone(), rounds));
    let socket_path = accepting.map(|(listeners, senders)| accept_all(&engine, listeners, senders));
    loop {
        tokio::select! {
            biased;
            () = engine.shutdown.asked() => break,
            next = incoming.recv() => {
                let Some(next) = next else { break };
                stats.counters.connections.add(1);
                match prepare(&engine, next) {
                    Ok((socket, client)) => {
                        let (engine, shared) = (engine.clone(), shared.clone());
                        tokio::task::spawn_local(async move {
                            if let Some(socket) = admit(&engine, socket, &client, &shared.stats).await {
                                connection::serve(engine, socket, client, shared).await;
                            }
                        });
                    }
                    Err(error) => tracing::warn!(%error, "a connection was lost before it began"),
                }
            }
        }
    }
    if let Some(Some(path)) = socket_path {
        let _ = std::fs::remove_file(path);
    }
}

/// Starts a task per listening socket; gives the Unix socket's path.
fn accept_all(
    engine: &Arc<Engine>,
    listeners: Listeners,
    senders: Vec<UnboundedSender<Incoming>>,
) -> Option<std::path::PathBuf> {
    let senders = Rc::new(senders);
    for listener in listeners.tcp {
        let (engine, senders) = (engine.clone(), senders.clone());
        tokio::task::spawn_local(async move {
            let listener = match TcpListener::from_std(listener) {
                Ok(listener) => listener,
                Err(error) => return tracing::error!(%error, "cannot accept connections"),
            };
            let next = async || listener.accept().await?.0.into_std().map(Incoming::Tcp);
            accept(&engine, &senders, next).await;
        });
    }
    #[cfg(unix)]
    if let Some((listener, path)) = listeners.unix {
        let (engine, senders) = (engine.clone(), senders.clone());
        tokio::task::spawn_local(async move {
            let listener = match UnixListener::from_std(listener) {
                Ok(listener) => listener,
                Err(error) => return tracing::error!(%error, "cannot accept connections"),
            };
            let next = async || listener.accept().await?.0.into_std().map(Incoming::Unix);
            accept(&engine, &senders, next).await;
        });
        return Some(path);
    }
    None
}

async fn accept(engine: &Engine, senders: &[UnboundedSender<Incoming>], next: impl AsyncFn() -> io::Result<Incoming>) {
    let mut turn = 0;
    while !engine.shutdown.is_asked() {
        match next().await {
            Ok(incoming) => {
                let _ = senders[turn % senders.len()].send(incoming);
                turn += 1;
            }
            Err(error) => {
                // Too many open files, most likely: waiting lets some close.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

#[cfg(unix)]
fn descriptor(socket: &impl std::os::fd::AsRawFd) -> i64 {
    socket.as_raw_fd() as i64
}

#[cfg(windows)]
fn descriptor(socket: &impl std::os::windows::io::AsRawSocket) -> i64 {
    socket.as_raw_socket() as i64
}

fn prepare(engine: &Engine, incoming: Incoming) -> io::Result<(Socket, Arc<Client>)> {
    let (socket, addresses) = match incoming {
        Incoming::Tcp(stream) => {
            stream.set_nodelay(true)?;
            let keepalive = engine.settings().tcp_keepalive.get();
            if keepalive > 0 {
                let wish = socket2::TcpKeepalive::new().with_time(Duration::from_secs(keepalive));
                #[cfg(unix)]
                let wish = wish.with_interval(Duration::from_secs((keepalive / 3).max(1))).with_retries(3);
                socket2::SockRef::from(&stream).set_tcp_keepalive(&wish)?;
            }
            let (peer, local) = (stream.peer_addr()?, stream.local_addr()?);
            let addresses = Addresses {
                peer: peer.to_string(),
                local: local.to_string(),
                unix: false,
                loopback: peer.ip().to_canonical().is_loopback(),
                fd: descriptor(&stream),
            };
            (Socket::Tcp(TcpStream::from_std(stream)?), addresses)
        }
        #[cfg(unix)]
        Incoming::Unix(stream) => {
            let path = engine.config().resolve(&engine.settings().unixsocket.get());
            let path = format!("{}:0", path.display());
            let addresses =
                Addresses { peer: path.clone(), local: path, unix: true, loopback: false, fd: descriptor(&stream) };
            (Socket::Unix(UnixStream::from_std(stream)?), addresses)
        }
    };
    let client =
        Client::new(engine.clients().next_id(), engine.clock().now_ms(), addresses, engine.acl().default_user());
    Ok((socket, Arc::new(client)))
}

/// Refuses a connection beyond `maxclients`, or from another host while nothing protects the data.
async fn admit(
    engine: &Engine,
    mut socket: Socket,
    client: &Client,
    stats: &crate::stats::WorkerStats,
) -> Option<Socket> {
    let settings = engine.settings();
    let addresses = &client.addresses;
    let refusal = if engine.clients().len() as u64 >= settings.maxclients.get() {
        "-ERR max number of clients reached\r\n"
    } else if settings.protected_mode.get()
        && engine.acl().default_user().rules().has_no_password()
        && !addresses.loopback
        && !addresses.unix
    {
        PROTECTED
    } else {
        return Some(socket);
    };
    stats.counters.rejected_connections.add(1);
    let _ = socket.write_all(refusal.as_bytes()).await;
    None
}

/// What a client from another host is told in protected mode.
const PROTECTED: &str = "-DENIED Larder is running in protected mode because protected mode is enabled and no password \
is set for the default user. In this mode connections are only accepted from the loopback interface. To connect from \
other hosts, do one of these: 1) From this host, send CONFIG SET protected-mode no, and CONFIG REWRITE to keep it so; \
make sure that the server cannot be reached from the internet. 2) Set protected-mode no in the configuration file and \
restart. 3) For a test, start the server with --protected-mode no. 4) Set a password with requirepass.\r\n";

//! Tells the service manager that started the program how far it is: systemd by messages to its socket, as
//! sd_notify(3) describes them, upstart by stopping once.

use larder::config::Supervised;

/// The server serves.
pub(crate) fn ready(manager: Option<Supervised>) {
    match manager {
        Some(Supervised::Systemd) => notify("STATUS=Ready to accept connections\nREADY=1\n"),
        Some(Supervised::Upstart) => stop_once(),
        _ => {}
    }
}

/// The server is about to end.
pub(crate) fn stopping(manager: Option<Supervised>) {
    if manager == Some(Supervised::Systemd) {
        notify("STOPPING=1\n");
    }
}

#[cfg(unix)]
fn notify(message: &str) {
    if let Err(error) = send(message) {
        tracing::warn!("systemd could not be notified: {error}");
    }
}

#[cfg(unix)]
fn send(message: &str) -> std::io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::net::UnixDatagram;
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let socket = UnixDatagram::unbound()?;
    match path.as_bytes().strip_prefix(b"@") {
        #[cfg(target_os = "linux")]
        Some(name) => {
            use std::os::linux::net::SocketAddrExt;
            let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
            socket.send_to_addr(message.as_bytes(), &address)?;
        }
        _ => {
            socket.send_to(message.as_bytes(), &path)?;
        }
    }
    Ok(())
}

#[cfg(not(unix))]
fn notify(_: &str) {}

/// Upstart takes a process that stops itself for one that is ready, and lets it go on.
#[cfg(unix)]
fn stop_once() {
    use rustix::process::{Signal, getpid, kill_process};
    if let Err(error) = kill_process(getpid(), Signal::STOP) {
        tracing::warn!("upstart could not be told: {error}");
    }
}

#[cfg(not(unix))]
fn stop_once() {}

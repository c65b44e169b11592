//! What a peer may send: the bounds that [`Parser`](crate::Parser) enforces.

/// Bounds on requests. They are given to every call of the parser, because CONFIG SET and AUTH
/// change them while a connection lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest argument, in bytes (`proto-max-bulk-len`).
    pub max_bulk: usize,
    /// Longest inline command, and longest line that holds a length, in bytes.
    pub max_inline: usize,
    /// False while the connection has yet to authenticate: then a command has at most
    /// [`Limits::UNAUTHENTICATED_ARGUMENTS`] of at most [`Limits::UNAUTHENTICATED_BULK`] bytes.
    pub authenticated: bool,
}

impl Limits {
    /// Most arguments of a command before authentication.
    pub const UNAUTHENTICATED_ARGUMENTS: u32 = 10;
    /// Longest argument before authentication, in bytes.
    pub const UNAUTHENTICATED_BULK: usize = 16 * 1024;
}

impl Default for Limits {
    /// Redis's defaults: arguments of 512 MiB, lines of 64 KiB, authenticated.
    fn default() -> Self {
        Limits { max_bulk: 512 << 20, max_inline: 64 << 10, authenticated: true }
    }
}

//! Limits on what one user may do, counted over all servers in the state server: messages and posts by `--limit`, all other
//! changes by `--write-limit`, and sign-ins by the address that they come from.
//!
//! | limiter   | memory per user | at the border of two windows |
//! |-----------|-----------------|-------------------------------|
//! | `fixed`   | one number      | twice the limit within moments |
//! | `sliding` | one entry per request | never more than the limit in any window |

pub mod fixed;
pub mod sliding;

use std::net::IpAddr;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::store::Unreachable;

/// Decides whether a user may send something now.
pub trait Limiter: Send + Sync {
    /// How the dashboard calls it.
    fn name(&self) -> &'static str;
    /// Counts one request of a user and decides about it.
    fn check<'a>(&'a self, user: i64) -> BoxFuture<'a, Result<Decision, Unreachable>>;
}

/// How much is allowed in which time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// The most requests.
    pub most: u64,
    /// In this time.
    pub window: Duration,
}

impl Rule {
    fn window_ms(self) -> i64 {
        i64::try_from(self.window.as_millis()).unwrap_or(i64::MAX).max(1)
    }
}

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It may.
    Allowed(Quota),
    /// It may not.
    Refused(Refusal),
}

/// What is left to a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// The most requests in a window.
    pub limit: u64,
    /// Requests that are left.
    pub remaining: u64,
    /// Milliseconds until there are more.
    pub reset_ms: i64,
}

/// A request that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The most requests in a window.
    pub limit: u64,
    /// Milliseconds after which one is allowed again.
    pub retry_after_ms: i64,
}

impl Refusal {
    /// The same in whole seconds, rounded up.
    pub fn retry_after_s(&self) -> i64 {
        (self.retry_after_ms.max(1) + 999) / 1_000
    }
}

/// The number by which an address is counted. Whoever has an address of IPv6 has a whole network of them (/64), so its
/// network is what counts.
pub fn number_of(address: IpAddr) -> i64 {
    match address.to_canonical() {
        IpAddr::V4(address) => i64::from(address.to_bits()),
        IpAddr::V6(address) => (address.to_bits() >> 64) as u64 as i64,
    }
}

#[cfg(test)]
mod tests {
    use super::number_of;

    #[test]
    fn a_network_of_ipv6_counts_as_one_address() {
        let number = |text: &str| number_of(text.parse().unwrap());
        assert_eq!(number("2001:db8::1"), number("2001:db8::ffff:2"));
        assert_ne!(number("2001:db8::1"), number("2001:db8:0:1::1"));
        assert_ne!(number("10.0.0.1"), number("10.0.0.2"));
        assert_eq!(number("::ffff:10.0.0.1"), number("10.0.0.1"));
    }
}

//! What the programs print: rows on standard output, and what goes on on standard error.

use std::fmt::Arguments;
use std::io::{Result, Write, stderr, stdout};

/// Tells a line on standard error, as `eprintln` does; where nobody reads it any more it is dropped.
#[macro_export]
macro_rules! tell {
    ($($text:tt)*) => { $crate::output::tell(format_args!($($text)*)) };
}

/// See [`tell!`](crate::tell).
pub fn tell(line: Arguments<'_>) {
    let _ = writeln!(stderr().lock(), "{line}");
}

/// Prints a line at once.
///
/// # Errors
/// Nobody reads it any more, or it cannot be written.
pub fn print(line: &str) -> Result<()> {
    let mut out = stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush())
}

/// Prints a line at once. Who reads them may have enough: then nothing is left to do.
pub fn print_or_end(line: &str) {
    if print(line).is_err() {
        std::process::exit(1);
    }
}

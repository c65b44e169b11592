//! Functions: libraries of Lua that stay, and what runs them.
//!
//! - `library`: what a library is, and the set of an engine's. - `header`: a library's first line.
//! - `state`: the interpreter of functions, and libraries in it. `prelude.lua`: what differs there from what scripts see.
//! - `load`: FUNCTION LOAD and FUNCTION RESTORE. - `call`: FCALL.
//!
//! Libraries belong to the engine. Functions run where scripts run, in an interpreter of their own, in which the code of a
//! library runs once: it registers functions, and what it keeps in local variables stays. An interpreter that has
//! met a limit is thrown away; libraries are then loaded anew, each when one of its functions is called.

mod call;
mod header;
mod library;
mod load;
mod state;

pub(crate) use call::call_function;
pub(super) use call::declared_flags;
pub(crate) use library::{FLAGS, Libraries, Library};
pub(crate) use load::{Policy, load, restore};
pub(super) use state::State;

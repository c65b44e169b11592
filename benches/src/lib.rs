//! What the benches share: traces ([`trace`]), the policies ([`policy`]) that they are replayed through ([`replay`]), comparison
//! with known results ([`reference`]), charts ([`plot`]), the same over the network ([`live`]), commands as bytes ([`requests`]), and
//! what is printed ([`output`]). README.md says how to run the benches.

pub mod live;
pub mod output;
pub mod plot;
pub mod policy;
pub mod reference;
pub mod replay;
pub mod requests;
pub mod size;
pub mod timeline;
pub mod trace;

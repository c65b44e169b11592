//! The cache: layers, and one small trait for each thing that can be chosen about it.

pub mod entry;
pub mod flight;
pub mod guard;
pub mod invalidation;
pub mod l1;
pub mod layers;
pub mod lock;
pub mod ttl;

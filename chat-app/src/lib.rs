//! A chat and feed application that uses Larder exactly as it would use Redis, through a stock client. People run it to
//! see caching work, read it to learn how to do it, and measure to believe it. README.md says where to find what.

pub mod app;
pub mod bench;
pub mod cache;
pub mod chat;
pub mod client;
pub mod clock;
pub mod db;
pub mod error;
pub mod feed;
pub mod ids;
pub mod keys;
pub mod limit;
pub mod live;
pub mod metrics;
pub mod model;
pub mod options;
pub mod overview;
pub mod random;
pub mod room_order;
pub mod session;
pub mod store;
pub mod strategy;
pub mod web;

pub use app::App;

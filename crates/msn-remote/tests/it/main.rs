//! Real servers on loopback, and one that fails on purpose.

#![allow(clippy::disallowed_methods, reason = "tests write the files that are served")]

mod again;
mod faults;
mod gs;
mod http;
mod https;
mod proxies;
mod s3;
mod servers;

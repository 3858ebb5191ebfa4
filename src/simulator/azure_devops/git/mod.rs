//! Git objects on disk, and the git protocol over HTTP.
//!
//! Purpose: everything that touches a bare repository. [`store`] reads, [`change`] writes commits
//! and merges, [`diff`] compares; [`http`] hands clone and push to `git http-backend` and tells
//! the state what moved. Invariant: nothing here decides who may do what; that is the state's.
//! It must never know pull requests, work items or pages.

pub mod change;
pub mod diff;
pub mod http;
pub mod pkt_line;
mod staging;
pub mod store;

//! Integration tests: real servers, real HTTP.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod clients;

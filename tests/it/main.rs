//! Integration tests: the real binary over real HTTP, and the house itself.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests are named by what they say, and fail by panicking"
)]

mod bad_input;
mod clients;
mod conformance;
mod doctor;
mod effects;
mod files;
mod harness;
mod hostile;
mod house;
mod main_job;
mod policy;
mod random_operations;
mod recorder;
mod steering;
mod tools;

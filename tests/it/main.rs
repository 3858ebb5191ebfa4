//! Integration tests: the real binary over real HTTP, and the house itself.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests are named by what they say, and fail by panicking"
)]

mod approval_limits;
mod approvals;
mod bad_input;
mod budgets;
mod chaos;
mod clients;
mod conformance;
mod crash;
mod doctor;
mod effects;
mod files;
mod first_start;
mod harness;
mod hostile;
mod house;
mod identities;
mod identity_faults;
mod intake;
mod journal;
mod main_job;
mod operators;
mod people;
mod policy;
mod postgres;
mod random_operations;
mod record;
mod recorder;
mod scenario;
mod setup;
mod simulation;
mod steering;
mod telemetry;
mod tools;

//! The integration tests, in one binary.
#![allow(missing_docs)]

mod bad_input;
mod files;
mod harness;
mod house;
mod main_job;

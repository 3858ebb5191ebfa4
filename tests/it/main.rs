//! Integration tests: the real binary over real HTTP.
#![allow(missing_docs, reason = "tests are named by what they say")]

mod bad_input;
mod harness;
mod main_job;

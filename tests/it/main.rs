//! Integration tests: real servers, real HTTP.

mod clients;

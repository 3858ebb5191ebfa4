//! ado-coworker: an autonomous co-worker for teams on Azure DevOps.
//!
//! The sentence: an event or a chat message becomes a **run**; a run is a log of steps in a
//! durable journal; each step asks the model, the model asks for tools, and every tool passes one
//! gate before it reaches Azure DevOps with a bearer token that the auth sidecar minted for the
//! agent's own user. `ARCHITECTURE.md` is the map; a test holds the imports to its rows.

pub mod action;
pub mod agent;
pub mod app;
pub mod audit;
pub mod azure_devops;
pub mod clock;
pub mod config;
pub mod digest;
pub mod doctor;
pub mod event;
pub mod fault_point;
pub mod http;
pub mod identity;
pub mod journal;
pub mod mask;
pub mod meter;
pub mod model;
pub mod policy;
pub mod setup;
pub mod simulator;
pub mod telemetry;
pub mod tools;
pub mod trace;
pub mod weaken;
pub mod web;
pub mod worker;

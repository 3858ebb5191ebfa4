//! ado-coworker.
pub mod clock;
pub mod simulator;

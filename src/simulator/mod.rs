//! The simulated outside world.
pub mod tokens;

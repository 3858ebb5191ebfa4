//! The simulated outside world.
pub mod entra;
pub mod model;
pub mod seed;
pub mod sidecar;
pub mod tokens;

//! How fast text is masked.
fn main() {}

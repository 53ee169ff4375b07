//! The developers own tasks.
fn main() {}

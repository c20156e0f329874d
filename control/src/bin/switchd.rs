//! switchd
fn main() {}

//! switchctl
fn main() {}

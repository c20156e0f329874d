//! What the end-to-end, replay and whole-switch tests share.

pub mod fuzz;
pub mod lab;
pub mod memory;
pub mod oracle;

//! `switchd demo`: Docker's networking told with real traffic in namespaces of its own.

pub mod ping;
pub mod web;

//! The API's answers as text, in the shapes that people already read.

pub mod conntrack;
pub mod fdb;
pub mod neigh;
pub mod rules;
pub mod summary;

#[cfg(test)]
mod tests;

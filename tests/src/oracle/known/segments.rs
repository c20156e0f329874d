//! Differences about TCP segments.

use super::Difference;

/// The list.
pub const KNOWN: &[Difference] = &[];

//! Frames that the switch makes itself.

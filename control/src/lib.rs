//! The control side of switchd.

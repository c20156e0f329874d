//! Internet checksums (RFC 1071, RFC 1624).

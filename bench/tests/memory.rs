//! Memory per connection, all tables together.

use bench::bars::per_connection;
use bench::lab::Flow;

#[test]
fn a_connection_takes_at_most_256_bytes() {
    for flow in Flow::BOTH {
        let p = per_connection(flow, 1 << 16).unwrap();
        assert_eq!(p.connections, 1 << 16);
        assert!(p.bytes() <= 256, "{} B: {p:?}", p.bytes());
    }
}

//! Memory per connection, all tables together and full, at the default size of the table. (With
//! smaller ones the fixed tables of external ports, 2.3 MB, weigh more.)

use bench::bars::per_connection;
use bench::lab::Flow;
use dataplane::base::Limits;

#[test]
fn a_connection_takes_at_most_256_bytes() {
    let n = Limits::default().connections;
    for flow in Flow::BOTH {
        let p = per_connection(flow, n).unwrap();
        assert_eq!(p.connections, n);
        assert!(p.bytes() <= 256, "{} B: {p:?}", p.bytes());
    }
}

//! The requirements of the RFCs, each as a test with its number in its name, and the table of
//! them in `dataplane/CONFORMANCE.md`. In memory, in virtual time.

mod checklists;
mod common;
mod fragments;
mod icmp_errors;
mod multicast;
mod pmtud;
mod protocols;
mod rfc1624;
mod rfc1812;
mod rfc4787;
mod rfc5382;
mod rfc5508;
mod rfc5961;
mod rfc6056;
mod rfc6864;
mod rfc6888;
mod rfc7857;
mod rfc826;
mod table;
mod tcp_close;
mod tcp_flows;
mod tcp_windows;

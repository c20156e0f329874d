//! End to end: the real programs, kernel TCP and UDP, namespaces as host, containers and outside.
//! Each test is a scenario of its own, see `switchd_tests::lab`.

mod by_hand;
mod demo;
mod harness;
mod icmp;
mod lifecycle;
mod localhost;
mod nic;
mod onward;
mod outputs;
mod refusals;
mod run;
mod sockets_attach;
mod sockets_flows;
mod sockets_refusals;
mod sockets_run;
mod traffic;
mod workers;

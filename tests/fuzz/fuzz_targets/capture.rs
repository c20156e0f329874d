#![no_main]
use libfuzzer_sys::fuzz_target;
fuzz_target!(|data: &[u8]| switchd_tests::fuzz::capture::capture(data));

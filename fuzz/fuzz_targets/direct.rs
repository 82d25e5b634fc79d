//! Runs `bodies::direct` under libFuzzer.
#![no_main]

#[allow(dead_code, reason = "each target runs one body")]
#[path = "../../tests/fuzz/bodies.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::direct(data));

//! The one source of every target: a target is what has its name in `aft_fuzz::TARGETS`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| aft_fuzz::run(env!("CARGO_BIN_NAME"), data));

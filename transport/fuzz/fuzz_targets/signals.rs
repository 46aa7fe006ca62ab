#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| faasm_transport::fuzz::signals(data));

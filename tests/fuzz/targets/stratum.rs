//! The libFuzzer entry point of `p2pool_fuzz::stratum`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    p2pool_fuzz::stratum::check(data);
});

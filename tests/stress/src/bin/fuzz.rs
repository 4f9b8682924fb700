//! The fuzz target: libFuzzer makes up programs, in search of one that the model objects to.
//!
//! `.ci/fuzz` builds and runs it. Each panic that the panic hook sees ends it, wherever it is.

#![no_main]

libfuzzer_sys::fuzz_target!(|code: &[u8]| runtime_stress::program::run(code));

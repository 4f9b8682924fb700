//! What the programs of the benchmark suite share.
//!
//! `contestant` is what is measured, `load` drives its servers; `compare` and `guard` start both of them, and
//! are what a person runs. `docs/benchmarks.md` says how.

pub mod callgrind;
pub mod child;
pub mod percentile;
pub mod programs;
pub mod session;

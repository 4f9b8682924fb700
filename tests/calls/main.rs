//! System calls, counted: what an operation costs beside the one call that it stands for.
//!
//! `counted` takes the place of libc's functions and counts per thread, so tests may run side by side.

#[path = "../common/mod.rs"]
mod common;
mod counted;

mod accept;
mod bounce;
mod error_queue;
mod halves;

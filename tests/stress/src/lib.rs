//! What tries the runtime with more than anyone thinks of: byte programs against a model.
//!
//! `program` runs them; the `fuzz` target makes them up, and `tests/corpus.rs` replays those that were kept. The
//! `soak` program mixes real sockets, tasks, timers and threads for as long as one likes.

pub mod program;

//! The other runtimes, one file for each.

mod compio;
mod monoio;
mod smol;
mod tokio;

use crate::{Entry, run};

/// Their names, and what makes them do a job.
pub(crate) fn contestants() -> Vec<Entry> {
    vec![
        ("tokio", run::<tokio::Tokio>),
        ("tokio-local", run::<tokio::TokioLocal>),
        ("smol", run::<smol::Smol>),
        ("monoio-epoll", run::<monoio::Monoio<monoio::Epoll>>),
        ("monoio-uring", run::<monoio::Monoio<monoio::Uring>>),
        ("compio-poll", run::<compio::Compio<compio::Polling>>),
        ("compio-uring", run::<compio::Compio<compio::Uring>>),
    ]
}

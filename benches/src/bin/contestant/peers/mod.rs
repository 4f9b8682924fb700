//! The other runtimes, one file for each.

mod tokio;

use crate::{Entry, run};

/// Their names, and what makes them do a job.
pub(crate) fn contestants() -> Vec<Entry> {
    vec![("tokio", run::<tokio::Tokio>)]
}

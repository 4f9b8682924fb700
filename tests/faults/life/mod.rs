//! A life: acts that together touch every place where the crate calls the kernel.
//!
//! What prepares an act runs beside the script, so that faults hit what the act is about.

mod elsewhere;
mod listening;
mod options;
mod streaming;
mod timing;

use std::fmt::Debug;
use std::io;
use std::pin::pin;
use std::task::Poll;

use runtime::{Builder, Runtime};

use super::common::sockets::{poll_here, sources};
use super::journal::{Ended, Journal};
use super::script::aside;

/// What an act comes to: done, or ended by the fault.
type Act = Result<(), Ended>;

const ACTS: &[fn(&Journal, &Runtime) -> Act] = &[
    listening::bind_and_accept,
    listening::ignore_a_connection,
    streaming::connect,
    streaming::read_and_write,
    streaming::write_what_does_not_fit,
    streaming::read_on_after_a_short_read,
    streaming::try_without_waiting,
    streaming::split,
    streaming::exchange_with_std,
    options::of_streams,
    options::of_listeners,
    options::of_sockets,
    timing::sleep_and_time_out,
    elsewhere::move_a_stream,
    elsewhere::share_halves,
    elsewhere::share_a_stream,
    elsewhere::be_woken_by_a_thread,
    elsewhere::look_up_a_name,
    elsewhere::drop_a_runtime_in_use,
];

/// Lives once. After each act, whether a fault ended it or not, nothing is left in the runtime.
pub(crate) fn live(journal: &Journal) {
    let runtime = journal
        .step("build a runtime")
        .call(|| Builder::new().thread_name("life").build());
    if let Ok(runtime) = runtime {
        for act in ACTS {
            let _: Act = act(journal, &runtime);
            // Letters from elsewhere are read.
            runtime.block_on(async {});
            assert_eq!(sources(&runtime), 0, "{runtime:?}");
            assert!(format!("{runtime:?}").contains("tasks: 0"), "{runtime:?}");
        }
    }
    journal.close();
}

/// Polls `work` once, lets `meanwhile` happen beside the script, and waits for `work`.
async fn waiting<T>(work: impl Future<Output = T>, meanwhile: impl FnOnce()) -> T {
    let mut work = pin!(work);
    let first = poll_here(&mut work).await;
    aside(meanwhile);
    match first {
        Poll::Ready(output) => output,
        Poll::Pending => work.await,
    }
}

/// Begins to wait for `work`, for which nothing has come yet, and gives up.
async fn begun<T: Debug>(work: impl Future<Output = io::Result<T>>) -> io::Result<()> {
    match poll_here(&mut pin!(work)).await {
        Poll::Ready(Ok(output)) => panic!("{output:?} came, and nothing was to come"),
        Poll::Ready(Err(error)) => Err(error),
        Poll::Pending => Ok(()),
    }
}

/// Drops `value`, whose destructor has nobody to tell of an error.
fn dropped<T>(value: T) -> io::Result<()> {
    drop(value);
    Ok(())
}

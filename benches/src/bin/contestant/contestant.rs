//! What is asked of a contestant.

use std::net::TcpListener;
use std::time::Duration;

use serde_json::Value;

use crate::scenarios::{self, Scenario};
use crate::server::Echo;

/// Something that can be told to serve and to measure itself.
pub(crate) trait Contestant {
    /// Serves for ever, or until the process exits because enough connections have ended.
    fn serve_echo(echo: Echo);

    /// Does `count` operations; returns the metrics.
    fn measure(scenario: Scenario, count: u64) -> Value;
}

/// A single-threaded runtime; the scenarios are written once, for any of them.
///
/// Each function is the one that the runtime's users call, without anything around it: where runtimes
/// differ in what joining or a timeout returns, the scenarios look at no more than all have.
pub(crate) trait Runtime: 'static {
    /// Whether the future of `block_on` joins tasks quicker than a task does.
    const MAIN_JOINS_QUICKER: bool = false;

    /// Runs a future on a new runtime of this thread until it is done.
    fn block_on<F: Future>(future: F) -> F::Output;

    /// Runs a future on a new runtime whose timers may be a millisecond late, where there is a choice.
    fn block_on_coarsely<F: Future>(future: F) -> F::Output {
        Self::block_on(future)
    }

    /// Starts a task; the future that is returned waits for it.
    fn spawn<F>(future: F) -> impl Future + 'static
    where
        F: Future<Output: 'static> + 'static;

    /// Starts a task that nobody waits for, and that holds nothing for somebody who would.
    fn detach<F>(future: F)
    where
        F: Future<Output: 'static> + 'static;

    /// Lets the other tasks run.
    fn yield_now() -> impl Future + 'static;

    /// Waits.
    fn sleep(duration: Duration) -> impl Future + 'static;

    /// Limits how long a future may take.
    fn timeout<F: Future>(duration: Duration, future: F) -> impl Future;

    /// Accepts connections, and closes them, for ever; calls `on_accept` for each.
    fn accept(
        listener: TcpListener,
        on_accept: impl Fn() + 'static,
    ) -> impl Future<Output = ()> + 'static;

    /// The echo server, as the runtime's users write it: a task and a buffer for each connection.
    fn serve_echo(echo: Echo);
}

impl<R: Runtime> Contestant for R {
    fn serve_echo(echo: Echo) {
        <R as Runtime>::serve_echo(echo);
    }

    fn measure(scenario: Scenario, count: u64) -> Value {
        scenarios::measure::<R>(scenario, count)
    }
}

//! The attribute macros: what they accept runs as written, and what they refuse gives one error at its place.

use std::cell::RefCell;
use std::future::poll_fn;
use std::num::ParseIntError;
use std::task::Poll;

use runtime as renamed;

/// Is pending once, so that whoever awaits it needs something that polls again.
async fn wait_once() {
    let mut has_waited = false;
    poll_fn(|context| {
        if has_waited {
            return Poll::Ready(());
        }
        has_waited = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[test]
fn misuse_gives_one_clear_error() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/macros/*.rs");
    cases.pass("tests/macros/pass/*.rs");
}

#[runtime::test]
async fn a_test_may_wait() {
    wait_once().await;
}

#[runtime::test]
async fn question_mark_works_in_a_test_that_returns_a_result() -> Result<(), ParseIntError> {
    wait_once().await;
    let number: u32 = "42".parse()?;
    assert_eq!(number, 42);
    Ok(())
}

#[runtime::test]
#[should_panic(expected = "on purpose")]
async fn a_panic_after_waiting_reaches_the_harness() {
    wait_once().await;
    panic!("on purpose");
}

#[runtime::test]
#[ignore = "shows that an ignored test stays ignored"]
async fn an_ignored_test_does_not_run() {
    unreachable!("ignored tests do not run");
}

#[runtime::test(event_interval = 7)]
async fn a_test_with_one_option_runs() {
    wait_once().await;
}

#[runtime::test(
    event_interval = 1,
    max_events = 1,
    budget = 1,
    thread_name = "smallest"
)]
async fn a_test_with_the_smallest_options_runs() {
    wait_once().await;
}

#[renamed::test(crate = "renamed")]
async fn a_test_finds_the_renamed_crate() {
    wait_once().await;
}

#[renamed::test(crate = renamed, budget = 7)]
async fn a_test_finds_the_renamed_crate_without_quotes() {
    wait_once().await;
}

#[runtime::main]
async fn half_of_seven() -> Result<u32, String> {
    wait_once().await;
    let number: u32 = "7"
        .parse()
        .map_err(|error: ParseIntError| error.to_string())?;
    if number % 2 == 1 {
        return Err(format!("{number} is odd"));
    }
    Ok(number / 2)
}

#[test]
fn main_under_another_name_returns_what_its_body_returned() {
    assert_eq!(half_of_seven(), Err("7 is odd".to_owned()));
    assert_eq!(half_of_seven(), Err("7 is odd".to_owned()));
}

thread_local! {
    /// What the macros asked of `stand_in`, in order.
    static TRACE: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn record(call: impl Into<String>) {
    TRACE.with_borrow_mut(|trace| trace.push(call.into()));
}

/// What the macros use of the runtime crate, recording every call.
mod stand_in {
    use std::io;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::record;

    pub(crate) struct Builder;

    pub(crate) struct Runtime;

    impl Builder {
        pub(crate) fn new() -> Self {
            record("new");
            Self
        }

        pub(crate) fn event_interval(&mut self, polls: u32) -> &mut Self {
            record(format!("event_interval {polls}"));
            self
        }

        pub(crate) fn max_events(&mut self, events: usize) -> &mut Self {
            record(format!("max_events {events}"));
            self
        }

        pub(crate) fn budget(&mut self, units: u32) -> &mut Self {
            record(format!("budget {units}"));
            self
        }

        pub(crate) fn thread_name(&mut self, name: impl Into<String>) -> &mut Self {
            record(format!("thread_name {}", name.into()));
            self
        }

        pub(crate) fn build(&self) -> io::Result<Runtime> {
            record("build");
            Ok(Runtime)
        }
    }

    impl Runtime {
        pub(crate) fn block_on<F: Future>(&self, future: F) -> F::Output {
            record("block_on");
            let mut context = Context::from_waker(Waker::noop());
            match pin!(future).poll(&mut context) {
                Poll::Ready(output) => output,
                Poll::Pending => unreachable!("the bodies below do not wait"),
            }
        }
    }

    impl Drop for Runtime {
        fn drop(&mut self) {
            record("drop");
        }
    }
}

#[runtime::main(crate = stand_in)]
async fn without_options() {
    record("body");
}

#[runtime::main(
    thread_name = "one",
    budget = 9,
    max_events = 8,
    event_interval = 7,
    crate = "stand_in"
)]
async fn with_all_options() {
    record("body");
}

#[test]
fn without_options_the_builder_keeps_its_defaults() {
    without_options();
    assert_eq!(TRACE.take(), ["new", "build", "block_on", "body", "drop"]);
}

#[test]
fn every_option_is_one_call_of_the_builder() {
    with_all_options();
    let options = [
        "thread_name one",
        "budget 9",
        "max_events 8",
        "event_interval 7",
    ];
    let trace = TRACE.take();
    assert_eq!(trace[0], "new");
    assert_eq!(trace[1..5], options);
    assert_eq!(trace[5..], ["build", "block_on", "body", "drop"]);
}

//! The attribute macros of the `runtime` crate, which re-exports them as `runtime::main` and `runtime::test`.
//!
//! Called by the compiler with the tokens of an attribute and of the item below it. The tokens that
//! come back call `runtime::Builder` and `runtime::Runtime::block_on`.
//!
//! # Invariants
//!
//! 1. Misuse gives one error, and what is emitted beside the error causes no second one.
//! 2. Every token of the user keeps its span, so that rustc reports a mistake where it was made.
//!
//! # Not here
//!
//! What an option does and its default value (`runtime::Builder`).

mod entry;
mod function;
mod options;

use proc_macro::TokenStream;

use crate::entry::Entry;

/// Turns an `async fn` into a function that builds a runtime and runs the body on it.
///
/// Most programs put it on `main`, but the function may have any name; whoever calls it waits until
/// the body has returned. It may have any return type and may be an associated function, but takes no
/// parameters and no generics. The runtime is built anew by every call and dropped before the call
/// returns, along with the tasks that are still running then.
///
/// # Options
///
/// Each sets what the method of that name on `runtime::Builder` sets, takes a literal, and may be given once:
///
/// | option | meaning | if left out |
/// |---|---|---|
/// | `event_interval = 31` | polls between looks at the kernel's events while tasks are due, 1 and up | as in `Builder` |
/// | `max_events = 512` | events that one look takes, 1 and up | as in `Builder` |
/// | `budget = 64` | units that a task may use up in one poll, 1 and up | as in `Builder` |
/// | `thread_name = "worker"` | name of the calling thread, which keeps it afterwards | unchanged |
/// | `crate = renamed` | path of the runtime crate, bare or in quotes | `::runtime` |
///
/// Anything else, on the attribute or below it, is refused by one compiler error that says what is needed.
///
/// # Panics
///
/// The function panics when the runtime cannot be built, above all for want of file descriptors; to
/// handle that, use `runtime::Builder` without the attribute. It also panics when a runtime is running
/// on the calling thread already, and passes on a panic of its body.
///
/// # Examples
///
/// ```
/// use std::io;
///
/// #[runtime::main]
/// async fn main() -> io::Result<()> {
///     let number: u32 = "42".parse().map_err(io::Error::other)?;
///     let answer = runtime::spawn(async move { number }).await;
///     assert_eq!(answer.map_err(io::Error::other)?, 42);
///     Ok(())
/// }
/// ```
///
/// does the same as
///
/// ```
/// use std::io;
///
/// fn main() -> io::Result<()> {
///     let runtime = runtime::Builder::new()
///         .build()
///         .expect("failed to build the runtime");
///     runtime.block_on(async {
///         let number: u32 = "42".parse().map_err(io::Error::other)?;
///         let answer = runtime::spawn(async move { number }).await;
///         assert_eq!(answer.map_err(io::Error::other)?, 42);
///         Ok(())
///     })
/// }
/// ```
///
/// On a function of another name, with options:
///
/// ```
/// #[runtime::main(event_interval = 7, thread_name = "lookup")]
/// async fn look_up() -> usize {
///     async { 7 }.await
/// }
///
/// assert_eq!(look_up(), 7);
/// ```
///
/// Where the crate has another name:
///
/// ```
/// mod vendored {
///     pub use runtime as rt;
/// }
///
/// #[vendored::rt::main(crate = vendored::rt)]
/// async fn main() {}
/// ```
#[proc_macro_attribute]
pub fn main(options: TokenStream, item: TokenStream) -> TokenStream {
    Entry::Main.expand(options.into(), item.into()).into()
}

/// Turns an `async fn` into a test that runs on a runtime of its own.
///
/// It stands in place of `#[test]`, not beside it, and what goes with a plain test goes with it too:
/// `#[ignore]`, `#[should_panic]`, a return type such as `io::Result<()>`. The test harness runs each test
/// on its own thread, so tests with runtimes may run at the same time.
///
/// # Options
///
/// Those of `#[runtime::main]`. Misuse, a second test attribute included, is refused by one compiler error.
///
/// # Panics
///
/// The test fails when the runtime cannot be built.
///
/// # Examples
///
/// ```
/// use std::num::ParseIntError;
///
/// #[runtime::test]
/// async fn one_and_one_are_two() {
///     assert_eq!(async { 1 + 1 }.await, 2);
/// }
///
/// #[runtime::test(event_interval = 1, budget = 1)]
/// async fn a_number_parses() -> Result<(), ParseIntError> {
///     let number: u32 = async { "42".parse() }.await?;
///     assert_eq!(number, 42);
///     Ok(())
/// }
///
/// #[runtime::test]
/// #[should_panic(expected = "too late")]
/// async fn a_panic_reaches_the_harness() {
///     panic!("too late");
/// }
/// ```
#[proc_macro_attribute]
pub fn test(options: TokenStream, item: TokenStream) -> TokenStream {
    Entry::Test.expand(options.into(), item.into()).into()
}

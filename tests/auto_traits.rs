//! What may cross threads and what may not, and which types can be moved while they are polled.

use std::cell::Cell;
use std::error::Error;
use std::marker::PhantomPinned;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::rc::Rc;

use runtime::io::{Interest, Ready};
use runtime::net::{
    Incoming, OwnedReadHalf, OwnedWriteHalf, ReadHalf, ReuniteError, TcpListener, TcpSocket,
    TcpStream, WriteHalf,
};
use runtime::task::{
    AbortHandle, AccessError, Id, JoinError, JoinHandle, JoinSet, LocalKey, TaskLocalFuture,
};
use runtime::time::{Elapsed, Instant, Interval, Timeout, Timer};
use runtime::{Builder, Runtime};
use static_assertions::{assert_impl_all, assert_not_impl_any};

// Sockets and timers move between threads.
assert_impl_all!(TcpStream: Send, Sync, Unpin, UnwindSafe, RefUnwindSafe);
assert_impl_all!(TcpListener: Send, Sync, Unpin, UnwindSafe, RefUnwindSafe);
assert_impl_all!(TcpSocket: Send, Sync, Unpin);
assert_impl_all!(ReadHalf<'static>: Send, Sync, Unpin);
assert_impl_all!(WriteHalf<'static>: Send, Sync, Unpin);
assert_impl_all!(OwnedReadHalf: Send, Sync, Unpin);
assert_impl_all!(OwnedWriteHalf: Send, Sync, Unpin);
assert_impl_all!(ReuniteError: Send, Sync, Error);
assert_impl_all!(Incoming<'static>: Send, Unpin);
assert_impl_all!(Timer: Send, Sync, Unpin);
assert_impl_all!(Interval: Send, Sync, Unpin);
assert_impl_all!(Timeout<Timer>: Send, Sync, Unpin);
assert_not_impl_any!(Timeout<PhantomPinned>: Unpin);
assert_not_impl_any!(Timeout<Rc<()>>: Send);

// Values.
assert_impl_all!(Instant: Send, Sync, Copy, Ord, std::hash::Hash);
assert_impl_all!(Id: Send, Sync, Copy, Ord, std::hash::Hash, UnwindSafe);
assert_impl_all!(Interest: Send, Sync, Copy);
assert_impl_all!(Ready: Send, Sync, Copy);
assert_impl_all!(Elapsed: Send, Sync, Error);
assert_impl_all!(AccessError: Send, Sync, Error);
assert_impl_all!(JoinError: Send, Sync, Error, UnwindSafe);
assert_impl_all!(Builder: Send, Sync, Clone);

// What belongs to a runtime stays on its thread.
assert_not_impl_any!(Runtime: Send, Sync);
assert_not_impl_any!(JoinHandle<()>: Send, Sync);
assert_not_impl_any!(JoinHandle<Rc<()>>: Send, Sync);
assert_not_impl_any!(AbortHandle: Send, Sync);
assert_not_impl_any!(JoinSet<()>: Send, Sync);
assert_impl_all!(JoinHandle<Cell<u8>>: Unpin, UnwindSafe, RefUnwindSafe);
assert_impl_all!(AbortHandle: Unpin, UnwindSafe, RefUnwindSafe, Clone);
assert_impl_all!(JoinSet<Cell<u8>>: Unpin);
assert_impl_all!(Runtime: Unpin);

// A task-local value and its future follow what they hold.
assert_impl_all!(LocalKey<Rc<()>>: Send, Sync);
assert_impl_all!(TaskLocalFuture<u8, Timer>: Send, Sync, Unpin);
assert_not_impl_any!(TaskLocalFuture<Rc<()>, Timer>: Send);
assert_not_impl_any!(TaskLocalFuture<u8, PhantomPinned>: Unpin);

fn is_send<T: Send>(_: &T) {}

/// The futures of sockets and timers fit where other crates ask for `Send`.
#[test]
fn operations_on_sockets_and_timers_are_send() {
    let listener = TcpListener::bind("127.0.0.1:0");
    let connecting = TcpStream::connect("127.0.0.1:0");
    is_send(&listener);
    is_send(&connecting);
    is_send(&runtime::task::yield_now());
    is_send(&runtime::task::consume_budget());
    let serving = async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (stream, _) = listener.accept().await?;
        stream.readable().await?;
        runtime::time::sleep(std::time::Duration::ZERO).await;
        let (mut read, mut write) = stream.into_split();
        runtime::io::copy(&mut read, &mut write).await
    };
    is_send(&serving);
}

/// Neither a handle nor a set holds an output, so that `&mut handle` can be awaited whatever the output.
#[test]
fn handles_and_sets_are_unpin_whatever_the_output() {
    assert_impl_all!(JoinHandle<PhantomPinned>: Unpin);
    assert_impl_all!(JoinSet<PhantomPinned>: Unpin);
}

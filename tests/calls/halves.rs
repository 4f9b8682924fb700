//! Halves on two threads: the runtime of one is not woken for what the other does.

use std::io::{Read, Write};
use std::sync::mpsc;
use std::thread;

use futures::channel::oneshot;
use futures::poll;
use runtime::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::parked::{this_thread, wait_until_parked};
use crate::common::sockets::{fill, narrow_pair};
use crate::common::{LIMIT, within};
use crate::counted::calls;

const SEGMENTS: usize = 20_000;
/// After so many segments the reader waits until the writer's runtime sleeps, so that it cannot take many of
/// them for one event.
const PAUSE: usize = 10;

/// How often the runtime of a writer waits in the kernel while another thread's reads so many segments; the
/// writer has waited for room before, or not.
fn waits_of_a_writer(has_waited: bool) -> u64 {
    within(LIMIT * 3, || {
        let (client, mut server) = runtime::block_on(narrow_pair());
        let (mut read, mut write) = client.into_split();
        let (tell, told) = mpsc::channel();
        let (end, ended) = oneshot::channel::<()>();
        thread::scope(|scope| {
            let (drain, drained) = mpsc::channel();
            let writer = scope.spawn(move || {
                runtime::block_on(async move {
                    if has_waited {
                        let filled = fill(write.as_ref());
                        let mut waiting = write.write_all(b".");
                        assert!(poll!(&mut waiting).is_pending());
                        drain.send(filled + 1).unwrap();
                        waiting.await.unwrap();
                    } else {
                        drain.send(0).unwrap();
                    }
                    tell.send(this_thread()).unwrap();
                    let before = calls();
                    ended.await.unwrap();
                    let waits = (calls() - before).epoll_wait.calls;
                    // It still writes.
                    write.write_all(b"end").await.unwrap();
                    waits
                })
            });
            let length = drained.recv().unwrap();
            runtime::block_on(async {
                let mut drained = vec![0; length];
                server.read_exact(&mut drained).await.unwrap();
            });
            let writer_thread = told.recv().unwrap();
            let mut peer = server.into_std().unwrap();
            peer.set_nonblocking(false).unwrap();
            peer.set_nodelay(true).unwrap();
            runtime::block_on(async {
                let mut byte = [0];
                for segment in 0..SEGMENTS {
                    let mut next = read.read(&mut byte);
                    assert!(poll!(&mut next).is_pending());
                    peer.write_all(b".").unwrap();
                    assert_eq!(next.await.unwrap(), 1);
                    if segment % PAUSE == 0 {
                        wait_until_parked(&writer_thread);
                    }
                }
            });
            wait_until_parked(&writer_thread);
            end.send(()).unwrap();
            let mut text = [0; 3];
            peer.read_exact(&mut text).unwrap();
            assert_eq!(&text, b"end");
            writer.join().unwrap()
        })
    })
}

#[test]
fn a_writer_that_once_waited_is_not_woken_for_what_another_thread_reads() {
    let never = waits_of_a_writer(false);
    let once = waits_of_a_writer(true);
    assert!(
        once <= never + 8,
        "{once} waits in the kernel for {SEGMENTS} segments, and {never} of one that never waited"
    );
}

//! Acts of several runtimes and threads: sockets that move, wakes, names, and the end of a runtime.

use std::future::pending;
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use futures::channel::oneshot;
use runtime::Runtime;
use runtime::io::{AsyncReadExt, AsyncWriteExt};
use runtime::net::lookup_host;
use runtime::time::sleep;

use super::listening::rested;
use super::{Act, begun, dropped, waiting};
use crate::common::parked::{this_thread, wait_until_parked};
use crate::common::process::wait_for_resolving_threads;
use crate::common::sockets::sources;
use crate::common::{listen, pair_with_std};
use crate::journal::Journal;
use crate::script::{self, aside, aside_async};

/// More changes of place than a shared descriptor makes before it has guests.
const CHANGES: usize = 10;

pub(super) fn move_a_stream(journal: &Journal, here: &Runtime) -> Act {
    with_another(|there| {
        let (mut peer, mut stream) = here.block_on(aside_async(pair_with_std()));
        let mut buffer = [0; 8];
        here.block_on(
            journal
                .step("begin to read")
                .run(begun(stream.read(&mut buffer))),
        )?;
        let moved = journal
            .step("read in another runtime")
            .run(waiting(stream.read(&mut buffer), || {
                peer.write_all(b"moved").unwrap()
            }));
        if let Err(ended) = there.block_on(moved) {
            // It is still where it was, or anew registered there, and so are the bytes.
            let length = here.block_on(aside_async(stream.read(&mut buffer)));
            assert_eq!(&buffer[..length.unwrap()], b"moved");
            return Err(ended);
        }
        assert_eq!(&buffer[..5], b"moved");
        // Someone may have a duplicate now, so closing takes it out of the epoll set.
        let _ = stream.as_fd();
        here.block_on(async { drop(stream) });
        Ok(())
    })
}

pub(super) fn share_halves(journal: &Journal, here: &Runtime) -> Act {
    with_another(|there| {
        let (mut peer, stream) = here.block_on(aside_async(pair_with_std()));
        let (mut reading, mut writing) = stream.into_split();
        here.block_on(
            journal
                .step("begin to read")
                .run(begun(reading.read(&mut [0]))),
        )?;
        let writable = writing.as_ref().writable();
        there.block_on(
            journal
                .step("wait for writing in another runtime")
                .run(writable),
        )?;
        there.block_on(journal.step("write there").run(writing.write_all(b"1234")))?;
        let mut buffer = [0; 8];
        let read = waiting(reading.read(&mut buffer), || {
            peer.write_all(b"1234").unwrap()
        });
        here.block_on(journal.step("read here").run(read))?;
        journal
            .step("drop the writing half")
            .mending(|_| true)
            .call(|| dropped(writing))
    })
}

pub(super) fn share_a_stream(journal: &Journal, here: &Runtime) -> Act {
    with_another(|there| {
        let (mut peer, stream) = here.block_on(aside_async(pair_with_std()));
        for _ in 0..CHANGES {
            for runtime in [here, there] {
                let step = journal.step("begin to wait in each of two runtimes");
                runtime.block_on(step.run(begun(stream.readable())))?;
            }
        }
        aside(|| peer.write_all(b"1").unwrap());
        for runtime in [here, there] {
            let step = journal.step("wait in each of two runtimes");
            runtime.block_on(step.run(stream.readable()))?;
        }
        Ok(())
    })
}

pub(super) fn be_woken_by_a_thread(journal: &Journal, runtime: &Runtime) -> Act {
    let (first, is_first) = oneshot::channel();
    let (second, is_second) = oneshot::channel();
    let (sleeper, script) = (this_thread(), script::current());
    let waking = move || {
        script::follow(script);
        for end in [first, second] {
            wait_until_parked(&sleeper);
            end.send(()).unwrap();
        }
        script::tally()
    };
    let waking = aside(|| thread::spawn(waking));
    let woken = journal.step("wait for another thread").run(async {
        is_first.await.map_err(io::Error::other)?;
        is_second.await.map_err(io::Error::other)
    });
    runtime.block_on(woken)?;
    script::add(&waking.join().unwrap());
    Ok(())
}

pub(super) fn look_up_a_name(journal: &Journal, runtime: &Runtime) -> Act {
    let name = ("localhost", 7);
    // One of the life before would look this name up, too.
    wait_for_resolving_threads();
    let mut addresses = runtime.block_on(journal.step("look up").run(lookup_host(name)))?;
    assert!(addresses.all(|address| address.ip().is_loopback()));
    Ok(())
}

pub(super) fn drop_a_runtime_in_use(journal: &Journal, _: &Runtime) -> Act {
    let runtime = journal.step("build a runtime").call(Runtime::new)?;
    runtime.block_on(async {
        let (listener, _) = aside_async(listen()).await;
        let (peer, stream) = aside_async(pair_with_std()).await;
        journal
            .step("begin to accept")
            .mending(rested)
            .run(begun(listener.accept()))
            .await?;
        journal
            .step("begin to wait")
            .run(begun(stream.readable()))
            .await?;
        runtime.spawn(async move {
            sleep(Duration::from_secs(3600)).await;
            let _kept = (listener, peer, stream);
            pending::<()>().await;
        });
        runtime::task::yield_now().await;
        Ok(())
    })?;
    journal.step("drop a runtime").call(|| dropped(runtime))
}

/// Runs an act with a second runtime, in which nothing is left after it.
fn with_another(act: impl FnOnce(&Runtime) -> Act) -> Act {
    let there = aside(|| Runtime::new().unwrap());
    let result = act(&there);
    // Letters from elsewhere are read.
    there.block_on(async {});
    assert_eq!(sources(&there), 0, "{there:?}");
    result
}

//! An error event is not the end of a connection: a time stamp in the error queue raises `EPOLLERR`, too.
//!
//! (The kernel puts a time stamp for each send there, on loopback at once, and `EPOLLERR` stays until it is
//! fetched.)
#![expect(unsafe_code, reason = "time stamps are options and messages of libc's")]

use std::io::{Read, Write};
use std::mem;
use std::net::TcpStream as StdStream;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;

use runtime::io::{AsyncReadExt, AsyncWriteExt, Interest};
use runtime::net::TcpStream;
use socket2::SockRef;

use crate::common::sockets::{poll_here, rounds};
use crate::common::{pair_with_std, run};
use crate::counted::calls;

const MESSAGES: u64 = 100;

/// Asks for time stamps of what is sent from here on, or for none.
fn set_time_stamps(fd: RawFd, is_on: bool) {
    let flags = match is_on {
        true => libc::SOF_TIMESTAMPING_TX_SOFTWARE | libc::SOF_TIMESTAMPING_SOFTWARE,
        false => 0,
    };
    let length = u32::try_from(size_of_val(&flags)).unwrap();
    // SAFETY: the pointer must be valid for reading the given length: both are the local's.
    let result = unsafe {
        libc::setsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_TIMESTAMPING,
            (&raw const flags).cast(),
            length,
        )
    };
    assert_eq!(result, 0);
}

/// Takes what is in the error queue; returns how much that was.
fn drain_error_queue(fd: RawFd) -> usize {
    let mut taken = 0;
    loop {
        let mut control = [0_u64; 64];
        // SAFETY: all zero is a valid value: no name, no buffers, no control data.
        let mut message: libc::msghdr = unsafe { mem::zeroed() };
        message.msg_control = (&raw mut control).cast();
        message.msg_controllen = size_of_val(&control);
        // SAFETY: the pointer is the local's, and what it points to is all null or the local above.
        let length = unsafe { libc::recvmsg(fd, &raw mut message, libc::MSG_ERRQUEUE) };
        if length < 0 {
            return taken;
        }
        taken += 1;
    }
}

/// Whether the kernel reports an error now.
fn has_error_event(fd: RawFd) -> bool {
    let mut poll = libc::pollfd {
        fd,
        events: 0,
        revents: 0,
    };
    // SAFETY: the pointer is valid for the one entry that the length says.
    let count = unsafe { libc::poll(ptr::from_mut(&mut poll), 1, 0) };
    count == 1 && poll.revents & libc::POLLERR != 0
}

/// A connection that epoll watches in both directions and of whose one send it has reported a time stamp.
async fn stamped_pair() -> (StdStream, TcpStream, RawFd) {
    let (mut peer, mut stream) = pair_with_std().await;
    peer.set_nodelay(true).unwrap();
    stream.set_nodelay(true).unwrap();
    let fd = stream.as_raw_fd();
    assert!(poll_here(&mut stream.read(&mut [0])).await.is_pending());
    let both = Interest::READABLE | Interest::WRITABLE;
    assert!(stream.ready(both).await.unwrap().is_writable());
    set_time_stamps(fd, true);
    stream.write_all(b"!").await.unwrap();
    set_time_stamps(fd, false);
    peer.read_exact(&mut [0]).unwrap();
    assert!(has_error_event(fd), "the stamp is in the error queue");
    rounds(3).await;
    (peer, stream, fd)
}

#[test]
fn a_time_stamp_in_the_error_queue_closes_neither_direction() {
    for drains in [false, true] {
        run(async {
            let (mut peer, mut stream, fd) = stamped_pair().await;
            if drains {
                assert_eq!(drain_error_queue(fd), 1);
                assert!(!has_error_event(fd));
            }
            let both = Interest::READABLE | Interest::WRITABLE;
            let ready = stream.ready(both).await.unwrap();
            assert!(ready.is_writable());
            assert!(!ready.is_read_closed(), "drained: {drains}, {ready:?}");
            assert!(!ready.is_write_closed(), "drained: {drains}, {ready:?}");
            // Neither after it was used, of which epoll reports the error again if it is still there.
            peer.write_all(b"?").unwrap();
            assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 1);
            let ready = stream.ready(both).await.unwrap();
            assert!(!ready.is_read_closed() && !ready.is_write_closed());
            // The end itself closes.
            drop(peer);
            assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
            rounds(3).await;
            let ready = stream.ready(Interest::READABLE).await.unwrap();
            assert!(ready.is_read_closed());
        });
    }
}

#[test]
fn short_reads_after_a_time_stamp_cost_one_call_each() {
    for drains in [false, true] {
        run(async {
            let (mut peer, mut stream, fd) = stamped_pair().await;
            if drains {
                drain_error_queue(fd);
            }
            let mut buffer = [0; 64];
            // The event of the stamp made it readable: one read finds nothing.
            assert!(poll_here(&mut stream.read(&mut buffer)).await.is_pending());
            let before = calls();
            for _ in 0..MESSAGES {
                peer.write_all(b"message").unwrap();
                assert_eq!(stream.read(&mut buffer).await.unwrap(), 7);
                assert!(poll_here(&mut stream.read(&mut buffer)).await.is_pending());
            }
            let made = (calls() - before).recv;
            // The first may look whether the error is one that a read returns.
            assert!(
                made.calls <= MESSAGES + 1 && made.again <= 1,
                "drained: {drains}; {made:?}"
            );
        });
    }
}

#[test]
fn each_of_many_time_stamps_costs_a_reader_no_more_than_one_call() {
    run(async {
        let (mut peer, mut stream, fd) = stamped_pair().await;
        set_time_stamps(fd, true);
        let mut buffer = [0; 64];
        let before = calls();
        for _ in 0..MESSAGES {
            stream.write_all(b"!").await.unwrap();
            peer.read_exact(&mut [0]).unwrap();
            peer.write_all(b"message").unwrap();
            assert_eq!(stream.read(&mut buffer).await.unwrap(), 7);
        }
        let made = (calls() - before).recv;
        // The peer's are counted, too.
        assert!(made.calls <= 3 * MESSAGES, "{made:?}");
        let ready = stream.ready(Interest::READABLE | Interest::WRITABLE).await;
        assert!(!ready.unwrap().is_read_closed());
    });
}

#[test]
fn a_connection_that_was_reset_is_closed_in_both_directions() {
    for waits in [false, true] {
        run(async {
            let (peer, mut stream, _) = stamped_pair().await;
            if waits {
                assert!(poll_here(&mut stream.read(&mut [0])).await.is_pending());
            }
            SockRef::from(&peer)
                .set_linger(Some(std::time::Duration::ZERO))
                .unwrap();
            drop(peer);
            let error = stream.read(&mut [0; 8]).await.unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
            // The read may have come before the event.
            rounds(1).await;
            let both = Interest::READABLE | Interest::WRITABLE;
            let ready = stream.ready(both).await.unwrap();
            assert!(
                ready.is_read_closed() && ready.is_write_closed(),
                "{ready:?}"
            );
        });
    }
}

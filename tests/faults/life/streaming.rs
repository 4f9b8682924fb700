//! Acts of connections: making them, moving bytes in every way, and ending them.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream as StdStream};
use std::time::Duration;

use runtime::Runtime;
use runtime::io::{AsyncReadExt, AsyncWriteExt, Interest};
use runtime::net::{TcpListener, TcpSocket, TcpStream};

use super::listening::rested;
use super::{Act, begun, dropped, waiting};
use crate::common::sockets::{fill, narrow_pair};
use crate::common::{anywhere, listen, pair_with_std};
use crate::journal::Journal;
use crate::script::{Call, Fault, aside, aside_async};

pub(super) fn connect(journal: &Journal, runtime: &Runtime) -> Act {
    // A connection that is not made yet is waited for.
    let is_not_yet =
        |fault: Fault| fault.call == Call::GetPeerName && fault.errno == libc::ENOTCONN;
    runtime.block_on(async {
        let (_listener, address) = aside_async(listen()).await;
        journal
            .step("connect")
            .mending(is_not_yet)
            .run(TcpStream::connect(address))
            .await?;
        journal
            .step("connect to one of several addresses")
            .mending(|_| true)
            .run(TcpStream::connect(&[address; 2][..]))
            .await?;
        journal
            .step("connect within a time")
            .mending(is_not_yet)
            .run(TcpStream::connect_timeout(address, Duration::MAX))
            .await?;
        let socket = journal.step("make a socket").call(TcpSocket::new_v4)?;
        journal
            .step("connect a socket")
            .mending(is_not_yet)
            .run(socket.connect(address))
            .await?;
        Ok(())
    })
}

pub(super) fn read_and_write(journal: &Journal, runtime: &Runtime) -> Act {
    runtime.block_on(async {
        let (mut peer, mut stream) = aside_async(pair_with_std()).await;
        let mut buffer = [0; 8];
        let mut send = |text: &[u8]| aside(|| peer.write_all(text).unwrap());
        send(b"12345678");
        journal
            .step("read what is there")
            .run(stream.read_exact(&mut buffer))
            .await?;
        journal
            .step("read what comes")
            .run(waiting(stream.read_exact(&mut buffer[..4]), || {
                send(b"1234")
            }))
            .await?;
        journal
            .step("peek")
            .run(waiting(stream.peek(&mut buffer), || send(b"abc")))
            .await?;
        let (one, two) = buffer.split_at_mut(1);
        let mut parts = [IoSliceMut::new(one), IoSliceMut::new(two)];
        let length = journal
            .step("read into several buffers")
            .run(stream.read_vectored(&mut parts))
            .await?;
        assert_eq!(&buffer[..length], b"abc");
        let parts = [IoSlice::new(b"d"), IoSlice::new(b"ef")];
        journal.step("write").run(stream.write_all(b"abc")).await?;
        journal
            .step("write from several buffers")
            .run(stream.write_vectored(&parts))
            .await?;
        aside(|| peer.read_exact(&mut buffer[..6]).unwrap());
        assert_eq!(&buffer[..6], b"abcdef");
        journal
            .step("close")
            .mending(|fault| fault.errno == libc::ENOTCONN)
            .run(stream.close())
            .await?;
        journal
            .step("read the end")
            .run(waiting(stream.read(&mut buffer), || drop(peer)))
            .await
            .map(|length| assert_eq!(length, 0))
    })
}

pub(super) fn write_what_does_not_fit(journal: &Journal, runtime: &Runtime) -> Act {
    runtime.block_on(async {
        let (mut client, server) = aside_async(narrow_pair()).await;
        aside(|| fill(&client));
        journal
            .step("write when there is room")
            .run(waiting(client.write(b"more"), || empty(&server)))
            .await?;
        aside(|| fill(&client));
        let parts = [IoSlice::new(b"d"), IoSlice::new(b"ef")];
        journal
            .step("write from several buffers when there is room")
            .run(waiting(client.write_vectored(&parts), || empty(&server)))
            .await?;
        Ok(())
    })
}

/// Reads all that is there.
fn empty(stream: &TcpStream) {
    loop {
        match stream.try_read(&mut [0; 1024]) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("{error}"),
        }
    }
}

pub(super) fn read_on_after_a_short_read(journal: &Journal, runtime: &Runtime) -> Act {
    runtime.block_on(async {
        let (mut peer, mut stream) = aside_async(pair_with_std()).await;
        let mut buffer = [0; 8];
        aside(|| peer.write_all(b"short").unwrap());
        journal
            .step("read less than there is room for")
            .run(stream.read(&mut buffer))
            .await?;
        // Where registering fails, reading is tried, and waiting after that registers.
        journal
            .step("read on")
            .mending(|fault| fault.call == Call::EpollAdd)
            .run(waiting(stream.read(&mut buffer), || {
                peer.write_all(b"more").unwrap();
            }))
            .await?;
        assert_eq!(&buffer[..4], b"more");
        Ok(())
    })
}

pub(super) fn try_without_waiting(journal: &Journal, runtime: &Runtime) -> Act {
    runtime.block_on(async {
        let (mut peer, stream) = aside_async(pair_with_std()).await;
        let mut buffer = [0; 4];
        journal
            .step("begin to wait for reading")
            .run(begun(stream.readable()))
            .await?;
        let wait = journal.step("wait for writing").run(stream.writable());
        if let Err(ended) = wait.await {
            // What could not be watched is not taken for watched.
            aside_async(stream.writable()).await.unwrap();
            return Err(ended);
        }
        let mut send = || peer.write_all(b"1234").unwrap();
        let reading = when_ready(&stream, Interest::READABLE, || stream.try_read(&mut buffer));
        journal
            .step("try to read")
            .run(waiting(reading, &mut send))
            .await?;
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let reading = when_ready(&stream, Interest::READABLE, || {
            stream.try_read_vectored(&mut parts)
        });
        journal
            .step("try to read into several buffers")
            .run(waiting(reading, &mut send))
            .await?;
        let writing = when_ready(&stream, Interest::WRITABLE, || stream.try_write(b"1"));
        journal.step("try to write").run(writing).await?;
        let parts = [IoSlice::new(b"d"), IoSlice::new(b"ef")];
        let writing = when_ready(&stream, Interest::WRITABLE, || {
            stream.try_write_vectored(&parts)
        });
        journal
            .step("try to write from several buffers")
            .run(writing)
            .await?;
        Ok(())
    })
}

/// Tries `attempt` whenever `stream` is ready.
async fn when_ready<T>(
    stream: &TcpStream,
    interest: Interest,
    mut attempt: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    loop {
        stream.ready(interest).await?;
        match attempt() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            result => return result,
        }
    }
}

pub(super) fn split(journal: &Journal, runtime: &Runtime) -> Act {
    runtime.block_on(async {
        let (mut peer, mut stream) = aside_async(pair_with_std()).await;
        let mut buffer = [0; 4];
        let (mut reading, mut writing) = stream.split();
        journal
            .step("read by a borrowed half")
            .run(waiting(reading.read(&mut buffer), || {
                peer.write_all(b"1234").unwrap();
            }))
            .await?;
        journal
            .step("write by a borrowed half")
            .run(writing.write_all(b"1234"))
            .await?;
        let (mut reading, writing) = stream.into_split();
        // A destructor has nobody to tell.
        journal
            .step("drop the writing half")
            .mending(|_| true)
            .call(|| dropped(writing))?;
        journal
            .step("read by the half that is left")
            .run(waiting(reading.read(&mut buffer), || {
                peer.write_all(b"1234").unwrap();
            }))
            .await?;
        journal
            .step("shut down")
            .call(|| reading.as_ref().shutdown(Shutdown::Both))
    })
}

pub(super) fn exchange_with_std(journal: &Journal, runtime: &Runtime) -> Act {
    runtime.block_on(async {
        let listener = aside(|| std::net::TcpListener::bind(anywhere()).unwrap());
        let address: SocketAddr = aside(|| listener.local_addr().unwrap());
        let listener = journal
            .step("take over a listener")
            .call(|| TcpListener::from_std(listener))?;
        journal
            .step("begin to accept")
            .mending(rested)
            .run(begun(listener.accept()))
            .await?;
        let listener = journal
            .step("hand out a listener")
            .call(|| listener.into_std())?;
        let client = aside(|| StdStream::connect(address).unwrap());
        let mut stream = journal
            .step("take over a stream")
            .call(|| TcpStream::from_std(client))?;
        journal
            .step("begin to read")
            .run(begun(stream.read(&mut [0])))
            .await?;
        journal
            .step("hand out a stream")
            .call(|| stream.into_std())?;
        let unconnected = aside(|| TcpSocket::new_v4().unwrap());
        let unconnected = aside(|| std::os::fd::AsFd::as_fd(&unconnected).try_clone_to_owned());
        journal
            .step("take over a socket")
            .call(|| TcpSocket::from_std_stream(unconnected.unwrap().into()))?;
        drop(listener);
        Ok(())
    })
}

//! What all echo servers share: the listening socket, and when to stop.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with};

/// Connections that may wait to be accepted; the kernel cuts it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// An echo server that listens but does not serve yet.
pub(crate) struct Echo {
    /// In blocking mode, as some runtimes need it; all have the same backlog.
    pub(crate) listener: TcpListener,
    /// Bytes of each connection's buffer.
    pub(crate) buffer: usize,
    pub(crate) connections: Connections,
}

impl Echo {
    /// Listens on a free port of the loopback device and says on which.
    pub(crate) fn listen(buffer: usize, limit: u64) -> Self {
        let listener = listener().expect("a port of the loopback device is free");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        // Standard output flushes at the end of a line.
        println!("listening on {address}");
        Self {
            listener,
            buffer,
            connections: Connections { limit },
        }
    }

    /// The listener, in nonblocking mode.
    pub(crate) fn nonblocking(self) -> TcpListener {
        self.listener
            .set_nonblocking(true)
            .expect("a socket can be made nonblocking");
        self.listener
    }
}

/// Listens on a free port of the loopback device.
pub(crate) fn listener() -> rustix::io::Result<TcpListener> {
    let socket = socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
    listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

/// Counts connections that have ended.
#[derive(Clone, Copy)]
pub(crate) struct Connections {
    limit: u64,
}

impl Connections {
    /// Counts one more; ends the process if that was the last it was to serve.
    pub(crate) fn ended(self) {
        static ENDED: AtomicU64 = AtomicU64::new(0);
        if ENDED.fetch_add(1, Ordering::Relaxed) + 1 == self.limit {
            process::exit(0);
        }
    }
}

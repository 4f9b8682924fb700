//! Acts that ask for addresses and options and set them.

use std::io;
use std::time::Duration;

use runtime::Runtime;
use runtime::net::TcpSocket;

use super::Act;
use crate::common::{anywhere, listen, pair_with_std};
use crate::journal::Journal;
use crate::script::{aside, aside_async};

/// Runs calls as steps that their own text names.
macro_rules! calls {
    ($journal:ident: $($call:expr;)*) => {
        $($journal.step(stringify!($call)).call(|| $call)?;)*
    };
}

pub(super) fn of_streams(journal: &Journal, runtime: &Runtime) -> Act {
    let (_peer, stream) = runtime.block_on(aside_async(pair_with_std()));
    calls! { journal:
        stream.local_addr();
        stream.peer_addr();
        stream.take_error();
        stream.set_nodelay(true);
        stream.nodelay();
        stream.set_ttl(40);
        stream.ttl();
        stream.set_linger(None);
        stream.linger();
        stream.set_zero_linger();
        stream.set_keepalive(true);
        stream.keepalive();
    }
    // An address that cannot be told is left out.
    let shown = journal
        .step("show a stream")
        .mending(|_| true)
        .call(|| io::Result::Ok(format!("{stream:?}")))?;
    assert!(shown.contains("TcpStream"), "{shown}");
    Ok(())
}

pub(super) fn of_listeners(journal: &Journal, runtime: &Runtime) -> Act {
    let (listener, _) = runtime.block_on(aside_async(listen()));
    calls! { journal:
        listener.set_ttl(40);
        listener.ttl();
        listener.take_error();
    }
    let shown = journal
        .step("show a listener")
        .mending(|_| true)
        .call(|| io::Result::Ok(format!("{listener:?}")))?;
    assert!(shown.contains("TcpListener"), "{shown}");
    Ok(())
}

pub(super) fn of_sockets(journal: &Journal, _: &Runtime) -> Act {
    let socket = aside(|| TcpSocket::new_v4().unwrap());
    calls! { journal:
        socket.set_reuseaddr(true);
        socket.reuseaddr();
        socket.set_reuseport(true);
        socket.reuseport();
        socket.set_nodelay(true);
        socket.nodelay();
        socket.set_keepalive(true);
        socket.keepalive();
        socket.set_linger(Some(Duration::ZERO));
        socket.linger();
        socket.set_send_buffer_size(8192);
        socket.send_buffer_size();
        socket.set_recv_buffer_size(8192);
        socket.recv_buffer_size();
        socket.device();
        socket.take_error();
        socket.bind(anywhere());
        socket.local_addr();
    }
    let shown = journal
        .step("show a socket")
        .mending(|_| true)
        .call(|| io::Result::Ok(format!("{socket:?}")))?;
    assert!(shown.contains("TcpSocket"), "{shown}");
    journal.step("listen").call(|| socket.listen(1)).map(drop)
}

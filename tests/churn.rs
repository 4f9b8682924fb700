//! Connections that come and go: whatever ends them, they leave nothing behind.

mod common;

use std::fs;
use std::net::SocketAddr;

use common::process::alone_within;
use common::sockets::{poll_here, sources};
use common::{LIMIT, open_fds};
use runtime::Runtime;
use runtime::io::{AsyncReadExt, AsyncWriteExt};
use runtime::net::{TcpListener, TcpStream};
use runtime::time::{Duration, timeout};

/// So many take ten seconds or more; a build with debug assertions makes do with a tenth.
const CONNECTIONS: usize = if cfg!(debug_assertions) {
    10_000
} else {
    100_000
};
/// A port that lingers does so for one address only.
const ADDRESSES: u8 = 8;
/// How much the memory of the process may grow, in KiB: by nothing that each connection leaves.
const GROWTH: usize = 256;

/// How a connection ends.
#[derive(Clone, Copy)]
enum End {
    ClientCloses,
    ServerCloses,
    ClientResets,
    ServerResets,
    Aborted,
    TimedOut,
}

const ENDS: [End; 8] = [
    End::ClientCloses,
    End::ClientResets,
    End::ServerResets,
    End::Aborted,
    End::ServerCloses,
    End::ClientResets,
    End::ServerResets,
    End::TimedOut,
];

/// One connection's life: a byte to and fro, both ends registered, then its end.
async fn live(listener: &TcpListener, address: SocketAddr, end: End) {
    let (client, accepted) =
        futures::future::join(TcpStream::connect(address), listener.accept()).await;
    let (mut client, (mut server, _)) = (client.unwrap(), accepted.unwrap());
    let task = runtime::spawn(async move {
        let mut byte = [0];
        server.read_exact(&mut byte).await.unwrap();
        server.write_all(&byte).await.unwrap();
        match end {
            End::ServerCloses => {}
            End::ServerResets => server.set_zero_linger().unwrap(),
            End::ClientResets => drop(server.read(&mut byte).await.unwrap_err()),
            _ => assert_eq!(server.read(&mut byte).await.unwrap(), 0),
        }
    });
    let mut byte = [0];
    assert!(poll_here(&mut client.read(&mut byte)).await.is_pending());
    client.write_all(b"!").await.unwrap();
    client.read_exact(&mut byte).await.unwrap();
    match end {
        End::ServerCloses => assert_eq!(client.read(&mut byte).await.unwrap(), 0),
        End::ServerResets => drop(client.read(&mut byte).await.unwrap_err()),
        End::ClientResets => client.set_zero_linger().unwrap(),
        End::Aborted => task.abort(),
        End::TimedOut => {
            timeout(Duration::ZERO, client.read(&mut byte))
                .await
                .unwrap_err();
        }
        End::ClientCloses => {}
    }
    drop(client);
    let result = task.await;
    assert_eq!(result.is_err(), matches!(end, End::Aborted));
}

async fn churn(listeners: &[(TcpListener, SocketAddr)], count: usize) {
    for number in 0..count {
        let (listener, address) = &listeners[number / ENDS.len() % listeners.len()];
        live(listener, *address, ENDS[number % ENDS.len()]).await;
    }
}

/// The memory of this process that is resident, in KiB.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let figure = line.and_then(|line| line.split_whitespace().nth(1));
    figure.unwrap().parse().unwrap()
}

#[test]
#[cfg_attr(
    runtime_plain_memory,
    ignore = "a sanitizer keeps what is freed for a while"
)]
fn connections_of_all_ends_come_and_go_and_leave_nothing() {
    alone_within(3 * LIMIT, || {
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            let mut listeners = Vec::new();
            for last in 1..=ADDRESSES {
                let address = SocketAddr::from(([127, 0, 0, last], 0));
                let listener = TcpListener::bind(address).await.unwrap();
                let address = listener.local_addr().unwrap();
                listeners.push((listener, address));
            }
            // What is kept for use again is there after this.
            churn(&listeners, CONNECTIONS / 10).await;
            let before = (open_fds(), sources(&runtime));
            let memory = resident();
            churn(&listeners, CONNECTIONS).await;
            assert_eq!((open_fds(), sources(&runtime)), before);
            let growth = resident().saturating_sub(memory);
            assert!(growth < GROWTH, "the process grew by {growth} KiB");
        });
    });
}

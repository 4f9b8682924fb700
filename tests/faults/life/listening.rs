//! Acts of listeners: binding and accepting.

use std::io;
use std::net::{SocketAddr, TcpStream as StdStream};

use futures::StreamExt;
use runtime::Runtime;
use runtime::net::TcpListener;

use super::{Act, waiting};
use crate::journal::Journal;
use crate::script::{Fault, aside};

const ANYWHERE: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// Accepting rests, and tries again, when memory runs out, be it for registering.
pub(super) fn rested(fault: Fault) -> bool {
    fault.errno == libc::ENOMEM
}

pub(super) fn bind_and_accept(journal: &Journal, runtime: &Runtime) -> Act {
    runtime.block_on(async {
        journal
            .step("bind to one of several addresses")
            .mending(|_| true)
            .run(TcpListener::bind(&[ANYWHERE; 2][..]))
            .await?;
        let listener = journal
            .step("bind")
            .run(TcpListener::bind(ANYWHERE))
            .await?;
        let address = journal
            .step("ask a listener for its address")
            .call(|| listener.local_addr())?;
        let mut clients = Vec::new();
        let mut client = || clients.push(StdStream::connect(address).unwrap());
        aside(&mut client);
        journal
            .step("accept a connection that is there")
            .mending(rested)
            .run(listener.accept())
            .await?;
        journal
            .step("accept a connection that comes")
            .mending(rested)
            .run(waiting(listener.accept(), &mut client))
            .await?;
        journal
            .step("take a connection off the stream of them")
            .mending(rested)
            .run(waiting(next(&listener), &mut client))
            .await
    })
}

async fn next(listener: &TcpListener) -> io::Result<()> {
    let connection = listener.incoming().next().await;
    connection.expect("the stream has no end").map(drop)
}

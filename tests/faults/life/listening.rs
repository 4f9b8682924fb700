//! Acts of listeners: binding, accepting, and a connection that nobody accepts.

use std::io;
use std::net::TcpStream as StdStream;

use futures::StreamExt;
use runtime::Runtime;
use runtime::net::TcpListener;
use runtime::time::{Duration, sleep};

use super::{Act, begun, waiting};
use crate::common::{anywhere, listen};
use crate::journal::Journal;
use crate::script::{Call, Fault, aside, aside_async};

/// Accepting rests, and tries again, when memory runs out, be it for registering.
pub(super) fn rested(fault: Fault) -> bool {
    fault.errno == libc::ENOMEM
}

pub(super) fn bind_and_accept(journal: &Journal, runtime: &Runtime) -> Act {
    runtime.block_on(async {
        journal
            .step("bind to one of several addresses")
            .mending(|_| true)
            .run(TcpListener::bind(&[anywhere(); 2][..]))
            .await?;
        let listener = journal
            .step("bind")
            .run(TcpListener::bind(anywhere()))
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

pub(super) fn ignore_a_connection(journal: &Journal, runtime: &Runtime) -> Act {
    runtime.block_on(async {
        let (listener, address) = aside_async(listen()).await;
        journal
            .step("begin to accept")
            .mending(rested)
            .run(begun(listener.accept()))
            .await?;
        let _client = aside(|| StdStream::connect(address).unwrap());
        journal
            .step("sleep beside a connection that nobody accepts")
            .mending(|fault| fault.call == Call::EpollMod)
            .run(async {
                for _ in 0..3 {
                    sleep(Duration::from_micros(500)).await;
                }
                Ok(())
            })
            .await?;
        journal
            .step("accept what was ignored")
            .mending(rested)
            .run(listener.accept())
            .await?;
        journal
            .step("begin to accept again")
            .mending(rested)
            .run(begun(listener.accept()))
            .await
    })
}

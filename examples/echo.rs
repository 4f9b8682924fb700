//! An echo server: whatever a client sends comes back.
//!
//! Run it with `cargo run --release --example echo`, then talk to it with `nc 127.0.0.1 7000`.
//! Another address can be given: `cargo run --release --example echo -- 127.0.0.1:7001`.

use std::cell::Cell;
use std::env;
use std::io;
use std::rc::Rc;

use runtime::io::{AsyncReadExt, AsyncWriteExt};
use runtime::net::{TcpListener, TcpStream};

#[runtime::main]
async fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or("127.0.0.1:7000".into());
    let listener = TcpListener::bind(&address).await?;
    println!("listening on {}", listener.local_addr()?);
    // One thread: what tasks share needs neither locks nor atomics.
    let served = Rc::new(Cell::new(0_u64));
    loop {
        let (stream, peer) = listener.accept().await?;
        let served = Rc::clone(&served);
        runtime::spawn(async move {
            if let Err(error) = echo(stream, &served).await {
                eprintln!("{peer}: {error}");
            }
        });
    }
}

/// Sends back what comes, until the client has sent all.
async fn echo(mut stream: TcpStream, served: &Cell<u64>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; 4096];
    loop {
        let length = stream.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..length]).await?;
        served.set(served.get() + length as u64);
    }
}

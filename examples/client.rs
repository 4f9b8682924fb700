//! A line client: sends each line of its input to a server and prints the lines that come back.
//!
//! Run the server with `cargo run --release --example echo`, then `cargo run --release --example client`.
//! Another address can be given: `cargo run --release --example client -- 127.0.0.1:7001`.

use std::env;
use std::io;
use std::net::Shutdown;
use std::thread;

use async_channel::{Receiver, Sender};
use futures::TryStreamExt;
use runtime::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use runtime::net::{OwnedWriteHalf, TcpStream};
use runtime::time::{Duration, timeout};

#[runtime::main]
async fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or("127.0.0.1:7000".into());
    let stream = timeout(Duration::from_secs(5), TcpStream::connect(&address)).await??;
    // Reading the terminal blocks, so a thread does it; its lines wake the task through the channel.
    let (sender, lines) = async_channel::bounded(16);
    thread::spawn(move || read_input(&sender));
    let (reading, writing) = stream.into_split();
    let sending = runtime::spawn(async move {
        let result = send(writing, lines).await;
        if let Err(error) = &result {
            eprintln!("sending failed: {error}");
        }
        result
    });
    let mut replies = BufReader::new(reading).lines();
    while let Some(reply) = replies.try_next().await? {
        println!("{reply}");
    }
    // The server has said all it had to say; if input is still to come, nobody wants it.
    sending.abort();
    Ok(())
}

/// Hands over the lines of the input, as long as somebody wants them.
fn read_input(lines: &Sender<String>) {
    for line in io::stdin().lines().map_while(Result::ok) {
        if lines.send_blocking(line).is_err() {
            return;
        }
    }
}

/// Sends line after line, then says that there is no more.
async fn send(mut writing: OwnedWriteHalf, lines: Receiver<String>) -> io::Result<()> {
    while let Ok(mut line) = lines.recv().await {
        line.push('\n');
        writing.write_all(line.as_bytes()).await?;
    }
    writing.as_ref().shutdown(Shutdown::Write)
}

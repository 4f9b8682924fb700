//! A load generator for echo servers: many connections from one thread, each ping-ponging.
//!
//! `load ADDRESS CONNECTIONS SECONDS [SIZE]` opens CONNECTIONS connections, then sends SIZE bytes (64
//! unless given) on each, waits until they have come back, checks them, and starts again, for SECONDS.
//! With 0 seconds it only keeps the connections open until standard input ends.

use std::env;
use std::io::{self, Read};
use std::process::ExitCode;

use runtime::io::{AsyncReadExt, AsyncWriteExt};
use runtime::net::TcpStream;
use runtime::task::JoinSet;
use runtime::time::{Duration, Instant, timeout_at};

#[runtime::main]
async fn main() -> io::Result<ExitCode> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let number = |place: usize| arguments.get(place)?.parse().ok();
    let (Some(address), Some(connections), Some(seconds)) =
        (arguments.first(), number(1), number(2))
    else {
        eprintln!("usage: load ADDRESS CONNECTIONS SECONDS [SIZE]");
        return Ok(ExitCode::FAILURE);
    };
    let size = number(3).unwrap_or(64);

    let mut streams = Vec::with_capacity(connections);
    for _ in 0..connections {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        streams.push(stream);
    }
    println!("{connections} connections are open");
    if seconds == 0 {
        io::stdin().read_to_end(&mut Vec::new())?;
        return Ok(ExitCode::SUCCESS);
    }

    let start = Instant::now();
    let end = start + Duration::from_secs(seconds as u64);
    let mut clients: JoinSet<_> = streams
        .into_iter()
        .map(|stream| ping(stream, size, end))
        .collect();
    let (mut requests, mut failures) = (0_u64, 0_u64);
    while let Some(client) = clients.join_next().await {
        match client? {
            Ok(count) => requests += count,
            Err(error) => {
                failures += 1;
                eprintln!("a connection failed: {error}");
            }
        }
    }
    let elapsed = start.elapsed().as_secs_f64();
    println!(
        "{requests} round trips in {elapsed:.3} s: {:.0} per second, {failures} connections failed",
        requests as f64 / elapsed
    );
    Ok(if failures == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Sends and receives until `end`; returns how often.
async fn ping(mut stream: TcpStream, size: usize, end: Instant) -> io::Result<u64> {
    let mut sent = vec![0; size];
    let mut received = vec![0; size];
    let mut count = 0_u64;
    let mut round_trips = async || {
        while Instant::now() < end {
            let stamp = count.to_le_bytes();
            let length = stamp.len().min(size);
            sent[..length].copy_from_slice(&stamp[..length]);
            stream.write_all(&sent).await?;
            stream.read_exact(&mut received).await?;
            if sent != received {
                return Err(io::Error::other("other bytes came back than were sent"));
            }
            count += 1;
        }
        Ok(())
    };
    let grace = end + Duration::from_secs(10);
    timeout_at(grace, round_trips()).await??;
    Ok(count)
}

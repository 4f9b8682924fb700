//! The serving end of conversations.
//!
//! A client begins with a [`Request`]; then both say what the kind of conversation asks for, and each tells the
//! other by a `Trailer` what it has seen.

use std::io;

use fastrand::Rng;
use runtime::io::{AsyncReadExt, AsyncWriteExt};
use runtime::net::{TcpListener, TcpStream};
use runtime::time::{Duration, timeout};

use super::reading;
use super::stream::{Content, Trailer};

/// What a client asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) kind: Conversation,
    pub(crate) seed: u64,
    pub(crate) length: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Conversation {
    /// The content goes there and back.
    Echo,
    Upload,
    Download,
    /// As an echo, but the client will reset the connection.
    Reset,
}

impl Request {
    const LENGTH: usize = 13;

    pub(crate) fn to_bytes(self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[0] = self.kind as u8;
        bytes[1..9].copy_from_slice(&self.seed.to_le_bytes());
        bytes[9..].copy_from_slice(&self.length.to_le_bytes());
        bytes
    }

    async fn read(stream: &mut TcpStream) -> io::Result<Self> {
        let mut bytes = [0; Self::LENGTH];
        stream.read_exact(&mut bytes).await?;
        let (kind, rest) = bytes.split_at(1);
        let (seed, length) = rest.split_at(8);
        Ok(Self {
            kind: match kind[0] {
                0 => Conversation::Echo,
                1 => Conversation::Upload,
                2 => Conversation::Download,
                _ => Conversation::Reset,
            },
            seed: u64::from_le_bytes(seed.try_into().expect("it has 8 bytes")),
            length: u32::from_le_bytes(length.try_into().expect("it has 4 bytes")),
        })
    }
}

/// Accepts for ever; now and then an accept is given up and begun anew.
pub(crate) async fn serve(listener: TcpListener, mut random: Rng) {
    loop {
        let limit = Duration::from_micros(random.u64(1..5_000));
        if let Ok(connection) = timeout(limit, listener.accept()).await {
            let (stream, _) = connection.expect("descriptors are there");
            runtime::spawn(answer(stream, random.fork()));
        }
    }
}

async fn answer(mut stream: TcpStream, mut random: Rng) {
    let Ok(request) = Request::read(&mut stream).await else {
        // The client was dropped, or has reset the connection, before it had asked.
        return;
    };
    let result = converse(&mut stream, request, &mut random).await;
    if let Err(error) = result
        && request.kind != Conversation::Reset
    {
        panic!("{request:?} failed at the server: {error}");
    }
}

async fn converse(stream: &mut TcpStream, request: Request, random: &mut Rng) -> io::Result<()> {
    let mut content = Content::new(request.seed);
    match request.kind {
        Conversation::Echo | Conversation::Reset => echo(stream, &mut content, random).await?,
        Conversation::Upload => reading::read_to_end(stream, &mut content, random).await?,
        Conversation::Download => {
            reading::write(stream, &mut content, request.length.into(), random).await?;
            stream.close().await?;
            let mut trailer = [0; Trailer::LENGTH];
            stream.read_exact(&mut trailer).await?;
            assert_eq!(trailer, content.trailer().to_bytes());
            return Ok(());
        }
    }
    stream.write_all(&content.trailer().to_bytes()).await?;
    stream.close().await
}

async fn echo(stream: &mut TcpStream, content: &mut Content, random: &mut Rng) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let room = 1 + random.usize(..buffer.len());
        let read = stream.read(&mut buffer[..room]).await?;
        if read == 0 {
            return Ok(());
        }
        content.check(&buffer[..read]);
        stream.write_all(&buffer[..read]).await?;
    }
}

//! The asking end of conversations.

use std::io;
use std::net::SocketAddr;

use fastrand::Rng;
use futures_lite::future::zip;
use runtime::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use runtime::net::{TcpListener, TcpSocket, TcpStream};
use runtime::time::{Duration, sleep};

use super::reading;
use super::server::{Conversation, Request};
use super::shard::Shared;
use super::stream::Content;

/// The longest content of most conversations, and of few.
const SHORT: u32 = 4 * 1024;
const LONG: u32 = 512 * 1024;

/// A conversation that goes on: it can be finished in another runtime.
#[derive(Debug)]
pub(crate) struct Echo {
    stream: TcpStream,
    request: Request,
    sent: Content,
    received: Content,
}

fn request(kind: Conversation, random: &mut Rng) -> Request {
    let longest = if random.u8(..16) == 0 { LONG } else { SHORT };
    Request {
        kind,
        seed: random.u64(..),
        length: random.u32(..longest),
    }
}

/// Connects, sometimes with buffers that hold little, and asks.
async fn ask(server: SocketAddr, request: Request, random: &mut Rng) -> io::Result<TcpStream> {
    let mut stream = loop {
        let socket = TcpSocket::new_v4()?;
        if random.u8(..4) == 0 {
            socket.set_send_buffer_size(4096)?;
            // A window that is smaller than a packet opens every 200 ms only: the kernel's doing.
            if request.length < SHORT {
                socket.set_recv_buffer_size(4096)?;
            }
        }
        match socket.connect(server).await {
            // All ports are taken by connections that were closed a moment ago.
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                sleep(Duration::from_millis(1)).await;
            }
            result => break result?,
        }
    };
    stream.set_nodelay(random.bool())?;
    stream.write_all(&request.to_bytes()).await?;
    Ok(stream)
}

/// Reads the server's trailer and the end, which must be all that is left.
async fn check_trailer(stream: &mut (impl AsyncRead + Unpin), content: &Content) -> io::Result<()> {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await?;
    assert_eq!(
        rest,
        content.trailer().to_bytes(),
        "what the server has seen"
    );
    Ok(())
}

/// A whole echo, in one of the ways to read and write at the same time.
pub(crate) async fn echo(shared: &Shared, random: &mut Rng) -> io::Result<()> {
    let request = request(Conversation::Echo, random);
    let stream = ask(shared.server(random), request, random).await?;
    match random.u8(..3) {
        0 => echo_in_halves(stream, request, random).await?,
        1 => echo_in_two_tasks(stream, request, random).await?,
        _ => {
            let (read, write) = (&mut &stream, &mut &stream);
            echo_between(read, write, request, random).await?;
        }
    }
    // There and back.
    shared.tally.count_bytes(2 * u64::from(request.length));
    Ok(())
}

async fn echo_in_halves(
    mut stream: TcpStream,
    request: Request,
    random: &mut Rng,
) -> io::Result<()> {
    let (mut read, mut write) = stream.split();
    echo_between(&mut read, &mut write, request, random).await
}

async fn echo_between(
    read: &mut (impl AsyncRead + Unpin),
    write: &mut (impl AsyncWrite + Unpin),
    request: Request,
    random: &mut Rng,
) -> io::Result<()> {
    let mut other = random.fork();
    let writing = async {
        let mut content = Content::new(request.seed);
        reading::write(write, &mut content, request.length.into(), &mut other).await?;
        write.close().await
    };
    let reading = async {
        let mut content = Content::new(request.seed);
        reading::read(read, &mut content, request.length.into(), random).await?;
        check_trailer(read, &content).await
    };
    let (written, read) = zip(writing, reading).await;
    written.and(read)
}

async fn echo_in_two_tasks(
    stream: TcpStream,
    request: Request,
    random: &mut Rng,
) -> io::Result<()> {
    let length = request.length.into();
    let (mut read, mut write) = stream.into_split();
    let mut other = random.fork();
    let writer = runtime::spawn(async move {
        let mut content = Content::new(request.seed);
        reading::write(&mut write, &mut content, length, &mut other).await?;
        Ok::<_, io::Error>(write)
    });
    let mut content = Content::new(request.seed);
    reading::read(&mut read, &mut content, length, random).await?;
    let write = writer.await??;
    let mut stream = read.reunite(write).expect("they are of one stream");
    stream.close().await?;
    check_trailer(&mut stream, &content).await
}

/// Sends all, while the server reads as slowly as it likes.
pub(crate) async fn upload(shared: &Shared, random: &mut Rng) -> io::Result<()> {
    let request = request(Conversation::Upload, random);
    let mut stream = ask(shared.server(random), request, random).await?;
    let mut content = Content::new(request.seed);
    reading::write(&mut stream, &mut content, request.length.into(), random).await?;
    stream.close().await?;
    check_trailer(&mut stream, &content).await?;
    shared.tally.count_bytes(request.length.into());
    Ok(())
}

/// Receives all, after its own end of the stream or before.
pub(crate) async fn download(shared: &Shared, random: &mut Rng) -> io::Result<()> {
    let request = request(Conversation::Download, random);
    let mut stream = ask(shared.server(random), request, random).await?;
    let mut content = Content::new(request.seed);
    let length = request.length.into();
    if random.bool() {
        reading::read_when_ready(&stream, &mut content, length, random).await?;
    } else {
        reading::read(&mut stream, &mut content, length, random).await?;
    }
    assert_eq!(stream.read(&mut [0]).await?, 0, "more than was asked for");
    stream.write_all(&content.trailer().to_bytes()).await?;
    shared.tally.count_bytes(request.length.into());
    Ok(())
}

/// Resets the connection somewhere in the middle, while a read waits or not.
pub(crate) async fn reset(shared: &Shared, random: &mut Rng) -> io::Result<()> {
    let request = request(Conversation::Reset, random);
    let mut stream = ask(shared.server(random), request, random).await?;
    stream.set_zero_linger()?;
    let mut content = Content::new(request.seed);
    let length = random.u64(..=u64::from(request.length.min(SHORT)));
    reading::write(&mut stream, &mut content, length, random).await?;
    if random.bool() {
        let limit = Duration::from_micros(random.u64(..200));
        // Whatever comes of it.
        let _ = runtime::time::timeout(limit, stream.read(&mut [0; 64])).await;
    }
    Ok(())
}

/// Connects to where nobody listens any more.
pub(crate) async fn refusal() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    drop(listener);
    let result = TcpStream::connect(address).await;
    // Another socket of this process may have the port by now, or be connected to itself.
    if let Err(error) = result {
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
    Ok(())
}

/// Asks the system's resolver.
pub(crate) async fn resolve() -> io::Result<()> {
    let mut addresses = runtime::net::lookup_host("localhost:80").await?;
    assert!(addresses.all(|address| address.ip().is_loopback()));
    Ok(())
}

impl Echo {
    /// Begins an echo, sends all of it and reads a part.
    pub(crate) async fn begin(shared: &Shared, random: &mut Rng) -> io::Result<Self> {
        let mut request = request(Conversation::Echo, random);
        // Both directions together must hold it, as nobody reads meanwhile.
        request.length = request.length.min(SHORT);
        let stream = ask(shared.server(random), request, random).await?;
        let mut echo = Self {
            stream,
            request,
            sent: Content::new(request.seed),
            received: Content::new(request.seed),
        };
        let half = random.u64(..=u64::from(request.length));
        echo.exchange(half, random).await?;
        Ok(echo)
    }

    async fn exchange(&mut self, to: u64, random: &mut Rng) -> io::Result<()> {
        reading::write(&mut self.stream, &mut self.sent, to, random).await?;
        reading::read(&mut self.stream, &mut self.received, to, random).await
    }

    /// Does what is left, here.
    pub(crate) async fn finish(mut self, shared: &Shared, random: &mut Rng) -> io::Result<()> {
        self.exchange(self.request.length.into(), random).await?;
        if random.bool() {
            // Through the standard library, which knows nothing of runtimes.
            self.stream = TcpStream::from_std(self.stream.into_std()?)?;
        }
        self.stream.close().await?;
        check_trailer(&mut self.stream, &self.received).await?;
        shared.tally.count_bytes(2 * u64::from(self.request.length));
        Ok(())
    }
}

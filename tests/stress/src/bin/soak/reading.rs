//! Reading and writing a known content in all ways that there are.

use std::io::{self, IoSlice, IoSliceMut};
use std::time::Duration;

use fastrand::Rng;
use runtime::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use runtime::net::TcpStream;
use runtime::task::yield_now;
use runtime::time::timeout;

use super::stream::Content;

/// The longest piece that is read or written at once.
const LONGEST: usize = 8 * 1024;

/// Writes the content up to `length` in pieces of all sizes.
pub(crate) async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    content: &mut Content,
    length: u64,
    random: &mut Rng,
) -> io::Result<()> {
    let mut buffer = [0; LONGEST];
    while content.length() < length {
        let rest = usize::try_from(length - content.length()).unwrap_or(LONGEST);
        let piece = &mut buffer[..piece(random).min(rest)];
        content.fill(piece);
        if random.bool() {
            stream.write_all(piece).await?;
        } else {
            let (first, second) = piece.split_at(random.usize(..=piece.len()));
            let slices = [IoSlice::new(first), IoSlice::new(second)];
            let written = stream.write_vectored(&slices).await?;
            stream.write_all(&piece[written..]).await?;
        }
    }
    Ok(())
}

/// Reads the content up to `length`.
pub(crate) async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    content: &mut Content,
    length: u64,
    random: &mut Rng,
) -> io::Result<()> {
    let mut buffer = [0; LONGEST];
    while content.length() < length {
        let rest = usize::try_from(length - content.length()).unwrap_or(LONGEST);
        let piece = &mut buffer[..piece(random).min(rest)];
        let read = read_piece(stream, piece, random).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        content.check(&piece[..read]);
    }
    Ok(())
}

/// Reads the content to its end.
pub(crate) async fn read_to_end(
    stream: &mut (impl AsyncRead + Unpin),
    content: &mut Content,
    random: &mut Rng,
) -> io::Result<()> {
    let mut buffer = [0; LONGEST];
    loop {
        let piece = &mut buffer[..piece(random)];
        match read_piece(stream, piece, random).await? {
            0 => return Ok(()),
            read => content.check(&piece[..read]),
        }
    }
}

/// As [`read`], by readiness.
pub(crate) async fn read_when_ready(
    stream: &TcpStream,
    content: &mut Content,
    length: u64,
    random: &mut Rng,
) -> io::Result<()> {
    let mut buffer = [0; LONGEST];
    while content.length() < length {
        let rest = usize::try_from(length - content.length()).unwrap_or(LONGEST);
        let piece = &mut buffer[..piece(random).min(rest)];
        stream.readable().await?;
        match stream.try_read(piece) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => content.check(&piece[..read]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads once, or gives up in between and begins anew.
async fn read_piece(
    stream: &mut (impl AsyncRead + Unpin),
    piece: &mut [u8],
    random: &mut Rng,
) -> io::Result<usize> {
    match random.u8(..8) {
        0 => {
            let (first, second) = piece.split_at_mut(random.usize(..piece.len()));
            let mut slices = [IoSliceMut::new(first), IoSliceMut::new(second)];
            stream.read_vectored(&mut slices).await
        }
        1 => {
            let limit = Duration::from_nanos(random.u64(..50_000));
            match timeout(limit, stream.read(piece)).await {
                Ok(result) => result,
                // No byte is lost with the read that was dropped.
                Err(_) => stream.read(piece).await,
            }
        }
        2 => {
            yield_now().await;
            stream.read(&mut piece[..1]).await
        }
        _ => stream.read(piece).await,
    }
}

fn piece(random: &mut Rng) -> usize {
    match random.u8(..4) {
        0 => 1 + random.usize(..16),
        1 => 1 + random.usize(..256),
        _ => 1 + random.usize(..LONGEST),
    }
}

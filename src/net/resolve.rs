//! From names to addresses, off the loop.
//!
//! Called by `bind` and `connect`; a name that is no literal is looked up on a thread of its own.

use std::future::poll_fn;
use std::io;
use std::net::{
    IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, ToSocketAddrs as _,
};
use std::task::{Poll, Waker};
use std::thread;

use self::sealed::Lookup;
use crate::sync::{Arc, Mutex};

/// What names one or more socket addresses: an address, an address and a port, or a name and a port.
///
/// A name that is no literal address is looked up with the system's resolver (`getaddrinfo(3)`) on a
/// thread of its own, so a slow server stalls nobody but the asking task. The trait is sealed.
///
/// # Examples
///
/// ```
/// use runtime::net::TcpListener;
///
/// # runtime::block_on(async {
/// TcpListener::bind("127.0.0.1:0").await?;
/// TcpListener::bind(("127.0.0.1", 0)).await?;
/// TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap();
/// ```
pub trait ToSocketAddrs: sealed::Sealed {}

mod sealed {
    use std::io;
    use std::net::SocketAddr;

    /// What has to be done to know the addresses.
    #[derive(Debug)]
    pub enum Lookup {
        Known(Vec<SocketAddr>),
        Name(String, u16),
    }

    pub trait Sealed {
        fn lookup(&self) -> io::Result<Lookup>;
    }
}

/// Looks up the addresses of a host.
///
/// # Errors
///
/// `InvalidInput` when the text is no `host:port`; the resolver's own errors; `QuotaExceeded` when no thread
/// can be started (`RLIMIT_NPROC`, `pids.max`).
///
/// # Cancel safety
///
/// Dropping the future abandons the answer; the thread ends by itself.
///
/// # Examples
///
/// ```
/// # runtime::block_on(async {
/// let mut addresses = runtime::net::lookup_host("localhost:80").await?;
/// assert!(addresses.all(|address| address.ip().is_loopback()));
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap();
/// ```
pub async fn lookup_host(host: impl ToSocketAddrs) -> io::Result<impl Iterator<Item = SocketAddr>> {
    Ok(resolve(host).await?.into_iter())
}

/// The addresses, one at least.
pub(super) async fn resolve(host: impl ToSocketAddrs) -> io::Result<Vec<SocketAddr>> {
    let addresses = match host.lookup()? {
        Lookup::Known(addresses) => addresses,
        Lookup::Name(name, port) => look_up(name, port).await?,
    };
    if addresses.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the name stands for no address",
        ));
    }
    Ok(addresses)
}

/// What the resolving thread and the waiting task share.
#[derive(Default)]
struct Answer {
    addresses: Option<io::Result<Vec<SocketAddr>>>,
    waker: Option<Waker>,
}

/// Asks the system's resolver on a thread of its own.
async fn look_up(name: String, port: u16) -> io::Result<Vec<SocketAddr>> {
    let ours = Arc::new(Mutex::new(Answer::default()));
    let theirs = Arc::clone(&ours);
    thread::Builder::new()
        .name("runtime-resolve".into())
        .spawn(move || {
            let addresses = (name.as_str(), port).to_socket_addrs().map(Vec::from_iter);
            let waker = {
                let mut answer = theirs.lock();
                answer.addresses = Some(addresses);
                answer.waker.take()
            };
            if let Some(waker) = waker {
                waker.wake();
            }
        })
        .map_err(threadless)?;
    poll_fn(|cx| {
        let waker = cx.waker().clone();
        let mut answer = ours.lock();
        if let Some(addresses) = answer.addresses.take() {
            return Poll::Ready(addresses);
        }
        let before = answer.waker.replace(waker);
        drop(answer);
        drop(before);
        Poll::Pending
    })
    .await
}

/// What those are told for whom no thread could be started. The kernel's `EAGAIN` must not pass for
/// `WouldBlock`: nothing will become ready.
fn threadless(error: io::Error) -> io::Error {
    let kind = match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::QuotaExceeded,
        kind => kind,
    };
    let text =
        format!("no thread could be started to look a name up (is a limit reached?): {error}");
    io::Error::new(kind, text)
}

impl ToSocketAddrs for SocketAddr {}
impl sealed::Sealed for SocketAddr {
    fn lookup(&self) -> io::Result<Lookup> {
        Ok(Lookup::Known(vec![*self]))
    }
}

impl ToSocketAddrs for [SocketAddr] {}
impl sealed::Sealed for [SocketAddr] {
    fn lookup(&self) -> io::Result<Lookup> {
        Ok(Lookup::Known(self.to_vec()))
    }
}

impl ToSocketAddrs for str {}
impl sealed::Sealed for str {
    fn lookup(&self) -> io::Result<Lookup> {
        if let Ok(address) = self.parse() {
            return Ok(Lookup::Known(vec![address]));
        }
        let invalid = |what| io::Error::new(io::ErrorKind::InvalidInput, what);
        let (host, port) = self
            .rsplit_once(':')
            .ok_or_else(|| invalid("a socket address is written `host:port`"))?;
        let port = port
            .parse()
            .map_err(|_| invalid("the port of a socket address is a number up to 65535"))?;
        (host, port).lookup()
    }
}

impl ToSocketAddrs for (&str, u16) {}
impl sealed::Sealed for (&str, u16) {
    fn lookup(&self) -> io::Result<Lookup> {
        let (host, port) = *self;
        Ok(match host.parse::<IpAddr>() {
            Ok(ip) => Lookup::Known(vec![(ip, port).into()]),
            Err(_) => Lookup::Name(host.to_owned(), port),
        })
    }
}

/// Makes a type name addresses as the value of an expression does.
macro_rules! like {
    ($($type:ty: |$this:ident| $as:expr;)*) => {$(
        impl ToSocketAddrs for $type {}
        impl sealed::Sealed for $type {
            fn lookup(&self) -> io::Result<Lookup> {
                let $this = self;
                sealed::Sealed::lookup(&$as)
            }
        }
    )*};
}

like! {
    SocketAddrV4: |this| SocketAddr::from(*this);
    SocketAddrV6: |this| SocketAddr::from(*this);
    (IpAddr, u16): |this| SocketAddr::from(*this);
    (Ipv4Addr, u16): |this| SocketAddr::from(*this);
    (Ipv6Addr, u16): |this| SocketAddr::from(*this);
    (String, u16): |this| (this.0.as_str(), this.1);
    String: |this| **this;
    Vec<SocketAddr>: |this| **this;
}

impl<T: ToSocketAddrs + ?Sized> ToSocketAddrs for &T {}
impl<T: ToSocketAddrs + ?Sized> sealed::Sealed for &T {
    fn lookup(&self) -> io::Result<Lookup> {
        (**self).lookup()
    }
}

//! Addresses: what names them, and from the kernel's form to the standard library's.
//!
//! Called by `resolve` and by the sockets.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use socket2::SockAddr;

use self::sealed::Lookup;

/// What names one or more socket addresses: an address, an address and a port, or a name and a port.
///
/// A name that is not a literal address is looked up with the system's resolver (`getaddrinfo(3)`) on another
/// thread, so a slow server does not stall the loop. A process runs at most 16 look-ups at once; further ones
/// start in order as these end. The trait is sealed.
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

pub(super) mod sealed {
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

/// The IPv4 or IPv6 address of a socket.
///
/// # Errors
///
/// `InvalidInput` for an address of another family: a socket of any family can be handed in from outside.
pub(super) fn to_inet(address: &SockAddr) -> io::Result<SocketAddr> {
    address.as_socket().ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            "the socket's address is not an internet address; is this a TCP socket?",
        )
    })
}

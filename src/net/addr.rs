//! Addresses: what names them, and from the kernel's form to the standard library's.
//!
//! Called by `resolve` and by the sockets.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use socket2::SockAddr;

use self::sealed::{Lookup, Sealed};

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
pub trait ToSocketAddrs: Sealed {}

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

/// Makes types name addresses.
macro_rules! impl_lookup {
    ($($type:ty: |$this:ident| $lookup:expr;)*) => {$(
        impl ToSocketAddrs for $type {}
        impl Sealed for $type {
            fn lookup(&self) -> io::Result<Lookup> {
                let $this = self;
                $lookup
            }
        }
    )*};
}

impl_lookup! {
    SocketAddr: |this| Ok(Lookup::Known(vec![*this]));
    [SocketAddr]: |this| Ok(Lookup::Known(this.to_vec()));
    Vec<SocketAddr>: |this| this.as_slice().lookup();
    SocketAddrV4: |this| SocketAddr::from(*this).lookup();
    SocketAddrV6: |this| SocketAddr::from(*this).lookup();
    (IpAddr, u16): |this| SocketAddr::from(*this).lookup();
    (Ipv4Addr, u16): |this| SocketAddr::from(*this).lookup();
    (Ipv6Addr, u16): |this| SocketAddr::from(*this).lookup();
    (&str, u16): |this| Ok(lookup_host_and_port(this.0, this.1));
    (String, u16): |this| Ok(lookup_host_and_port(&this.0, this.1));
    str: |this| lookup_text(this);
    String: |this| lookup_text(this);
}

fn lookup_host_and_port(host: &str, port: u16) -> Lookup {
    match host.parse::<IpAddr>() {
        Ok(ip) => Lookup::Known(vec![(ip, port).into()]),
        Err(_) => Lookup::Name(host.to_owned(), port),
    }
}

fn lookup_text(text: &str) -> io::Result<Lookup> {
    if let Ok(address) = text.parse() {
        return Ok(Lookup::Known(vec![address]));
    }
    let invalid = |what| io::Error::new(io::ErrorKind::InvalidInput, what);
    let (host, port) = text
        .rsplit_once(':')
        .ok_or_else(|| invalid("a socket address is written `host:port`"))?;
    let port = port
        .parse()
        .map_err(|_| invalid("the port of a socket address is a number up to 65535"))?;
    Ok(lookup_host_and_port(host, port))
}

impl<T: ToSocketAddrs + ?Sized> ToSocketAddrs for &T {}
impl<T: ToSocketAddrs + ?Sized> Sealed for &T {
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

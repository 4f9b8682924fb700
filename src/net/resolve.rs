//! From names to addresses, off the loop.
//!
//! Called by `bind` and `connect`; calls `lookup_pool` for a name that is not a literal address.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};

use super::addr::ToSocketAddrs;
use super::addr::sealed::Lookup;
use super::lookup_pool;

/// Looks up the addresses of a host.
///
/// # Errors
///
/// `InvalidInput` when the text is no `host:port`; the resolver's own errors; `QuotaExceeded` when no thread
/// runs and none can be started (`RLIMIT_NPROC`, `pids.max`).
///
/// # Cancel safety
///
/// Dropping the future abandons the answer. A look-up that has not started is not started; one that has
/// occupies its thread until the resolver answers.
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
async fn resolve(host: impl ToSocketAddrs) -> io::Result<Vec<SocketAddr>> {
    let addresses = match host.lookup()? {
        Lookup::Known(addresses) => addresses,
        Lookup::Name(name, port) => {
            lookup_pool::run(move || (name, port).to_socket_addrs().map(Vec::from_iter)).await?
        }
    };
    if addresses.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the name stands for no address",
        ));
    }
    Ok(addresses)
}

/// Resolves and calls `call` with the addresses in turn, until it succeeds.
///
/// # Errors
///
/// The last address's, or that of resolving.
pub(super) async fn first_success<T>(
    host: impl ToSocketAddrs,
    call: impl AsyncFn(SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let mut result = Err(io::ErrorKind::InvalidInput.into());
    for address in resolve(host).await? {
        result = call(address).await;
        if result.is_ok() {
            break;
        }
    }
    result
}

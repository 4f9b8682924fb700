//! `raw`'s echo server: one loop, one slab of connections, one buffer for all.

use std::io::{self, ErrorKind};
use std::mem;
use std::net::TcpListener;

use slab::Slab;

use super::connection::{Connection, Next};
use super::epoll::Epoll;
use super::socket::{INTEREST, accept};
use crate::server::{Connections, Echo};

/// The listener's token; the others are places in the slab.
const LISTENER: u64 = u64::MAX;

struct Server {
    listener: TcpListener,
    clients: Slab<Connection>,
    /// Who has used up a budget and may go on in the next round.
    listed: Vec<usize>,
    buffer: Vec<u8>,
    ended: Connections,
}

/// Serves until enough connections have ended.
pub(super) fn serve(echo: Echo) {
    let mut epoll = Epoll::new().expect("descriptors are left");
    let mut server = Server {
        buffer: vec![0; echo.buffer],
        ended: echo.connections,
        listener: echo.nonblocking(),
        clients: Slab::new(),
        listed: Vec::new(),
    };
    epoll
        .add(&server.listener, LISTENER, libc::EPOLLIN)
        .expect("epoll takes a listener");
    loop {
        server.round(&mut epoll).expect("epoll works");
    }
}

impl Server {
    /// Waits for events and serves those who had one, then those whose budget was used up.
    fn round(&mut self, epoll: &mut Epoll) -> io::Result<()> {
        let listed = mem::take(&mut self.listed);
        let mut must_accept = false;
        for event in epoll.wait(listed.is_empty())? {
            let (token, events) = (event.u64, event.events);
            if token == LISTENER {
                must_accept = true;
            } else {
                let place = usize::try_from(token).expect("a token is a place");
                self.clients[place].on_event(events);
                self.serve(place);
            }
        }
        for place in listed {
            if let Some(client) = self.clients.get_mut(place)
                && mem::take(&mut client.is_listed)
            {
                self.serve(place);
            }
        }
        if must_accept {
            self.accept(epoll)?;
        }
        Ok(())
    }

    fn serve(&mut self, place: usize) {
        let client = &mut self.clients[place];
        match client.serve(&mut self.buffer) {
            Next::Event => {}
            Next::Turn => {
                if !mem::replace(&mut client.is_listed, true) {
                    self.listed.push(place);
                }
            }
            Next::Close => {
                drop(self.clients.remove(place));
                self.ended.ended();
            }
        }
    }

    /// Accepts all who wait.
    fn accept(&mut self, epoll: &Epoll) -> io::Result<()> {
        loop {
            match accept(&self.listener) {
                Ok(fd) => {
                    let entry = self.clients.vacant_entry();
                    epoll.add(&fd, entry.key() as u64, INTEREST)?;
                    entry.insert(Connection::new(fd));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

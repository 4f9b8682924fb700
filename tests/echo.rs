//! A server and its clients on one runtime.

mod common;

use common::{listen, run};
use runtime::io::{AsyncReadExt, AsyncWriteExt};
use runtime::net::TcpStream;

#[test]
fn a_hundred_clients_get_back_what_they_sent() {
    run(async {
        let (listener, address) = listen().await;
        runtime::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                runtime::spawn(async move {
                    let mut buffer = [0; 64];
                    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                        stream.write_all(&buffer[..length]).await.unwrap();
                    }
                });
            }
        });
        let clients = (0..100_u32).map(|number| {
            runtime::spawn(async move {
                let mut stream = TcpStream::connect(address).await.unwrap();
                for round in 0..100 {
                    let sent = (number * 1000 + round).to_be_bytes();
                    stream.write_all(&sent).await.unwrap();
                    let mut received = [0; 4];
                    stream.read_exact(&mut received).await.unwrap();
                    assert_eq!(sent, received);
                }
            })
        });
        for client in clients.collect::<Vec<_>>() {
            client.await.unwrap();
        }
    });
}

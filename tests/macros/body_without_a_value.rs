use std::io;

#[runtime::main]
async fn main() -> io::Result<()> {
    std::future::ready(()).await;
}

use std::io;

#[runtime::main]
fn main() -> io::Result<()> {
    std::future::ready(()).await;
    Ok(())
}

#[runtime::main(crate = "no path")]
async fn main() {}

#[runtime::main(max_events = 0x0)]
async fn main() {}

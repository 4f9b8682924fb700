#[runtime::main(max_events = 7u8)]
async fn main() {}

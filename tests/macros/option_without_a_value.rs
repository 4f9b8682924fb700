#[runtime::main(budget, event_interval = 7)]
async fn main() {}

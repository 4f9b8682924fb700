#[runtime::main(budget = 7 event_interval = 7)]
async fn main() {}

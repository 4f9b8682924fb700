#[runtime::main(budget = 7, event_interval = 7, budget = 8)]
async fn main() {}

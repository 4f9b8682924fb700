#[runtime::main(event_interval = 7, worker_threads = 4)]
async fn main() {}

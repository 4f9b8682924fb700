#[runtime::main(crate = std::io)]
async fn main() {}

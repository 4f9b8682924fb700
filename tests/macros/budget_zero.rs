#[runtime::main(budget = 0u32)]
async fn main() {}

#[runtime::main(budget = 7 + 1)]
async fn main() {}

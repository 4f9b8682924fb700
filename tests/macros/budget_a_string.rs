#[runtime::main(budget = "7")]
async fn main() {}

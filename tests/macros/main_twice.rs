#[runtime::main]
#[runtime::main]
async fn main() {}

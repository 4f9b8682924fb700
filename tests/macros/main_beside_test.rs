#[runtime::main]
#[test]
async fn main() {}

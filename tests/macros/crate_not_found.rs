#[runtime::main(crate = "nowhere::runtime")]
async fn main() {}

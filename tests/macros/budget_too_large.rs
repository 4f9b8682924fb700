#[runtime::main(budget = 4_294_967_296)]
async fn main() {}

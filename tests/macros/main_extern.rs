#[runtime::main]
async extern "C" fn main() {}

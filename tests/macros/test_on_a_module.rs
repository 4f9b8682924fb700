#[runtime::test]
mod tests {}

fn main() {}

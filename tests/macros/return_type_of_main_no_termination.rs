#[runtime::main]
async fn main() -> String {
    String::new()
}

#[runtime::main]
async fn main() -> Unknown {
    loop {}
}

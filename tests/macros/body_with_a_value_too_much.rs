#[runtime::main]
async fn main() {
    std::future::ready(()).await;
    7
}

#[runtime::main]
async fn main() {
    let _: u32 = "7".parse()?;
}

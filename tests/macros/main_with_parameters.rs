#[runtime::main]
async fn main(first: u32, second: u32) -> u32 {
    first + second
}

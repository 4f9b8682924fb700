trait App {
    #[runtime::main]
    async fn run();
}

fn main() {}

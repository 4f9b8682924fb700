struct App {
    limit: u32,
}

impl App {
    #[runtime::main]
    async fn run(&self, factor: u32) -> u32 {
        self.limit * factor
    }
}

fn main() {
    let app = App { limit: 3 };
    std::process::exit(app.run(2) as i32)
}

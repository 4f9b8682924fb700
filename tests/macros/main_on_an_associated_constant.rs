struct App;

impl App {
    #[runtime::main]
    const LIMIT: u32 = 3;
}

fn main() {
    let _ = App::LIMIT;
}

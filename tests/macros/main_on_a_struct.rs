#[runtime::main]
struct App;

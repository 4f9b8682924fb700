#[runtime::main]
struct App;

#[runtime::main]
enum Choice {}

#[runtime::main(event_interval = 7)]
pub(crate) struct App;

fn main() {
    let _ = App;
}

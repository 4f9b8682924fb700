//! Every option is accepted in every way to write it, each alone and all together.
#![deny(warnings)]

use runtime as renamed;

mod nested {
    pub(crate) use runtime as inside;
}

#[runtime::main()]
async fn none() {}

#[runtime::main(event_interval = 7)]
async fn decimal() {}

#[runtime::main(max_events = 0x40, budget = 1_000)]
async fn other_notations() {}

#[runtime::main(event_interval = 7u32, max_events = 64usize, budget = 4_294_967_295)]
async fn suffixes_and_the_largest() {}

#[runtime::main(thread_name = r"worker")]
async fn raw_string() {}

#[renamed::main(crate = "renamed")]
async fn quoted_path() {}

#[renamed::main(crate = renamed)]
async fn bare_path() {}

#[nested::inside::main(crate = crate::nested::inside, budget = 3)]
async fn long_path() {}

#[runtime::main(
    crate = "::runtime",
    event_interval = 7,
    max_events = 8,
    budget = 9,
    thread_name = "all"
)]
async fn main() {
    let functions = [none, decimal, other_notations, suffixes_and_the_largest];
    let more = [raw_string, quoted_path, bare_path, long_path];
    std::thread::spawn(move || {
        functions
            .iter()
            .chain(&more)
            .for_each(|function| function())
    })
    .join()
    .expect("no function panics");
}

//! Every kind of return type works, and none brings a warning.
#![deny(warnings)]

use std::error::Error;
use std::io;
use std::process::{ExitCode, Termination};

#[runtime::main]
async fn unit() {
    std::future::ready(()).await;
}

#[runtime::main]
async fn early_return() -> u32 {
    for number in 7..9 {
        if number == 8 {
            return number;
        }
    }
    0
}

#[runtime::main]
async fn boxed_error() -> Result<u32, Box<dyn Error>> {
    let number = "42".parse()?;
    if number == 0 {
        return Err("zero".into());
    }
    Ok(number)
}

#[runtime::main]
async fn unsized_coercion() -> Box<dyn Fn() -> u32> {
    Box::new(|| 3)
}

#[runtime::main]
async fn opaque() -> impl Iterator<Item = u32> {
    [1, 2].into_iter()
}

#[runtime::main]
async fn endless() -> io::Result<()> {
    loop {
        std::future::ready(()).await;
    }
}

#[runtime::main]
async fn endless_without_await() -> io::Result<()> {
    loop {}
}

#[runtime::main]
async fn never() -> ! {
    std::process::exit(0)
}

#[runtime::main]
async fn todo() -> io::Result<u32> {
    todo!()
}

#[runtime::main]
async fn only_panics() {
    panic!("no")
}

struct App(u32);

impl App {
    #[runtime::main]
    async fn run() -> io::Result<Self> {
        Ok(Self(2))
    }
}

struct Generic<T>(T);

impl<T: Default> Generic<T> {
    #[runtime::main]
    pub async fn run() -> Self {
        Generic(T::default())
    }
}

fn call_those_that_return() {
    unit();
    assert_eq!(early_return(), 8);
    assert_eq!(boxed_error().expect("42 is a number"), 42);
    assert_eq!(unsized_coercion()(), 3);
    assert_eq!(opaque().sum::<u32>(), 3);
    assert_eq!(App::run().expect("nothing fails").0, 2);
    assert_eq!(Generic::<u32>::run().0, 0);
}

#[runtime::main]
async fn main() -> impl Termination {
    // On another thread, since a runtime does not run inside a runtime.
    let calls = std::thread::spawn(call_those_that_return);
    calls.join().expect("no function panics");
    let _ = (endless, endless_without_await, todo, never, only_panics);
    ExitCode::SUCCESS
}

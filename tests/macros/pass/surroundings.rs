//! The expansion neither sees nor disturbs the names, attributes and lints around it.
#![deny(warnings)]
#![forbid(unused, clippy::expect_used, clippy::unwrap_used)]
#![no_implicit_prelude]

use ::std::assert_eq;

mod runtime {
    pub(crate) fn value() -> u32 {
        5
    }
}

fn body() -> u32 {
    3
}

#[::runtime::main]
async fn names_of_the_expansion() -> u32 {
    #![expect(
        non_snake_case,
        reason = "an attribute inside the body holds for all of it"
    )]
    let Value = body();
    let runtime = runtime::value();
    Value + runtime
}

/// A function whose parts come from another macro.
macro_rules! generated {
    ($visibility:vis $name:ident, $output:ty, $interval:expr, $body:block) => {
        #[::runtime::main(event_interval = $interval)]
        $visibility async fn $name() -> $output $body
    };
}

generated!(pub(crate) from_a_macro, u32, 7, { 6 });
generated!(pub(crate) never_from_a_macro, !, 7, { loop {} });

#[cfg_attr(all(), ::runtime::main)]
#[cfg_attr(all(), must_use)]
async fn conditional() -> u32 {
    9
}

#[::runtime::main]
async fn main() {
    ::std::thread::spawn(|| {
        assert_eq!(names_of_the_expansion(), 8);
        assert_eq!(from_a_macro(), 6);
        assert_eq!(conditional(), 9);
        let _: fn() -> ! = never_from_a_macro;
    })
    .join()
    .unwrap_or_else(|panic| ::std::panic::resume_unwind(panic));
}

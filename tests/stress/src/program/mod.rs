//! Byte programs that use the runtime in every order, while a model watches.
//!
//! The bytes are code (the first one sets up the runtimes). Everything that runs user code is a machine over the
//! same bytes, with a place of its own in them: the program itself (outside of any runtime), the main future of a
//! `block_on`, each task's polls, each task's destructor, each output's destructor, each foreign waker. An
//! operation may start another of these further on in the bytes. Places only move forward, and operations use up
//! fuel, so every program ends.
//!
//! The `model` knows for each task whether it has to be polled, and in which turn, with what result it ends, and
//! how often its future and output are dropped. What it does not know is what comes from the kernel: when a
//! timer or a socket wakes a task it only checks that this may be, and, when the runtime has come to rest, that
//! nothing was forgotten.
//!
//! A panic that a program asks for skips the panic hook. So each panic that the hook sees is a bug: the model's
//! or the runtime's.
//!
//! # Not here
//!
//! Other threads and real connections (the `soak` program). What wakes from other threads do is tried by wakes
//! outside of the runtime, which take the same way.

mod actor;
mod foreign;
mod handles;
mod machine;
mod model;
mod op;
mod output;
mod settle;
mod sockets;
mod timers;

use std::cell::RefCell;
use std::panic;
use std::sync::Once;

use self::machine::Machine;

/// How many operations there are: bytes that are equal modulo this stand for the same one.
pub const OPERATIONS: u8 = op::COUNT;

/// Runs a program.
///
/// # Panics
///
/// When the runtime did what the model forbids; a panic inside of a task is swallowed by the runtime, and only
/// the panic hook sees it.
pub fn run(code: &[u8]) {
    Machine::run(code);
}

/// Runs a program, and returns the first panic that the hook saw.
///
/// # Errors
///
/// That panic's message and place.
pub fn check(code: &[u8]) -> Result<(), String> {
    thread_local! {
        static SEEN: RefCell<Option<String>> = const { RefCell::new(None) };
    }
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let default = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            SEEN.with_borrow_mut(|seen| {
                seen.get_or_insert_with(|| info.to_string());
            });
            default(info);
        }));
    });
    SEEN.set(None);
    let outcome = panic::catch_unwind(|| run(code));
    let outcome = match SEEN.take() {
        Some(panic) => Err(panic),
        None => outcome.map_err(|_| "a panic that the program asked for got out".to_owned()),
    };
    if outcome.is_err() {
        Machine::forget();
    }
    outcome
}

//! What a panic says, and where it says it happened.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

/// A panic that was caught.
#[derive(Debug)]
pub struct Panic {
    pub message: String,
    /// The file and line that the panic names.
    pub file: String,
    pub line: u32,
}

thread_local! {
    static IS_CATCHING: Cell<bool> = const { Cell::new(false) };
    static CAUGHT: RefCell<Option<Panic>> = const { RefCell::new(None) };
}

/// Runs `call` and returns its panic, which is not printed.
#[track_caller]
pub fn panic_of<R>(call: impl FnOnce() -> R) -> Panic {
    match caught(call) {
        Ok(_) => panic!("the call did not panic"),
        Err(panic) => panic,
    }
}

/// Runs `call`; its panic is not printed.
pub fn caught<R>(call: impl FnOnce() -> R) -> Result<R, Panic> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let default = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !IS_CATCHING.get() {
                return default(info);
            }
            let location = info.location();
            CAUGHT.set(Some(Panic {
                message: text_of(info.payload()),
                file: location.map_or("", |location| location.file()).to_owned(),
                line: location.map_or(0, |location| location.line()),
            }));
        }));
    });
    IS_CATCHING.set(true);
    let result = panic::catch_unwind(AssertUnwindSafe(call));
    IS_CATCHING.set(false);
    result.map_err(|_| CAUGHT.take().expect("the hook has seen the panic"))
}

/// The message of a `panic!`.
fn text_of(payload: &dyn Any) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        return (*text).to_owned();
    }
    let text = payload.downcast_ref::<String>();
    text.cloned().unwrap_or_default()
}

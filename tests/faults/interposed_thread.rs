//! What makes threads, in the place of libc's function. AddressSanitizer puts one of its own there.

#![expect(
    unsafe_code,
    reason = "what takes the place of libc's function has its signature"
)]

use std::mem;

use libc::{c_int, c_void, pthread_attr_t, pthread_t};

use crate::script::{self, Call};

type Start = extern "C" fn(*mut c_void) -> *mut c_void;
type Create =
    unsafe extern "C" fn(*mut pthread_t, *const pthread_attr_t, Start, *mut c_void) -> c_int;

// SAFETY: the signature is that of libc's function, which does the work.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_create(
    thread: *mut pthread_t,
    attributes: *const pthread_attr_t,
    start: Start,
    argument: *mut c_void,
) -> c_int {
    if let Some(fault) = script::next(Call::PthreadCreate) {
        return fault.errno;
    }
    // SAFETY: the name is a string that ends in NUL.
    let create = unsafe { libc::dlsym(libc::RTLD_NEXT, c"pthread_create".as_ptr()) };
    assert!(!create.is_null(), "libc makes threads");
    // SAFETY: the symbol of that name is a function of this type, and not null.
    let create = unsafe { mem::transmute::<*mut c_void, Create>(create) };
    // SAFETY: the caller keeps what libc's function asks for.
    unsafe { create(thread, attributes, start, argument) }
}

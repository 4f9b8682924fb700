//! The calling thread's name (`prctl(2)`, `PR_SET_NAME`).

use std::ffi::CStr;
use std::io;

use super::check;

/// Names the calling thread; the kernel keeps the first 15 bytes.
pub(crate) fn set_name(name: &CStr) -> io::Result<()> {
    // SAFETY: the argument must be a string that ends in NUL, which `CStr` guarantees.
    check(unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) })?;
    Ok(())
}

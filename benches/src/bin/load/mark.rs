//! The moments between which whoever started this program takes its readings.

use std::io::{self, Write};
use std::thread;
use std::time::Duration;

/// Prints `quiet` and waits for a line of standard input, or its end.
///
/// Called when every request has been answered and no other has been sent. What the server used until
/// then and from then on is thus divided exactly at the requests that this program counts: nothing is half done,
/// and the kernel's account of a thread that sleeps is up to date, where a running one's lags by up to a tick.
pub(crate) fn quiet() -> io::Result<()> {
    // The server still has to find out that there is nothing left to do.
    thread::sleep(Duration::from_millis(2));
    let mut output = io::stdout();
    writeln!(output, "quiet")?;
    output.flush()?;
    io::stdin().read_line(&mut String::new())?;
    Ok(())
}

//! Output of commands.

use std::io::Write;

use crate::error::Error;

/// Prints to the standard output. Returns an error instead of a panic if the reader is gone.
pub(crate) fn print(text: &str) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

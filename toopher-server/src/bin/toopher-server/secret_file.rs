//! Files with secrets.

use std::io;
use std::path::Path;

/// Reads a file with a secret. Warns if other users of the machine can read it, too.
pub(crate) fn read_secret(file: &Path) -> io::Result<String> {
    warn_if_readable(file);
    std::fs::read_to_string(file)
}

/// Warns if other users of the machine can read the file, or replace its content.
pub(crate) fn warn_if_readable(file: &Path) {
    #[cfg(unix)]
    if std::fs::metadata(file)
        .is_ok_and(|file| std::os::unix::fs::PermissionsExt::mode(&file.permissions()) & 0o77 != 0)
    {
        tracing::warn!(file = %file.display(), "others can read the secret in this file: chmod 600 it");
    }
    #[cfg(not(unix))]
    let _ = file;
}

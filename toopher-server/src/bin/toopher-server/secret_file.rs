//! Files with secrets.

use std::io;
use std::path::Path;

/// Reads a file with a secret. Warns if other users of the machine can read it, too.
pub(crate) fn read_secret(file: &Path) -> io::Result<String> {
    #[cfg(unix)]
    if std::fs::metadata(file)
        .is_ok_and(|file| std::os::unix::fs::PermissionsExt::mode(&file.permissions()) & 0o77 != 0)
    {
        tracing::warn!(file = %file.display(), "others can read the secret in this file: chmod 600 it");
    }
    std::fs::read_to_string(file)
}

//! The command `key --out FILE`.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::Path;

use toopher_server::SealingKey;

use crate::error::Error;

/// Writes the key to a new file that only its owner can read, whatever the umask is. It never replaces a file: without
/// the previous key, a database is unusable.
pub(crate) fn create(path: &Path, key: &SealingKey) -> Result<(), Error> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => format!("{}: the file exists, and keys are never replaced", path.display()),
        _ => format!("{}: {error}", path.display()),
    })?;
    let written = restrict(&file).and_then(|()| file.write_all(format!("{}\n", *key.to_hex()).as_bytes()));
    written.and_then(|()| file.sync_all()).map_err(|error| {
        // Created above, and without a complete key.
        let _ = std::fs::remove_file(path);
        format!("{}: {error}", path.display()).into()
    })
}

/// A umask can only remove permissions, also those of the owner.
#[cfg(unix)]
fn restrict(file: &File) -> std::io::Result<()> {
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))
}

#[cfg(not(unix))]
fn restrict(_: &File) -> std::io::Result<()> {
    Ok(())
}

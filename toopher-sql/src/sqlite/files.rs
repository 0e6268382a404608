//! The files of a SQLite database: created for their owner only, and checked to be those that are open.

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::error::SqlError;

/// The path of a database and the paths of its log and index, with the identities of the open files.
///
/// SQLite continues to use open files that were removed, renamed or replaced. What it commits then is lost at the next
/// start, and a connection that is opened later uses other files. So no operation begins in this state.
#[derive(Debug)]
pub(super) struct Files([(PathBuf, Identity); 3]);

/// The device and the number of a file.
#[cfg(unix)]
type Identity = (u64, u64);
#[cfg(not(unix))]
type Identity = ();

impl Files {
    /// The files of the open database at `path`, which is `resolved` without symbolic links. A connection in WAL mode
    /// must have read from it, and must be open until the last check: SQLite removes the log and the index with the
    /// last connection.
    pub(super) fn new(path: &Path, resolved: &Path) -> Result<Self, SqlError> {
        let beside = |suffix: &str| {
            let mut name = resolved.as_os_str().to_owned();
            name.push(suffix);
            PathBuf::from(name)
        };
        let file = |path: PathBuf| identity(&path).map(|identity| (path, identity)).map_err(SqlError::sqlite);
        // The given path, with the identity of the open file, so that a changed symbolic link is noticed.
        let (_, opened) = file(resolved.to_owned())?;
        Ok(Self([
            (std::path::absolute(path).map_err(SqlError::sqlite)?, opened),
            file(beside("-wal"))?,
            file(beside("-shm"))?,
        ]))
    }

    /// Returns an error if a file was removed, renamed or replaced.
    pub(super) fn check(&self) -> Result<(), SqlError> {
        for (path, opened) in &self.0 {
            if identity(path).ok().as_ref() != Some(opened) {
                let text = format!(
                    "{}: the file was removed, renamed or replaced while the database is open: move the original file \
                     back, or restart the program",
                    path.display()
                );
                return Err(SqlError::sqlite(text));
            }
        }
        Ok(())
    }
}

#[cfg(unix)]
fn identity(path: &Path) -> io::Result<Identity> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).map(|file| (file.dev(), file.ino()))
}

#[cfg(not(unix))]
fn identity(path: &Path) -> io::Result<Identity> {
    std::fs::metadata(path).map(drop)
}

/// Creates an empty file that only its owner can access, if there is none, whatever the umask is. SQLite gives its
/// other files the permissions of this one.
pub(super) fn create(path: &Path) -> io::Result<()> {
    /// Held from the creation until the file is closed. Closing a file releases the locks of the process on it (POSIX),
    /// and so also those of a database that another thread opens.
    static CREATION: Mutex<()> = Mutex::new(());

    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let _creation = CREATION.lock().unwrap_or_else(PoisonError::into_inner);
    match options.open(path) {
        // A umask can also remove the permissions of the owner.
        #[cfg(unix)]
        Ok(file) => file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600)),
        #[cfg(not(unix))]
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

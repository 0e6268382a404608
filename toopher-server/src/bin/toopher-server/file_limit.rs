//! The limit of open files, of which each connection needs one.

use crate::error::Error;

/// The largest limit that the server sets. More files than this cost memory before they help.
const MAX_FILES: u64 = 65_536;
/// Files of the process that are not connections of clients: the log, SQLite, Redis, message programs.
const OTHER_FILES: u64 = 128;
/// The largest default of the connection limit. An idle connection costs some ten KiB of memory.
const MAX_DEFAULT_CONNECTIONS: usize = 10_000;

/// Raises the soft limit of open files to the hard limit, and at most to 65,536. Returns the limit.
pub(crate) fn raise_file_limit() -> u64 {
    match rlimit::increase_nofile_limit(MAX_FILES) {
        Ok(files) => {
            tracing::info!(files, "limit of open files");
            files
        }
        Err(error) => {
            // Systems without such a limit, or with one that cannot be read.
            const ASSUMED: u64 = 1024;
            tracing::warn!(%error, assumed = ASSUMED, "could not raise the limit of open files");
            ASSUMED
        }
    }
}

/// The maximum number of connections, which leaves files for everything else.
///
/// # Errors
///
/// When `wanted` is too much for the limit of open files, or the limit leaves none for connections.
pub(crate) fn max_connections(files: u64, database_connections: u32, wanted: Option<usize>) -> Result<usize, Error> {
    let other = OTHER_FILES + u64::from(database_connections);
    let available = usize::try_from(files.saturating_sub(other)).unwrap_or(usize::MAX);
    match wanted {
        _ if available == 0 => Err(format!(
            "the limit of open files is {files}, of which the server needs {other} for itself: raise it with ulimit -n"
        )
        .into()),
        Some(wanted) if wanted > available => Err(format!(
            "--max-connections is {wanted}, but the limit of open files, {files}, leaves {available}: raise it with \
             ulimit -n"
        )
        .into()),
        Some(wanted) => Ok(wanted),
        None => Ok(available.min(MAX_DEFAULT_CONNECTIONS)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_the_rest() {
        let max = |files, wanted| max_connections(files, 10, wanted).ok();
        assert_eq!(max(1024, None), Some(886));
        assert_eq!(max(65_536, None), Some(10_000));
        assert_eq!((max(1024, Some(886)), max(1024, Some(887))), (Some(886), None));
        assert_eq!((max(139, None), max(138, None), max(0, None), max(64, Some(1))), (Some(1), None, None, None));
        assert_eq!(max_connections(1024, 2000, None).ok(), None);
        assert_eq!(max(u64::MAX, Some(1_000_000)), Some(1_000_000));
    }
}

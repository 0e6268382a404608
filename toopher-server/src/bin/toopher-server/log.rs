//! The log. A thread writes it to standard error, so that no call waits for the reader of the log, or fails without it.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// The maximum number of bytes that wait to be written. Lines beyond it are lost.
const MAX_PENDING: usize = 1024 * 1024;
/// How long the end of the program waits for the last lines.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// The writer of the log. Clones share it.
///
/// It never blocks and never fails. Lines that cannot be written are counted, and a later line reports their number.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    pending: Vec<u8>,
    /// The number of lines that were lost since the last report.
    lost: usize,
    /// Whether the thread is writing what it has taken from `pending`.
    writing: bool,
}

impl Log {
    /// Starts the thread, which writes to `output`.
    pub(crate) fn start(output: impl Write + Send + 'static) -> io::Result<Self> {
        let log = Self::default();
        let shared = log.0.clone();
        std::thread::Builder::new().name("log".into()).spawn(move || shared.write_to(output))?;
        Ok(log)
    }

    /// Waits until all lines are written, at most one second: a reader that reads nothing must not keep the program.
    pub(crate) fn flush(&self) {
        let is_busy = |state: &mut State| state.writing || !state.pending.is_empty();
        drop(self.0.changed.wait_timeout_while(self.0.lock(), FLUSH_TIMEOUT, is_busy));
    }
}

impl Write for Log {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let mut state = self.0.lock();
        if state.pending.len() + lines.len() > MAX_PENDING {
            state.lost += count_lines(lines);
        } else {
            state.pending.extend_from_slice(lines);
            self.0.changed.notify_all();
        }
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_to(&self, mut output: impl Write) {
        loop {
            let waiting = self.changed.wait_while(self.lock(), |state| state.pending.is_empty());
            let mut state = waiting.unwrap_or_else(PoisonError::into_inner);
            let (lines, lost) = (std::mem::take(&mut state.pending), std::mem::take(&mut state.lost));
            state.writing = true;
            drop(state);
            let report = match lost {
                0 => String::new(),
                _ => format!("toopher-server: {lost} lines of the log were lost, because they could not be written\n"),
            };
            let unwritten = match write_all(&mut output, report.as_bytes()) {
                Ok(()) => write_all(&mut output, &lines).err().unwrap_or(0),
                // Neither the report nor the lines were written.
                Err(_) => lost + count_lines(&lines),
            };
            let mut state = self.lock();
            state.lost += unwritten;
            state.writing = false;
            self.changed.notify_all();
        }
    }
}

fn count_lines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|&&byte| byte == b'\n').count()
}

/// Writes all bytes. The error is the number of lines that were not written completely.
fn write_all(output: &mut impl Write, mut bytes: &[u8]) -> Result<(), usize> {
    while !bytes.is_empty() {
        match output.write(bytes) {
            Ok(0) => return Err(count_lines(bytes)),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Err(count_lines(bytes)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Each write waits for its result, and sends what was written.
    struct Scripted {
        results: Receiver<io::Result<()>>,
        written: Sender<String>,
    }

    impl Write for Scripted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.results.recv().unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))?;
            self.written.send(String::from_utf8_lossy(bytes).into_owned()).ok();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn scripted() -> (Log, Sender<io::Result<()>>, Receiver<String>) {
        let ((results, take), (give, written)) = (channel(), channel());
        (Log::start(Scripted { results: take, written: give }).unwrap(), results, written)
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_and_reported() {
        let (mut log, results, written) = scripted();
        log.write_all(b"one\ntwo\n").unwrap();
        results.send(Err(io::ErrorKind::StorageFull.into())).unwrap();
        log.flush();
        log.write_all(b"three\n").unwrap();
        // The report fails, too.
        results.send(Err(io::ErrorKind::BrokenPipe.into())).unwrap();
        log.flush();
        log.write_all(b"four\n").unwrap();
        results.send(Ok(())).unwrap();
        results.send(Ok(())).unwrap();
        assert!(written.recv().unwrap().contains(" 3 lines of the log were lost"));
        assert_eq!(written.recv().unwrap(), "four\n");
        log.flush();
        log.write_all(b"five\n").unwrap();
        results.send(Ok(())).unwrap();
        assert_eq!(written.recv().unwrap(), "five\n");
    }

    #[test]
    fn a_reader_that_reads_nothing_blocks_no_line() {
        let (mut log, results, written) = scripted();
        log.write_all(b"first\n").unwrap();
        while !log.0.lock().writing {
            std::thread::yield_now();
        }
        // The thread waits with this line, and the pending lines have their limit. All other lines are lost.
        let line = [&[b'x'; 1023][..], b"\n"].concat();
        for _ in 0..5_000 {
            log.write_all(&line).unwrap();
        }
        assert!(log.0.lock().pending.len() <= MAX_PENDING && log.0.lock().lost > 3_900);
        drop(results);
        // The end of the program does not wait longer than its limit.
        log.flush();
        drop(written);
    }
}

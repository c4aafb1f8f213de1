//! The way of a log line to standard output: through a bounded queue and a thread of its own.
//!
//! Whoever reads our output may be slow, stuck or gone; mail must not wait for him. Where the queue is full, lines are
//! dropped and counted, and the count is written when there is room again.

use std::io;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::SyncSender;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait: a few megabytes at the most.
const WAITING: usize = 8192;

/// Octets that are written at once.
const BATCH: usize = 65_536;

/// Makes the writer of each event.
#[derive(Debug, Clone)]
pub(super) struct Lines {
    sender: SyncSender<Vec<u8>>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// Handed over and not written yet.
    waiting: AtomicU64,
    dropped: AtomicU64,
}

impl Lines {
    /// Starts the thread that writes to `out`.
    ///
    /// # Errors
    /// No thread can be started.
    pub(super) fn start(out: impl Write + Send + 'static) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(WAITING);
        let counts = Arc::new(Counts::default());
        let lines = Self { sender, counts: Arc::clone(&counts) };
        std::thread::Builder::new().name("log".to_owned()).spawn(move || write_all(&receiver, &counts, out))?;
        Ok(lines)
    }

    /// Waits until everything is written, but not for ever.
    pub(super) fn finish(&self, patience: Duration) {
        const PAUSE: Duration = Duration::from_millis(5);
        let mut left = patience;
        while self.counts.waiting.load(Ordering::Acquire) > 0 && !left.is_zero() {
            std::thread::sleep(PAUSE);
            left = left.saturating_sub(PAUSE);
        }
    }
}

fn write_all(receiver: &Receiver<Vec<u8>>, counts: &Counts, mut out: impl Write) {
    while let Ok(mut batch) = receiver.recv() {
        let mut lines = 1;
        while batch.len() < BATCH
            && let Ok(more) = receiver.try_recv()
        {
            batch.extend_from_slice(&more);
            lines += 1;
        }
        let dropped = counts.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            batch
                .extend_from_slice(format!("WARN {dropped} lines of the log were lost: nobody took them\n").as_bytes());
        }
        // Where nobody listens any more, there is nobody to be told.
        out.write_all(&batch).and_then(|()| out.flush()).ok();
        counts.waiting.fetch_sub(lines, Ordering::Release);
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { bytes: Vec::new(), lines: self.clone() }
    }
}

/// One event while it is formatted; handed over when it is dropped.
pub(super) struct Line {
    bytes: Vec<u8>,
    lines: Lines,
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let counts = &self.lines.counts;
        counts.waiting.fetch_add(1, Ordering::AcqRel);
        if self.lines.sender.try_send(std::mem::take(&mut self.bytes)).is_err() {
            counts.waiting.fetch_sub(1, Ordering::AcqRel);
            counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::sync::mpsc::channel;

    /// Takes nothing until it is let.
    struct Stuck {
        gate: Receiver<()>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // A closed gate is open for good.
            self.gate.recv().ok();
            self.written.lock().expect("no panic").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_is_stuck_stops_nobody_and_learns_what_it_missed() {
        let (open, gate) = channel();
        let written = Arc::new(Mutex::new(Vec::new()));
        let lines = Lines::start(Stuck { gate, written: Arc::clone(&written) }).expect("a thread");
        // More than fit, even with all that the thread may hold in its hands.
        let count = 2 * WAITING + BATCH;
        for _ in 0..count {
            lines.make_writer().write_all(b"x\n").expect("memory");
        }
        drop(open);
        lines.finish(Duration::from_secs(30));
        let text = String::from_utf8(written.lock().expect("no panic").clone()).expect("text");
        let lost: usize =
            text.lines().filter_map(|l| l.strip_prefix("WARN ")?.split(' ').next()?.parse::<usize>().ok()).sum();
        let there = text.lines().filter(|l| *l == "x").count();
        assert!(lost > 0 && there >= WAITING, "{there} there, {lost} lost");
        assert!(there + lost <= count);
    }
}

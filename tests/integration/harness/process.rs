//! A child process whose lines can be waited for. It never outlives its value.

use super::PATIENCE;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pipe {
    Stdout,
    Stderr,
}

#[derive(Default)]
struct Printed {
    lines: Vec<(Pipe, String)>,
    /// Both pipes are closed: the process ended, or is about to.
    closed: usize,
}

#[derive(Default)]
struct Shared {
    printed: Mutex<Printed>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Printed> {
        self.printed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn collect(&self, pipe: Pipe, from: impl Read) {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while from.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
            let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
            self.lock().lines.push((pipe, text));
            self.changed.notify_all();
            line.clear();
        }
        self.lock().closed += 1;
        self.changed.notify_all();
    }
}

/// A running program.
pub(crate) struct Process {
    child: Child,
    shared: Arc<Shared>,
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> Process {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let shared = Arc::new(Shared::default());
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (of_stdout, of_stderr) = (Arc::clone(&shared), Arc::clone(&shared));
        std::thread::spawn(move || of_stdout.collect(Pipe::Stdout, stdout));
        std::thread::spawn(move || of_stderr.collect(Pipe::Stderr, stderr));
        Process { child, shared }
    }

    /// Starts a program whose output is read up to a line that contains `what`, which is given, and no further: as
    /// `program | head` does. Its stderr is closed, too.
    pub(crate) fn start_and_leave(command: &mut Command, what: &str) -> (Process, String) {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let shared = Arc::new(Shared::default());
        shared.lock().closed = 2;
        let process = Process { child, shared };
        let line = BufReader::new(stdout).lines().map_while(Result::ok).find(|line| line.contains(what));
        drop(stderr);
        let line = line.unwrap_or_else(|| panic!("the program ended without {what:?}"));
        (process, line)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How many lines there are: what `wait_for_after` takes to look only at later ones.
    pub(crate) fn mark(&self) -> usize {
        self.shared.lock().lines.len()
    }

    /// Waits for a line that contains `what` and gives it.
    pub(crate) fn wait_for(&self, what: &str) -> String {
        self.wait_for_after(0, what)
    }

    /// Waits for a line that contains `what` and was printed after `mark` was taken.
    pub(crate) fn wait_for_after(&self, mark: usize, what: &str) -> String {
        let found = |printed: &Printed| printed.lines.iter().skip(mark).find(|(_, line)| line.contains(what)).cloned();
        let printed = self.wait_until(|printed| found(printed).is_some() || printed.closed == 2);
        match found(&printed) {
            Some((_, line)) => line,
            None => panic!("no line with {what:?} in time; printed:\n{}", text(&printed, None)),
        }
    }

    /// Waits for a line that contains `what`; none when the process ends without it.
    pub(crate) fn wait_for_or_end(&self, what: &str) -> Option<String> {
        let found = |printed: &Printed| printed.lines.iter().find(|(_, line)| line.contains(what)).cloned();
        let printed = self.wait_until(|printed| found(printed).is_some() || printed.closed == 2);
        found(&printed).map(|(_, line)| line)
    }

    /// Waits for a condition on what was printed, or until patience ends.
    fn wait_until(&self, done: impl Fn(&Printed) -> bool) -> MutexGuard<'_, Printed> {
        let until = Instant::now() + PATIENCE;
        let mut printed = self.shared.lock();
        while !done(&printed) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            printed = self.shared.changed.wait_timeout(printed, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        printed
    }

    /// Everything printed so far.
    pub(crate) fn output(&self) -> String {
        text(&self.shared.lock(), None)
    }

    /// Everything printed to stdout so far.
    pub(crate) fn stdout(&self) -> String {
        text(&self.shared.lock(), Some(Pipe::Stdout))
    }

    /// Everything printed to stderr so far.
    pub(crate) fn stderr(&self) -> String {
        text(&self.shared.lock(), Some(Pipe::Stderr))
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the process to end by itself.
    pub(crate) fn end(&mut self) -> ExitStatus {
        let closed = self.wait_until(|printed| printed.closed == 2).closed;
        if closed < 2 {
            self.kill();
            panic!("the process does not end; printed:\n{}", self.output());
        }
        self.child.wait().unwrap()
    }

    /// `kill -9`, and the process is gone when this returns.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn text(printed: &Printed, of: Option<Pipe>) -> String {
    let lines = printed.lines.iter().filter(|(pipe, _)| of.is_none_or(|of| of == *pipe));
    lines.map(|(_, line)| format!("{line}\n")).collect()
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("---- process {} printed:\n{}", self.id(), self.output());
        }
    }
}

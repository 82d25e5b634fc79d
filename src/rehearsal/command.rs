//! Instances made by a command: each a process group with a home and a socket of its own, killed and reaped whatever
//! happens.

use super::host::{Host, HostError, Life};
use crate::abci::Address;
use crate::sim::app::{Hosting, InstanceNr};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::net::TcpListener;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Longest path of a Unix socket, a little below what systems allow (104 on macOS).
const SOCKET_PATH_BYTES_MAX: usize = 100;
/// How long a killed process may take to be gone: its last write to the disk ends first.
const DYING_TIME_MAX: Duration = Duration::from_secs(2);
/// How often is looked whether it is.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// Last bytes of an instance's output that are looked at when it ends by itself.
const LAST_WORDS_BYTES: u64 = 4096;
/// Lines of them that are shown, and characters of each: the reason stands at the start of a line.
const LAST_WORDS_LINES: usize = 6;
const LAST_WORDS_CHARS: usize = 240;
/// How Go and Rust begin to say why they end. Python says it in its last line.
const REASONS: [&str; 3] = ["panic: ", "fatal error: ", "panicked at"];

/// Numbers directories of this process.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Starts instances by a command in which `{socket}`, `{address}`, `{port}` and `{home}` are replaced.
#[derive(Debug)]
pub struct CommandHost {
    command: String,
    directory: PathBuf,
    kept: Kept,
    instances: BTreeMap<InstanceNr, Process>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    Yes,
    No,
}

#[derive(Debug)]
struct Process {
    child: Option<Child>,
    port: Option<u16>,
    log: PathBuf,
    ended: Option<String>,
}

impl CommandHost {
    /// A host with an empty directory in the system's place for temporary files. It is removed when the host is
    /// dropped, unless it is to be kept.
    pub fn new(command: &str) -> Result<CommandHost, HostError> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("quorate-simulate-{}-{number}", std::process::id()));
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|source| HostError::Directory { path: path.clone(), source })?;
        Ok(CommandHost { command: command.to_owned(), directory: path, kept: Kept::No, instances: BTreeMap::new() })
    }

    fn spawn(&self, script: &str, log: &Path, environment: &[(&'static str, String)]) -> std::io::Result<Child> {
        let log = OpenOptions::new().create(true).append(true).open(log)?;
        Command::new("sh")
            .arg("-c")
            .arg(script)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0) // whatever the shell starts dies with it
            .spawn()
    }
}

impl Host for CommandHost {
    fn hosting(&self) -> Hosting {
        Hosting::Started
    }

    fn start(&mut self, nr: InstanceNr, environment: &[(&'static str, String)]) -> Result<Address, HostError> {
        let place = self.directory.join(nr.to_string().to_lowercase());
        let (home, socket) = (place.join("home"), place.join("app.sock"));
        if socket.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
            return Err(HostError::PathTooLong(socket));
        }
        fs::create_dir_all(&home).map_err(|source| HostError::Directory { path: home.clone(), source })?;
        let earlier = self.instances.get(&nr).and_then(|process| process.port);
        let by_port = self.command.contains("{port}");
        let port = if by_port {
            Some(earlier.map_or_else(free_port, Ok).map_err(|source| self.refused(source))?)
        } else {
            None
        };
        let address = match port {
            Some(port) => Address::Tcp(format!("127.0.0.1:{port}")),
            None => Address::Unix(socket.clone()),
        };
        // A killed application leaves its socket's file behind, and most do not remove it when they start.
        let _ = fs::remove_file(&socket);
        let script = self
            .command
            .replace("{socket}", &quoted(&socket.display().to_string()))
            .replace("{address}", &quoted(&address.to_string()))
            .replace("{home}", &quoted(&home.display().to_string()))
            .replace("{port}", &port.unwrap_or_default().to_string());
        let log = place.join("output.log");
        let child = self.spawn(&script, &log, environment).map_err(|source| self.refused(source))?;
        self.instances.insert(nr, Process { child: Some(child), port, log, ended: None });
        Ok(address)
    }

    fn kill(&mut self, nr: InstanceNr) {
        if let Some(process) = self.instances.get_mut(&nr) {
            process.kill();
        }
    }

    fn life(&mut self, nr: InstanceNr) -> Life {
        let Some(process) = self.instances.get_mut(&nr) else { return Life::Runs };
        if let Some(child) = &mut process.child
            && let Ok(Some(status)) = child.try_wait()
        {
            process.ended = Some(format!("{status}{}", last_words(&process.log)));
            process.kill(); // what the shell left behind
        }
        process.ended.clone().map_or(Life::Runs, Life::Ended)
    }

    fn last_words(&self, nr: InstanceNr) -> String {
        self.instances.get(&nr).map(|process| last_words(&process.log)).unwrap_or_default()
    }

    fn advice(&self) -> String {
        "let the command listen at what {socket}, {address} or {port} stands for, then run this again".to_owned()
    }

    fn keep(&mut self) -> Option<PathBuf> {
        self.kept = Kept::Yes;
        Some(self.directory.clone())
    }
}

impl CommandHost {
    /// The process group of an instance that runs.
    #[cfg(test)]
    pub(super) fn group(&self, nr: InstanceNr) -> Option<rustix::process::Pid> {
        let child = self.instances.get(&nr)?.child.as_ref()?;
        rustix::process::Pid::from_raw(i32::try_from(child.id()).ok()?)
    }

    fn refused(&self, source: std::io::Error) -> HostError {
        HostError::Spawn { command: self.command.clone(), source }
    }
}

impl Process {
    /// SIGKILL to the whole group, then reaped. A child that is gone already is reaped all the same.
    fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let group = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(group) = group {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = child.kill();
        let _ = child.wait();
        if let Some(group) = group {
            await_end(group);
        }
    }
}

/// The shell is gone, but what it started may still be within a sync of its files and hold their locks: the next life would
/// find them in use. Nobody tells when a child of a child ends, so this looks. Where nobody buries dead orphans (a container
/// without an init) they look alive for ever; hence the limit.
fn await_end(group: rustix::process::Pid) {
    let until = Instant::now() + DYING_TIME_MAX;
    while rustix::process::test_kill_process_group(group).is_ok() && Instant::now() < until {
        std::thread::sleep(LOOK_EVERY);
    }
}

impl Drop for CommandHost {
    fn drop(&mut self) {
        self.instances.values_mut().for_each(Process::kill);
        if self.kept == Kept::No {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// As a shell takes it: a path with a blank in it is one word.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:".contains(c);
    if text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

fn last_words(log: &Path) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(log)?;
        let len = file.metadata()?.len();
        file.seek(SeekFrom::Start(len.saturating_sub(LAST_WORDS_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(LAST_WORDS_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text: String =
        read().unwrap_or_default().chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect();
    if text.trim().is_empty() {
        String::new()
    } else {
        format!("; its last output:\n{}", telling_lines(text.trim_end()))
    }
}

/// The last lines; from the one that says why on, where a long trace follows it.
fn telling_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let why = |line: &&str| REASONS.iter().any(|reason| line.contains(reason));
    let last = lines.len().saturating_sub(LAST_WORDS_LINES);
    let first = lines.iter().position(why).map_or(last, |why| why.min(last));
    let shown = lines.iter().skip(first).take(LAST_WORDS_LINES);
    let cut = |line: &&str| format!("    {}", line.chars().take(LAST_WORDS_CHARS).collect::<String>());
    shown.map(cut).collect::<Vec<_>>().join("\n")
}

//! Where instances of the application come from.

use crate::abci::{Address, AddressError};
use crate::sim::app::{Hosting, InstanceNr};
use std::io;
use std::path::PathBuf;

/// Why an application cannot be led through anything.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The command cannot be run.
    #[error("cannot start {command:?}: {source}; try it alone in a shell first")]
    Spawn {
        /// As run by the shell.
        command: String,
        /// What the system said.
        source: io::Error,
    },
    /// It ended before anybody could connect.
    #[error("instance {instance} ended before it listened at {address}: {how}")]
    EndedAtOnce {
        /// Which.
        instance: InstanceNr,
        /// Where it should listen.
        address: Address,
        /// Exit status and last words.
        how: String,
    },
    /// Nobody listens.
    #[error("instance {instance} does not listen at {address} after {seconds} s{words}")]
    NotListening {
        /// Which.
        instance: InstanceNr,
        /// Where it should listen.
        address: Address,
        /// How long it was waited for.
        seconds: u64,
        /// What it printed, with a few words before; or nothing.
        words: String,
        /// What to do.
        advice: String,
    },
    /// It is somewhere in a chain already.
    #[error("instance {instance} is at height {height} already: every run needs an application with no data")]
    NotFresh {
        /// Which.
        instance: InstanceNr,
        /// What Info says.
        height: i64,
    },
    /// No room for homes and sockets.
    #[error("cannot make {}: {source}; set TMPDIR to a directory that can be written", .path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The socket's path does not fit a socket address.
    #[error("the socket's path {} has more than 100 bytes: set TMPDIR to a shorter one, as TMPDIR=/tmp", .0.display())]
    PathTooLong(PathBuf),
}

/// An instance that is gone, or still there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Life {
    /// It runs, or nobody knows.
    Runs,
    /// It ended by itself: exit status and last words.
    Ended(String),
}

/// Starts and kills instances of one application.
pub trait Host {
    /// Whether instances can be killed and new ones made.
    fn hosting(&self) -> Hosting;
    /// Starts an instance with an environment of its own, the first time with an empty home, later with what is left
    /// in it. Gives where it will listen.
    fn start(&mut self, nr: InstanceNr, environment: &[(&'static str, String)]) -> Result<Address, HostError>;
    /// Ends it as a power cut would, and waits until it is gone.
    fn kill(&mut self, nr: InstanceNr);
    /// Whether it is still there.
    fn life(&mut self, nr: InstanceNr) -> Life;
    /// The end of what it printed, set off to follow a sentence; empty when that is not known.
    fn last_words(&self, nr: InstanceNr) -> String;
    /// What to do when nobody listens at an address it gave.
    fn advice(&self) -> String;
    /// Where its homes lie, once they are to be kept.
    fn keep(&mut self) -> Option<PathBuf>;
}

/// Instances that somebody else started.
#[derive(Debug)]
pub struct GivenHost {
    addresses: Vec<Address>,
}

impl GivenHost {
    /// Those that listen at these addresses: `unix://path` or `tcp://host:port`.
    pub fn at(addresses: &[String]) -> Result<GivenHost, AddressError> {
        Ok(GivenHost { addresses: addresses.iter().map(|text| text.parse()).collect::<Result<_, _>>()? })
    }
}

impl Host for GivenHost {
    fn hosting(&self) -> Hosting {
        Hosting::Given
    }

    fn start(&mut self, nr: InstanceNr, _environment: &[(&'static str, String)]) -> Result<Address, HostError> {
        Ok(self.addresses.get(nr.index()).expect("a plan has as many instances as addresses were given").clone())
    }

    fn kill(&mut self, _nr: InstanceNr) {}

    fn life(&mut self, _nr: InstanceNr) -> Life {
        Life::Runs
    }

    fn last_words(&self, _nr: InstanceNr) -> String {
        String::new()
    }

    fn advice(&self) -> String {
        "start it there, with no data, and run this again".to_owned()
    }

    fn keep(&mut self) -> Option<PathBuf> {
        None
    }
}

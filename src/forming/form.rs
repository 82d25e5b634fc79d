//! The exchange as a whole: ask everybody, answer everybody, write the promise, begin.

use super::address::NodeAddress;
use super::agree::{Agreement, Network, Step, WITNESSES_MAX};
use super::answer::{Published, answer};
use super::ask::{Heard, keep_asking};
use super::memory::Memory;
use super::refusal::{FormingError, Refusal};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

/// Events on their way from the tasks; more wait in them.
const EVENTS_MAX: usize = 256;
/// How long a node that is done stays to tell the others. Who does not ask in time learns it from the running node.
const FAREWELL: Duration = Duration::from_secs(2);
/// Strangers who ask that are named; more would fill the log.
const STRANGERS_NAMED_MAX: usize = 8;

/// What the tasks report.
#[derive(Debug)]
pub(super) enum Event {
    /// Somebody was asked.
    Heard {
        /// Whom we asked.
        from: NodeAddress,
        /// What came of it.
        heard: Heard,
    },
    /// Somebody asks. The address is what he says.
    Asked {
        /// Unchecked text.
        from: String,
    },
    /// Somebody was answered.
    Told {
        /// Unchecked text.
        from: String,
        /// With which version of our statement.
        token: String,
    },
    /// The door for questions broke.
    DoorBroke(io::Error),
}

/// The node while it forms.
struct Forming<'a> {
    agreement: Agreement,
    memory: Memory,
    file: &'a Path,
    say: watch::Sender<Published>,
    /// Ends the pause of whoever asks this member.
    knocks: BTreeMap<NodeAddress, Arc<Notify>>,
    /// Who has our newest statement.
    told: BTreeSet<NodeAddress>,
    /// Why the silent ones are silent.
    silence: BTreeMap<NodeAddress, String>,
    /// Who is asked besides the members, to find out whose line is the odd one.
    witnesses: BTreeSet<NodeAddress>,
    /// What was said about members that do not fit, so that it is said once.
    complaints: BTreeMap<NodeAddress, String>,
    strangers: BTreeSet<String>,
    /// The last line of progress.
    progress: String,
    tell: &'a mut dyn FnMut(&str),
    tasks: JoinSet<()>,
    /// For the tasks.
    events: mpsc::Sender<Event>,
}

/// Agrees with all members on the network. `memory` must be durable in `file`, where the promise goes, too; `door` is
/// the node's RPC port, free again afterwards; `tell` gets a line whenever there is news for a person. Must be called
/// inside a tokio runtime; dropping the future at any point is a crash like any other.
pub async fn form(
    memory: Memory,
    file: &Path,
    door: TcpListener,
    tell: &mut dyn FnMut(&str),
) -> Result<Network, FormingError> {
    let own = memory.own.clone();
    let agreement = Agreement::new(&own, memory.promise.clone());
    let (say, said) = watch::channel(Published::new(agreement.statement().to_json()));
    let (events, mut news) = mpsc::channel(EVENTS_MAX);
    let mut tasks = JoinSet::new();
    let door_events = events.clone();
    tasks.spawn(async move {
        let why = answer(door, said, door_events.clone()).await;
        let _ = door_events.send(Event::DoorBroke(why)).await;
    });
    let mut knocks = BTreeMap::new();
    for peer in own.members.others(&own.address) {
        let knocked = Arc::clone(knocks.entry(peer.clone()).or_default());
        tasks.spawn(keep_asking(peer.clone(), own.address.clone(), knocked, events.clone()));
    }
    let mut forming = Forming {
        agreement,
        memory,
        file,
        say,
        knocks,
        told: BTreeSet::new(),
        silence: BTreeMap::new(),
        witnesses: BTreeSet::new(),
        complaints: BTreeMap::new(),
        strangers: BTreeSet::new(),
        progress: String::new(),
        tell,
        tasks,
        events,
    };
    let outcome = forming.agree(&mut news).await;
    let to_tell: Vec<NodeAddress> = match &outcome {
        Ok(_) => forming.agreement.forming().cloned().collect(),
        Err(FormingError::Refused(refusal)) => refusal.about().into_iter().cloned().collect(),
        Err(_) => Vec::new(),
    };
    // Whom we refuse should see why, and who waits for our promise should have it.
    let _ = tokio::time::timeout(FAREWELL, forming.until_told(&to_tell, &mut news)).await;
    forming.tasks.shutdown().await;
    outcome
}

impl Forming<'_> {
    async fn agree(&mut self, news: &mut mpsc::Receiver<Event>) -> Result<Network, FormingError> {
        loop {
            match self.agreement.step()? {
                Step::Promise(network) => {
                    self.memory.promise = Some(network.clone());
                    // Durable before it is said: whoever hears it may begin at once.
                    self.memory.save(self.file)?;
                    self.agreement.promised(network);
                    self.told.clear();
                    self.say.send_replace(Published::new(self.agreement.statement().to_json()));
                    continue;
                }
                Step::Begin(network) => return Ok(network),
                Step::Wait(missing) => self.show_progress(&missing),
            }
            let event = news.recv().await.expect("this function's caller holds a sender");
            self.take(event)?;
        }
    }

    fn take(&mut self, event: Event) -> Result<(), FormingError> {
        match event {
            Event::Heard { from, heard: Heard::Said(said) } => {
                self.silence.remove(&from);
                self.agreement.hear(&from, said)?;
                self.complain(&from);
                self.ask_witnesses();
            }
            Event::Heard { from, heard: Heard::Silence(why) } => {
                self.agreement.fell_silent(&from);
                self.silence.insert(from, why);
            }
            // Only others list it: what is wrong there is their affair.
            Event::Heard { from, heard: Heard::SomethingElse(_) } if self.witnesses.contains(&from) => {}
            Event::Heard { from: who, heard: Heard::SomethingElse(why) } => {
                return Err(Refusal::SomethingElse { who, why }.into());
            }
            Event::Asked { from } => self.asked(from),
            Event::Told { from, token } => self.note_told(&from, &token),
            Event::DoorBroke(why) => return Err(FormingError::Door(why)),
        }
        Ok(())
    }

    /// Says why a member does not fit, once, and that it is waited for.
    fn complain(&mut self, about: &NodeAddress) {
        let Some(refusal) = self.agreement.odd(about) else {
            self.complaints.remove(about);
            return;
        };
        let text = refusal.to_string().replace("\n  ", "; ");
        if self.complaints.get(about) != Some(&text) {
            (self.tell)(&format!("{text}. This node waits for it meanwhile"));
            self.complaints.insert(about.clone(), text);
        }
    }

    /// With one other line against ours, a third node shows whose is the odd one.
    fn ask_witnesses(&mut self) {
        for witness in self.agreement.witnesses() {
            if self.witnesses.len() < WITNESSES_MAX && self.witnesses.insert(witness.clone()) {
                let own = self.memory.own.address.clone();
                self.tasks.spawn(keep_asking(witness, own, Arc::default(), self.events.clone()));
            }
        }
    }

    /// A listed node that asks is there: it is asked back at once. One that is not listed is named to the operator.
    fn asked(&mut self, from: String) {
        let Ok(address) = from.parse::<NodeAddress>() else { return };
        if let Some(knock) = self.knocks.get(&address) {
            knock.notify_one();
            return;
        }
        let own = &self.memory.own.address;
        if address != *own && self.strangers.len() < STRANGERS_NAMED_MAX && self.strangers.insert(from) {
            (self.tell)(&format!("{address} asks to take part, but this node was not started with --peers {address}"));
        }
    }

    fn note_told(&mut self, from: &str, token: &str) {
        if *token == self.say.borrow().token
            && let Ok(address) = from.parse::<NodeAddress>()
            && (self.knocks.contains_key(&address) || self.witnesses.contains(&address))
        {
            self.told.insert(address);
        }
    }

    /// Waits until these have our newest statement.
    async fn until_told(&mut self, whom: &[NodeAddress], news: &mut mpsc::Receiver<Event>) {
        while !whom.iter().all(|address| self.told.contains(address)) {
            match news.recv().await {
                Some(Event::Told { from, token }) => self.note_told(&from, &token),
                Some(_) => {}
                None => return,
            }
        }
    }

    fn show_progress(&mut self, missing: &[NodeAddress]) {
        let name = |address: &NodeAddress| match (self.agreement.odd(address), self.silence.get(address)) {
            (Some(refusal), _) => format!("{address} ({})", refusal.briefly()),
            (None, Some(why)) => format!("{address} ({why})"),
            (None, None) => address.to_string(),
        };
        let line = format!("waiting for {}", missing.iter().map(name).collect::<Vec<_>>().join(", "));
        if line != self.progress {
            (self.tell)(&line);
            self.progress = line;
        }
    }
}

//! The chain thread's loop.
//!
//! All messages that have arrived are stepped together and committed at once. Only then are their effects performed, so a
//! share is on disk before it is announced.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use arc_swap::ArcSwap;
use crossbeam_channel::{never, select, Receiver, Sender};
use log::{debug, info, log, warn, Level};
use p2pool_channels::{LatestReceiver, NetworkSender, TemplateUpdate, ToAnchor, ToChain, ToSubmit, WorkSender};
use p2pool_core::config::Config;
use p2pool_core::node::{Effect, Event, NetworkCommand, Node, Now, Report};
use p2pool_core::params::ChainParams;
use p2pool_core::peer::RequestFailed;
use p2pool_core::sharechain::Tree;
use p2pool_core::status::ChainStatus;
use p2pool_core::units::{SteadyTime, UnixTime};
use thiserror::Error;

use crate::store::{Content, Store, StoreError};

/// Number of messages stepped before their effects are performed. It bounds the delay of the first one's effects.
const MESSAGES_PER_TURN_MAX: usize = 256;
/// Number of shares between two log lines while loading.
const LOAD_PROGRESS_SHARES: usize = 5_000;

/// The channels that the chain thread sends to.
pub struct ChainSinks {
    /// Work for miners.
    pub stratum: WorkSender,
    /// Block lookups at bitcoind.
    pub anchor: Sender<ToAnchor>,
    /// Bitcoin blocks found by peers.
    pub submit: Sender<ToSubmit>,
    /// Messages to peers.
    pub network: NetworkSender,
}

/// Why the chain thread failed.
#[derive(Debug, Error)]
pub enum ChainError {
    /// The store cannot be opened or read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store still refuses shares when the thread ends.
    #[error("{shares} shares not saved, lost unless peers have them: {cause}")]
    Unsaved {
        shares: usize,
        /// The store's last error.
        cause: StoreError,
    },
}

/// The chain thread.
pub struct Chain {
    node: Node,
    store: Store,
    sinks: ChainSinks,
    started: Instant,
    inbox: Receiver<ToChain>,
    templates: LatestReceiver<TemplateUpdate>,
    /// Whether the sender of templates is gone.
    is_template_slot_closed: bool,
    status: Arc<ArcSwap<ChainStatus>>,
}

/// Whether the loop continues.
#[derive(PartialEq, Eq)]
enum Turn {
    Continue,
    End,
}

impl Chain {
    /// Loads the stored sharechain from the chain's own folder.
    ///
    /// # Errors
    /// The store cannot be opened or read.
    pub fn open(
        config: &Config,
        looks_for_peers: bool,
        inbox: Receiver<ToChain>,
        templates: LatestReceiver<TemplateUpdate>,
        sinks: ChainSinks,
    ) -> Result<Self, ChainError> {
        let started = Instant::now();
        let store = Store::open(&config.chain_dir, &config.params)?;
        let tree = load(&store, &config.params)?;
        let mut node = Node::new(config, looks_for_peers, tree, now(started));
        let status = Arc::new(ArcSwap::from_pointee(node.status(SteadyTime::from(started.elapsed()))));
        Ok(Self { node, store, sinks, started, inbox, templates, is_template_slot_closed: false, status })
    }

    /// The published status.
    pub fn status(&self) -> Arc<ArcSwap<ChainStatus>> {
        Arc::clone(&self.status)
    }

    /// Runs until it is stopped or no sender is left. While the store fails, the thread keeps shares and tries again.
    ///
    /// # Errors
    /// [`ChainError::Unsaved`]: the store still refuses shares at the end.
    pub fn run(mut self) -> Result<(), ChainError> {
        loop {
            self.turn();
            if self.wait() == Turn::End {
                break;
            }
        }
        debug!("chain thread ending");
        self.close()
    }

    /// Advances the node, commits its changes, performs its effects and publishes its status.
    fn turn(&mut self) {
        self.node.advance(self.now());
        if let Some(changes) = self.node.changes(self.steady()) {
            let result = self.store.commit(changes).map_err(|error| error.to_string());
            self.node.committed(result, self.steady());
        }
        for effect in self.node.take_effects() {
            self.perform(effect);
        }
        self.status.store(Arc::new(self.node.status(self.steady())));
    }

    /// Waits for a message or the next deadline, and steps all messages that have arrived.
    fn wait(&mut self) -> Turn {
        let until_ms = self.node.wake_at().since_ms(self.steady());
        let inbox = self.inbox.clone();
        // A channel without a sender is always ready and would make this a busy loop.
        let templates = if self.is_template_slot_closed { never() } else { self.templates.channel().clone() };
        select! {
            recv(inbox) -> message => match message {
                Ok(message) => self.step_all(message),
                Err(_) => Turn::End,
            },
            recv(templates) -> update => {
                match update {
                    Ok(TemplateUpdate::Template(template)) => self.step(Event::Template(template)),
                    Ok(TemplateUpdate::Withdrawn(why)) => self.step(Event::TemplateWithdrawn(why)),
                    Err(_) => self.is_template_slot_closed = true,
                }
                Turn::Continue
            }
            default(std::time::Duration::from_millis(until_ms)) => Turn::Continue,
        }
    }

    fn step_all(&mut self, first: ToChain) -> Turn {
        let rest = self.inbox.clone();
        for message in std::iter::once(first).chain(rest.try_iter().take(MESSAGES_PER_TURN_MAX - 1)) {
            match message {
                ToChain::Event(event) => self.step(event),
                ToChain::Stop => return Turn::End,
            }
        }
        Turn::Continue
    }

    fn step(&mut self, event: Event) {
        self.node.step(event, self.now());
    }

    /// Never blocks.
    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Work(update) => self.sinks.stratum.put(update),
            Effect::Report(report) => log!(level(&report), "{report}"),
            Effect::LookUp(lookup) => {
                if self.sinks.anchor.try_send(ToAnchor::LookUp(lookup)).is_err() {
                    debug!("block lookup dropped: inbox full, repeated at the next tick");
                }
            }
            Effect::SubmitBlock(block) => {
                let id = block.id;
                if self.sinks.submit.try_send(ToSubmit::Peer(block)).is_err() {
                    warn!("Bitcoin block {id} of a peer not submitted: inbox full");
                }
            }
            Effect::Network(command) => self.send(command),
        }
    }

    /// Sends a command to the network thread. A command that finds no room is lost; a lost request has failed.
    fn send(&mut self, command: NetworkCommand) {
        let request = match &command {
            NetworkCommand::Request { peer, id, .. } => Some((*peer, *id)),
            _ => None,
        };
        if self.sinks.network.send(command).is_err() {
            debug!("network command dropped: inbox full");
            if let Some((peer, id)) = request {
                self.step(Event::Response { peer, id, response: Err(RequestFailed::NotSent) });
            }
        }
    }

    /// Commits the backlog once more.
    fn close(mut self) -> Result<(), ChainError> {
        let backlog = self.node.backlog();
        match self.store.commit(backlog) {
            Err(cause) if !backlog.put_shares.is_empty() => {
                Err(ChainError::Unsaved { shares: backlog.put_shares.len(), cause })
            }
            // The tip and deletions are derived from the shares at the next start.
            _ => Ok(()),
        }
    }

    fn now(&self) -> Now {
        now(self.started)
    }

    fn steady(&self) -> SteadyTime {
        SteadyTime::from(self.started.elapsed())
    }
}

fn now(started: Instant) -> Now {
    Now { steady: SteadyTime::from(started.elapsed()), time: UnixTime::from(SystemTime::now()) }
}

/// Loads the tree from the store.
fn load(store: &Store, params: &ChainParams) -> Result<Tree, StoreError> {
    let started = Instant::now();
    let Content { shares, anchors, .. } = store.load()?;
    let mut tree = Tree::new(Arc::new(params.clone()));
    let count = shares.len();
    anchors.into_iter().for_each(|anchor| tree.add_anchor(anchor));
    for (loaded, stored) in shares.into_iter().enumerate() {
        if loaded > 0 && loaded.is_multiple_of(LOAD_PROGRESS_SHARES) {
            info!("loading sharechain: {loaded} shares");
        }
        tree.restore(stored.share, stored.verified);
    }
    match tree.tip() {
        Some(tip) => info!(
            "sharechain loaded: {count} shares in {} ms, tip {} at share height {}",
            started.elapsed().as_millis(),
            tip.id,
            tip.share.info.share_height
        ),
        None => info!("sharechain empty: its first share will be a genesis share"),
    }
    Ok(tree)
}

/// The log level of a report: at `info` and above, one line per event that matters to an operator, never one per share.
fn level(report: &Report) -> Level {
    match report {
        Report::StoreFailing { .. }
        | Report::RulesVersionNeeded { needed: Some(_), .. }
        | Report::ClockFault(Some(_))
        | Report::JobFailed(_)
        | Report::NoWindow(_) => Level::Error,
        Report::LastPeerGone
        | Report::NoPeerYet
        | Report::MiningSolo { looks_for_peers: true, .. }
        | Report::OwnShareRejected { .. }
        | Report::OwnShareLost(_)
        | Report::TemplateTooLow { .. }
        | Report::BlockNotAnnounced { .. }
        | Report::ClockOff { .. }
        | Report::ClockSet { .. }
        | Report::SharesEarly { .. } => Level::Warn,
        Report::LookingForPeers
        | Report::MiningSolo { looks_for_peers: false, .. }
        | Report::Syncing
        | Report::Synced { .. }
        | Report::Fetching(_)
        | Report::CandidateJudged(_)
        | Report::Reorganised { .. }
        | Report::RulesVersionNeeded { needed: None, .. }
        | Report::ClockFault(None)
        | Report::BlockReassembled { .. }
        | Report::StoreRecovered { .. } => Level::Info,
        Report::NewTip(_)
        | Report::ShareVerdict { .. }
        | Report::BlockIncomplete(_)
        | Report::BlockUnlinked(_)
        | Report::BlockInvalid { .. }
        | Report::HeaderInvalid { .. }
        | Report::EnvelopeInvalid { .. } => Level::Debug,
    }
}

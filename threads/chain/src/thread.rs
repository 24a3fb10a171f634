//! The chain thread's loop.
//!
//! Everything that has arrived is stepped together, committed as one, and only then are the effects performed: a share is
//! on disk before another node hears of it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use arc_swap::ArcSwap;
use crossbeam_channel::{never, select, Receiver, Sender};
use log::{debug, info, log, warn, Level};
use p2pool_channels::{LatestReceiver, NetworkSender, TemplateUpdate, ToAnchor, ToChain, ToSubmit, WorkSender};
use p2pool_core::node::{Effect, Event, NetworkCommand, Node, NodeConfig, Now, Report};
use p2pool_core::params::ChainParams;
use p2pool_core::peer::RequestFailed;
use p2pool_core::sharechain::Tree;
use p2pool_core::status::ChainStatus;
use p2pool_core::units::{SteadyTime, UnixTime};
use thiserror::Error;

use crate::store::{Store, StoreError};

/// Messages stepped before their effects are performed: bounds how long the first one's wait.
const MESSAGES_PER_TURN_MAX: usize = 256;
/// Shares between two log lines while loading.
const LOAD_PROGRESS_SHARES: usize = 5_000;

/// Where the chain thread sends to.
pub struct ChainOuts {
    /// Work for miners.
    pub stratum: WorkSender,
    /// Header lookups at bitcoind.
    pub anchor: Sender<ToAnchor>,
    /// Bitcoin blocks that peers found.
    pub submit: Sender<ToSubmit>,
    /// Peers.
    pub network: NetworkSender,
}

/// Why the chain thread ended.
#[derive(Debug, Error)]
pub enum ChainError {
    /// The store cannot be opened or read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store refused shares to the end.
    #[error("{shares} shares are not on disk, and lost unless peers have them: {cause}")]
    Unsaved {
        /// Number of shares.
        shares: usize,
        /// The store's last error.
        cause: StoreError,
    },
}

/// The chain thread.
pub struct Chain {
    node: Node,
    store: Store,
    outs: ChainOuts,
    started: Instant,
    inbox: Receiver<ToChain>,
    templates: LatestReceiver<TemplateUpdate>,
    /// No more templates come.
    is_template_slot_closed: bool,
    status: Arc<ArcSwap<ChainStatus>>,
}

/// Whether the loop goes on.
#[derive(PartialEq, Eq)]
enum Turn {
    GoOn,
    End,
}

impl Chain {
    /// Loads the stored sharechain from the chain's own folder.
    ///
    /// # Errors
    /// The store cannot be opened or read.
    pub fn open(
        params: &Arc<ChainParams>,
        config: NodeConfig,
        dir: &Path,
        inbox: Receiver<ToChain>,
        templates: LatestReceiver<TemplateUpdate>,
        outs: ChainOuts,
    ) -> Result<Self, ChainError> {
        let started = Instant::now();
        let mut store = Store::open(dir, params)?;
        let tree = load(&mut store, params)?;
        let mut node = Node::new(config, tree, now(started));
        let status = Arc::new(ArcSwap::from_pointee(node.status(SteadyTime::from(started.elapsed()))));
        Ok(Self { node, store, outs, started, inbox, templates, is_template_slot_closed: false, status })
    }

    /// What the thread publishes.
    pub fn status(&self) -> Arc<ArcSwap<ChainStatus>> {
        Arc::clone(&self.status)
    }

    /// Works until told to stop, or until no sender is left. A store that fails meanwhile is waited out.
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
        debug!("chain thread ends");
        self.close()
    }

    /// What follows from the events that were stepped, or from the passing of time.
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

    /// Waits for the first message, and steps it and those that came with it.
    fn wait(&mut self) -> Turn {
        let until_ms = self.node.wake_at().since_ms(self.steady());
        let inbox = self.inbox.clone();
        // A channel whose sender is gone is always ready: listening on would be an endless loop.
        let templates = if self.is_template_slot_closed { never() } else { self.templates.channel().clone() };
        select! {
            recv(inbox) -> message => match message {
                Ok(message) => self.step_all(message),
                Err(_) => Turn::End,
            },
            recv(templates) -> update => {
                match update {
                    Ok(TemplateUpdate::Template(template)) => self.step(Event::Template(template)),
                    Ok(TemplateUpdate::Withdrawn) => self.step(Event::TemplateWithdrawn),
                    Err(_) => self.is_template_slot_closed = true,
                }
                Turn::GoOn
            }
            default(std::time::Duration::from_millis(until_ms)) => Turn::GoOn,
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
        Turn::GoOn
    }

    fn step(&mut self, event: Event) {
        self.node.step(event, self.now());
    }

    /// Never blocks.
    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Work(update) => self.outs.stratum.put(update),
            Effect::Report(report) => log!(level(&report), "{report}"),
            Effect::Headers(command) => {
                if self.outs.anchor.try_send(ToAnchor::Command(command)).is_err() {
                    debug!("header lookup dropped: too many wait; the next tick repeats it");
                }
            }
            Effect::SubmitBlock(block) => {
                let id = block.id;
                if self.outs.submit.try_send(ToSubmit::Peer(block)).is_err() {
                    warn!("peer's Bitcoin block {id} not submitted: too many blocks wait");
                }
            }
            Effect::Network(command) => self.send(command),
        }
    }

    /// A message that finds no room is lost; a request that is lost has failed.
    fn send(&mut self, command: NetworkCommand) {
        let request = match &command {
            NetworkCommand::Request { peer, id, .. } => Some((*peer, *id)),
            _ => None,
        };
        if self.outs.network.send(command).is_err() {
            debug!("message to the network dropped: its inbox is full");
            if let Some((peer, id)) = request {
                self.step(Event::Response { peer, id, response: Err(RequestFailed::NotSent) });
            }
        }
    }

    /// Commits what waits for the last time.
    fn close(mut self) -> Result<(), ChainError> {
        let backlog = self.node.backlog();
        match self.store.commit(backlog) {
            Err(cause) if !backlog.put_shares.is_empty() => {
                Err(ChainError::Unsaved { shares: backlog.put_shares.len(), cause })
            }
            // The tip, and what is too old, follow from the shares at the next start.
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

/// The tree that the store holds.
fn load(store: &mut Store, params: &Arc<ChainParams>) -> Result<Tree, StoreError> {
    let started = Instant::now();
    let mut tree = Tree::new(Arc::clone(params));
    let mut anchors = Vec::new();
    let mut count = 0usize;
    store.load(
        |stored| {
            tree.restore(stored.share, stored.verified);
            count += 1;
            if count.is_multiple_of(LOAD_PROGRESS_SHARES) {
                info!("loading the sharechain: {count} shares");
            }
            Ok::<(), StoreError>(())
        },
        |anchor| {
            anchors.push(anchor);
            Ok(())
        },
    )?;
    anchors.into_iter().for_each(|anchor| tree.add_anchor(anchor));
    match tree.tip() {
        Some(tip) => info!(
            "sharechain loaded: {count} shares in {} ms, tip {} at share height {}",
            started.elapsed().as_millis(),
            tip.id,
            tip.share.info.share_height
        ),
        None => info!("sharechain is empty: its first share will be its genesis share"),
    }
    Ok(tree)
}

/// How loudly a report is logged: one line per event that an operator cares about, never one per share.
fn level(report: &Report) -> Level {
    match report {
        Report::StoreFailing { .. } | Report::JobFailed(_) | Report::NoWindow(_) => Level::Error,
        Report::LastPeerGone
        | Report::NoPeerYet
        | Report::MiningSolo { looks_for_peers: true, .. }
        | Report::OwnShareRejected { .. }
        | Report::OwnShareLost(_)
        | Report::TemplateTooLow { .. }
        | Report::BlockNotAnnounced { .. }
        | Report::ClockOff { .. }
        | Report::ClockSet { .. } => Level::Warn,
        Report::LookingForPeers
        | Report::MiningSolo { looks_for_peers: false, .. }
        | Report::Syncing
        | Report::Synced { .. }
        | Report::Fetching(_)
        | Report::CandidateJudged(_)
        | Report::Reorganised { .. }
        | Report::BlockReassembled { .. }
        | Report::StoreRecovered { .. } => Level::Info,
        Report::NewTip(_)
        | Report::ShareVerdict { .. }
        | Report::BlockIncomplete(_)
        | Report::BlockUnlinked(_)
        | Report::BlockInvalid { .. } => Level::Debug,
    }
}

//! One log line for each change of bitcoind's state, none for each retry.

use log::{info, warn};
use p2pool_core::work::Template;

use crate::error::CallError;

/// What was last said of bitcoind.
#[derive(Debug)]
pub(crate) struct Health {
    url: String,
    state: State,
}

#[derive(Debug)]
enum State {
    Unknown,
    Up,
    Down(CallError),
}

impl Health {
    /// Nothing is known of it yet.
    pub(crate) fn new(url: &str) -> Self {
        Self { url: url.to_owned(), state: State::Unknown }
    }

    /// It gave a template. Returns whether that is news.
    pub(crate) fn note_up(&mut self, template: &Template) -> bool {
        let last = std::mem::replace(&mut self.state, State::Up);
        let Self { url, .. } = self;
        match last {
            State::Up => return false,
            State::Unknown => info!("bitcoind at {url} gives work for block {}", template.height),
            State::Down(_) => info!("bitcoind at {url} is back and gives work for block {}", template.height),
        }
        true
    }

    /// It did not. Returns whether that is news.
    pub(crate) fn note_down(&mut self, error: CallError) -> bool {
        if matches!(&self.state, State::Down(last) if last.is_alike(&error)) {
            return false;
        }
        warn!("bitcoind at {} {error}; trying again", self.url);
        self.state = State::Down(error);
        true
    }
}

//! Where templates go, whichever of two threads got them.

use std::sync::Arc;
use std::time::SystemTime;

use p2pool_channels::{LatestSender, TemplateUpdate};
use p2pool_core::metrics::Metrics;
use p2pool_core::units::UnixTime;
use p2pool_core::work::Template;

/// The slot for templates, and their count.
///
/// The long poll puts every template it gets. The refresh of the anchor thread might hide a newer one of the long poll
/// behind its own; the count, raised *before* each put, tells it so: see [`crate::refresh`].
#[derive(Clone)]
pub(crate) struct TemplateSink {
    slot: LatestSender<TemplateUpdate>,
    counters: Arc<Metrics>,
}

impl TemplateSink {
    pub(crate) fn new(slot: LatestSender<TemplateUpdate>, counters: Arc<Metrics>) -> Self {
        Self { slot, counters }
    }

    /// Templates put so far.
    pub(crate) fn count(&self) -> u64 {
        self.counters.templates.get()
    }

    /// Work for the miners.
    pub(crate) fn put(&self, template: Template) {
        self.counters.template_time_s.set(i64::from(UnixTime::from(SystemTime::now()).0));
        self.counters.templates.inc();
        self.slot.put(TemplateUpdate::Template(Arc::new(template)));
    }

    /// What miners have is worthless.
    pub(crate) fn withdraw(&self) {
        self.slot.put(TemplateUpdate::Withdrawn);
    }
}

//! The way of block templates to the chain thread, shared by the two threads that request them.

use std::sync::Arc;
use std::time::SystemTime;

use p2pool_channels::{LatestSender, TemplateUpdate};
use p2pool_core::metrics::Metrics;
use p2pool_core::units::UnixTime;
use p2pool_core::work::{NoWork, Template};

/// The slot for the newest template, and the count of templates.
///
/// The poll thread puts every template of the long poll. A refresh by the anchor thread could replace a newer template
/// of the long poll by an older one; the count, raised *before* each put, reveals that: see [`crate::refresh`].
#[derive(Clone)]
pub(crate) struct TemplateSink {
    slot: LatestSender<TemplateUpdate>,
    metrics: Arc<Metrics>,
}

impl TemplateSink {
    pub(crate) fn new(slot: LatestSender<TemplateUpdate>, metrics: Arc<Metrics>) -> Self {
        Self { slot, metrics }
    }

    /// Number of templates put so far.
    pub(crate) fn count(&self) -> u64 {
        self.metrics.templates.get()
    }

    /// Puts a template.
    pub(crate) fn put(&self, template: Template) {
        self.metrics.template_time_s.set(i64::from(UnixTime::from(SystemTime::now()).0));
        self.metrics.templates.inc();
        self.slot.put(TemplateUpdate::Template(Arc::new(template)));
    }

    /// Withdraws the last template: work on it is worthless.
    pub(crate) fn withdraw(&self, why: NoWork) {
        self.slot.put(TemplateUpdate::Withdrawn(why));
    }
}

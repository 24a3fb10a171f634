//! When miners have no job, and why.

use bitcoin::hashes::Hash as _;
use bitcoin::BlockHash;

use super::support::{params, template, Cluster};
use crate::node::Event;
use crate::work::{NoWork, Template, WorkUpdate};

#[test]
fn a_job_on_an_old_block_is_taken_back_if_no_job_can_be_made_on_the_new_one() {
    let mut cluster = Cluster::solo();
    let job = cluster.nodes[0].job();
    let unusable = |prev_block| Template { prev_block, weight_limit: 10, ..(*template()).clone() };
    cluster.send_template(0, unusable(job.template.prev_block));
    assert!(cluster.nodes[0].work.is_empty(), "the job on the same block is still good");
    cluster.send_template(0, unusable(BlockHash::from_byte_array([7; 32])));
    cluster.pass(3);
    assert!(matches!(cluster.nodes[0].update(), WorkUpdate::NoWork(NoWork::JobFailed)));
    cluster.pass(100);
    assert!(cluster.nodes[0].work.is_empty(), "reported once");
    cluster.give_template(0);
    cluster.nodes[0].job();
}

#[test]
fn the_reason_for_no_work_is_known_from_the_start() {
    let mut cluster = Cluster::new(params());
    cluster.start(false);
    let no_work = |cluster: &mut Cluster| cluster.nodes[0].node.status(cluster.steady).no_work;
    assert_eq!(no_work(&mut cluster), Some(NoWork::NoTemplateYet));
    cluster.send(0, Event::TemplateWithdrawn(NoWork::NoTemplate));
    assert!(cluster.nodes[0].work.is_empty(), "there was none");
    assert_eq!(no_work(&mut cluster), Some(NoWork::NoTemplateYet));
    cluster.send(0, Event::TemplateWithdrawn(NoWork::WrongNetwork));
    assert!(matches!(cluster.nodes[0].update(), WorkUpdate::NoWork(NoWork::WrongNetwork)));
    cluster.send(0, Event::TemplateWithdrawn(NoWork::NoTemplate));
    assert_eq!(no_work(&mut cluster), Some(NoWork::WrongNetwork), "which says more");
}

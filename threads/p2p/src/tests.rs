//! Real swarms on loopback: nodes as users run them, and scripted peers that send anything.

mod abuse;
mod addresses;
mod crowd;
mod floods;
mod gossip;
mod homes;
mod identify;
mod limits;
mod network;
mod orders;
mod overlap;
mod proxy;
mod requests;
mod scripted_peer;
mod slow_line;
mod strangers;
mod support;

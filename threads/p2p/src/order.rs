//! The operator's commands as the network thread reads them.

use std::net::{IpAddr, Ipv6Addr};

use libp2p::{Multiaddr, PeerId};
use p2pool_channels::CommandRefused;
use p2pool_core::operator::{OperatorCommand, BAN_HOURS_MAX};
use p2pool_core::status::PeersStatus;

use crate::bans::{BanSubject, BANS_MAX, BY_OPERATOR};

/// Longest word of a command: a multiaddr with a name.
const WORD_LEN_MAX: usize = 400;
/// Stands for all bans.
const ALL: &str = "all";

/// What the operator wants of the network thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Ban for so many seconds.
    Ban { subject: BanSubject, length_s: u32 },
    /// Lift a ban; `None` means all.
    Unban(Option<BanSubject>),
    /// Dial once.
    Connect(Multiaddr),
    /// Close the connection to a peer.
    Disconnect(PeerId),
}

impl Order {
    /// Reads a command and compares it with the published status. Returns what it does as well.
    pub fn read(command: &OperatorCommand, status: &PeersStatus) -> Result<(Self, String), CommandRefused> {
        match command {
            OperatorCommand::Ban { subject, hours } => ban(subject, *hours, status),
            OperatorCommand::Unban { subject } if subject == ALL => {
                Ok((Self::Unban(None), format!("all {} bans are lifted", status.bans.len())))
            }
            OperatorCommand::Unban { subject } => {
                let subject: BanSubject = parse_subject(subject)?;
                let is_listed = |subject: &BanSubject| status.bans.iter().any(|ban| ban.subject == subject.to_string());
                let site = subject.site().filter(is_listed);
                let around = site.map(|site| format!("; {site} around it is banned")).unwrap_or_default();
                if !is_listed(&subject) {
                    return Err(CommandRefused::NotFound(format!("{subject} is not banned{around}")));
                }
                Ok((Self::Unban(Some(subject)), format!("the ban of {subject} is lifted{around}")))
            }
            OperatorCommand::Connect { address } => {
                let parsed = word(address).and_then(|address| address.parse::<Multiaddr>().ok());
                let parsed = parsed.filter(|address| !address.is_empty());
                let wrong = || CommandRefused::Wrong(format!("{} is no multiaddr", shown(address)));
                let parsed = parsed.ok_or_else(wrong)?;
                let text = format!("{parsed} is dialled once");
                Ok((Self::Connect(parsed), text))
            }
            OperatorCommand::Disconnect { peer } => {
                let parsed = word(peer).and_then(|peer| peer.parse::<PeerId>().ok());
                let parsed = parsed.ok_or_else(|| CommandRefused::Wrong(format!("{} is no peer id", shown(peer))))?;
                if !status.peers.iter().any(|connected| *connected.id == **peer) {
                    return Err(CommandRefused::NotFound(format!("{peer} is not connected")));
                }
                Ok((Self::Disconnect(parsed), format!("{peer} is disconnected")))
            }
        }
    }
}

fn ban(subject: &str, hours: u32, status: &PeersStatus) -> Result<(Order, String), CommandRefused> {
    let subject = parse_subject(subject)?;
    match subject {
        BanSubject::Address(address) => is_public(address)?,
        BanSubject::Site([a, b, c]) => is_public(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).into())?,
        BanSubject::Peer(_) => {}
    }
    if subject.to_string() == status.our_id {
        return Err(CommandRefused::Wrong(format!("{subject} is this node")));
    }
    if status.peers.iter().any(|peer| peer.is_added && *peer.id == *subject.to_string()) {
        let why = format!("{subject} is of the flag -add-peer, whose peers are never banned: remove it there");
        return Err(CommandRefused::Wrong(why));
    }
    let by_operator = || status.bans.iter().filter(|ban| ban.reason == BY_OPERATOR);
    if by_operator().count() >= BANS_MAX && !by_operator().any(|ban| ban.subject == subject.to_string()) {
        let why = format!("there are {BANS_MAX} bans by the operator, and no more are kept: lift some first");
        return Err(CommandRefused::Wrong(why));
    }
    if !(1..=BAN_HOURS_MAX).contains(&hours) {
        return Err(CommandRefused::Wrong(format!("a ban lasts 1 to {BAN_HOURS_MAX} hours, not {hours}")));
    }
    Ok((Order::Ban { subject, length_s: hours * 3_600 }, format!("{subject} is banned for {hours} h")))
}

fn is_public(address: IpAddr) -> Result<(), CommandRefused> {
    let why = || format!("{address} is in an own network, whose addresses are never banned: ban the peer id");
    BanSubject::at(address).map(|_| ()).ok_or_else(|| CommandRefused::Wrong(why()))
}

fn parse_subject(text: &str) -> Result<BanSubject, CommandRefused> {
    let subject = word(text).and_then(|text| text.parse().ok());
    subject.ok_or_else(|| CommandRefused::Wrong(format!("{} is neither a peer id nor an IP address", shown(text))))
}

fn word(text: &str) -> Option<&str> {
    (text.len() <= WORD_LEN_MAX).then_some(text)
}

/// Returns a word for an error, shortened.
fn shown(text: &str) -> String {
    let start: String = text.chars().take(60).collect();
    format!("{start:?}")
}

#[cfg(test)]
mod tests {
    use p2pool_core::status::{BanKind, BanStatus, Direction, PeerStatus, Route};
    use p2pool_core::units::UnixTime;

    use super::*;

    fn status(banned: &[&str]) -> PeersStatus {
        let ban = |subject: &&str| BanStatus {
            subject: (*subject).to_owned(),
            kind: BanKind::Banned,
            reason: String::new(),
            until: UnixTime(9),
        };
        PeersStatus { bans: banned.iter().map(ban).collect(), ..PeersStatus::default() }
    }

    fn read_ban(subject: &str, hours: u32) -> Result<(Order, String), CommandRefused> {
        Order::read(&OperatorCommand::Ban { subject: subject.to_owned(), hours }, &status(&[]))
    }

    #[test]
    fn what_can_be_banned_is_a_peer_id_a_public_address_or_a_site() {
        let peer = PeerId::random();
        let (order, text) = read_ban(&peer.to_string(), 2).unwrap();
        assert_eq!(order, Order::Ban { subject: BanSubject::Peer(peer), length_s: 7_200 });
        assert_eq!(text, format!("{peer} is banned for 2 h"));
        assert_eq!(read_ban("2001:db8:7::1", 24).unwrap().1, "2001:db8:7::/64 is banned for 24 h");
        assert!(read_ban("2001:db8:7::/48", 24).is_ok());
        let long = "1".repeat(WORD_LEN_MAX + 1);
        for (wrong, hours) in [
            ("192.168.1.5", 24),
            ("fd00::/64", 24),
            ("fd00:0:1::/48", 24),
            ("node.example", 24),
            (&long, 24),
            ("8.8.8.8", 0),
            ("8.8.8.8", 9_000),
        ] {
            assert!(matches!(read_ban(wrong, hours), Err(CommandRefused::Wrong(_))), "{wrong} {hours}");
        }
    }

    #[test]
    fn this_node_does_not_ban_itself() {
        let us = PeerId::random().to_string();
        let status = PeersStatus { our_id: us.clone(), ..PeersStatus::default() };
        let refused = Order::read(&OperatorCommand::Ban { subject: us.clone(), hours: 1 }, &status).unwrap_err();
        assert_eq!(refused, CommandRefused::Wrong(format!("{us} is this node")));
    }

    #[test]
    fn a_ban_that_would_not_take_effect_is_refused() {
        let id = PeerId::random().to_string();
        let peer = |is_added| PeerStatus {
            id: id.as_str().into(),
            address: "/ip4/8.8.8.8/tcp/1".into(),
            direction: Direction::Outbound,
            route: Route::Direct,
            latency_us: None,
            connected_since: UnixTime(0),
            agent: "".into(),
            is_added,
        };
        let ban = |status: &PeersStatus| {
            Order::read(&OperatorCommand::Ban { subject: id.clone(), hours: 1 }, status).map(|(_, text)| text)
        };
        let refused = ban(&PeersStatus { peers: vec![peer(true)], ..PeersStatus::default() }).unwrap_err();
        assert!(matches!(refused, CommandRefused::Wrong(why) if why.contains("-add-peer")));
        let mut status = PeersStatus { peers: vec![peer(false)], ..PeersStatus::default() };
        assert!(ban(&status).is_ok());
        let ban_of = |number: usize, reason: &str| BanStatus {
            subject: format!("8.8.{}.{}", number / 256, number % 256),
            kind: BanKind::Banned,
            reason: reason.to_owned(),
            until: UnixTime(9),
        };
        status.bans = (0..BANS_MAX).map(|number| ban_of(number, "a reason")).collect();
        assert!(ban(&status).is_ok(), "it displaces another");
        status.bans = (0..BANS_MAX).map(|number| ban_of(number, BY_OPERATOR)).collect();
        assert!(matches!(ban(&status), Err(CommandRefused::Wrong(why)) if why.contains("lift some first")));
        status.bans[7].subject = id.clone();
        assert!(ban(&status).is_ok(), "one that is there can be changed");
    }

    #[test]
    fn only_what_the_published_status_lists_is_unbanned_or_disconnected() {
        let status = status(&["2001:db8:7::/64"]);
        let unban = |subject: &str| Order::read(&OperatorCommand::Unban { subject: subject.to_owned() }, &status);
        let subject = "2001:db8:7::/64".parse().unwrap();
        assert_eq!(unban("2001:db8:7::5").unwrap().0, Order::Unban(Some(subject)));
        assert_eq!(unban("all").unwrap().0, Order::Unban(None));
        assert!(unban("2001:db8:8::/48").is_err());
        assert_eq!(unban("8.8.8.8").unwrap_err(), CommandRefused::NotFound("8.8.8.8 is not banned".to_owned()));
        let peer = PeerId::random().to_string();
        let disconnect = Order::read(&OperatorCommand::Disconnect { peer: peer.clone() }, &status);
        assert_eq!(disconnect.unwrap_err(), CommandRefused::NotFound(format!("{peer} is not connected")));
    }

    #[test]
    fn who_unbans_an_address_hears_that_the_site_around_it_is_banned() {
        let unban = |banned: &[&str]| {
            Order::read(&OperatorCommand::Unban { subject: "2001:db8:7::5".to_owned() }, &status(banned))
        };
        let why = "2001:db8:7::/64 is not banned; 2001:db8:7::/48 around it is banned";
        assert_eq!(unban(&["2001:db8:7::/48"]).unwrap_err(), CommandRefused::NotFound(why.to_owned()));
        let (_, text) = unban(&["2001:db8:7::/48", "2001:db8:7::/64"]).unwrap();
        assert_eq!(text, "the ban of 2001:db8:7::/64 is lifted; 2001:db8:7::/48 around it is banned");
    }

    #[test]
    fn an_address_to_dial_is_a_multiaddr() {
        let connect = |address: &str| {
            Order::read(&OperatorCommand::Connect { address: address.to_owned() }, &PeersStatus::default())
        };
        assert!(connect("/ip4/8.8.8.8/tcp/9171").is_ok() && connect("/dns/node.example/tcp/9171").is_ok());
        for wrong in ["", "8.8.8.8:9171", "/ip4/8.8.8/tcp/1", &"/ip4/8.8.8.8".repeat(60)] {
            assert!(matches!(connect(wrong), Err(CommandRefused::Wrong(_))), "{wrong}");
        }
    }
}

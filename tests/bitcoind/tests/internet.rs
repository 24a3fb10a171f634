//! Small internets in network namespaces.

use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use p2pool_test_bitcoind::internet::{Internet, Nat};

#[test]
fn packets_take_the_delays_of_both_networks_there_and_back() {
    let Some(mut net) = Internet::new_or_skip() else { return };
    let line = net.delay(|number| Duration::from_millis(if number == 1 { 30 } else { 100 })).unwrap();
    let (public, home) = (net.public(1), net.home(2, Nat::RandomPorts));
    let listener = public.inside(|| TcpListener::bind(("0.0.0.0", 9_171)).unwrap());
    let begun = Instant::now();
    let stream = home.inside(|| TcpStream::connect((public.address, 9_171)).unwrap());
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(130) && took < Duration::from_secs(2), "{took:?}");
    let (_, from) = listener.accept().unwrap();
    assert_eq!(from.ip(), home.address);
    drop(stream);
    let lateness = line.stop();
    assert!(lateness.packets >= 2 && lateness.sum <= lateness.max * u32::try_from(lateness.packets).unwrap());
}

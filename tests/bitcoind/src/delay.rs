//! A line that delays packets, for kernels without `netem`: a TUN interface through which a namespace routes everything.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{poll, PollFd, PollFlags};
use rustix::ffi::c_int;
use rustix::fs::OFlags;
use rustix::ioctl::{ioctl, opcode, Opcode, Setter};

use crate::namespace::{inside, ip};

/// Name of the interface.
const INTERFACE: &str = "delay";
/// Routing table of the packets that have not been delayed yet.
const TABLE: &str = "100";
/// Packets that wait to be read: a second of 100 busy hosts.
const QUEUE: &str = "10000";
/// Longest packet of IPv4.
const PACKET_LEN_MAX: usize = 1 << 16;
/// Interval at which the thread looks whether it is to end.
const END_INTERVAL: Duration = Duration::from_millis(100);

/// `TUNSETIFF` attaches a file to an interface of this kind: packets without a header in front.
const SET_INTERFACE: Opcode = opcode::write::<c_int>(b'T', 202);
const KIND: u16 = 0x0001 | 0x1000;

/// The kernel's `struct ifreq`.
#[repr(C)]
struct InterfaceRequest {
    name: [u8; 16],
    flags: u16,
    rest: [u8; 22],
}

/// How much later than planned packets left.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lateness {
    pub packets: u64,
    pub sum: Duration,
    pub max: Duration,
}

/// The line; it ends when dropped, and lets no packet pass then.
#[derive(Debug)]
pub struct DelayLine {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<Lateness>>,
}

impl DelayLine {
    /// Delays the packets that a namespace routes, each by what `delay` returns for its source.
    pub(crate) fn start(
        namespace: &str,
        delay: impl Fn(Ipv4Addr) -> Duration + Send + 'static,
    ) -> Result<Self, String> {
        let opened = inside(namespace, || {
            for filter in ["all", "default"] {
                // A packet comes from one interface and its response goes to another.
                std::fs::write(format!("/proc/sys/net/ipv4/conf/{filter}/rp_filter"), "0")?;
            }
            open()
        });
        let tun = opened.flatten().map_err(|error| format!("TUN interface: {error}"))?;
        for words in [
            &["link", "set", INTERFACE, "txqueuelen", QUEUE, "up"][..],
            &["rule", "add", "priority", "10", "iif", INTERFACE, "lookup", "main"],
            &["rule", "add", "priority", "20", "lookup", TABLE],
            &["route", "add", "default", "dev", INTERFACE, "table", TABLE],
        ] {
            ip(&[&["-n", namespace], words].concat())?;
        }
        let ended = Arc::new(AtomicBool::new(false));
        let ending = Arc::clone(&ended);
        let thread = std::thread::spawn(move || {
            let mut line = Line { tun, packets: BinaryHeap::new(), serial: 0, lateness: Lateness::default() };
            while !ending.load(Ordering::Relaxed) {
                if let Err(error) = line.turn(&delay) {
                    eprintln!("the delay line ended: {error}");
                    break;
                }
            }
            line.lateness
        });
        Ok(Self { ended, thread: Some(thread) })
    }

    /// Ends the line.
    pub fn stop(mut self) -> Lateness {
        self.join()
    }

    fn join(&mut self) -> Lateness {
        self.ended.store(true, Ordering::Relaxed);
        // A panic of the thread has been printed.
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

impl Drop for DelayLine {
    fn drop(&mut self) {
        self.join();
    }
}

/// Creates the interface in the namespace of the calling thread.
fn open() -> io::Result<File> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let tun = File::options().read(true).write(true).custom_flags(flags).open("/dev/net/tun")?;
    let mut request = InterfaceRequest { name: [0; 16], flags: KIND, rest: [0; 22] };
    request.name[..INTERFACE.len()].copy_from_slice(INTERFACE.as_bytes());
    attach(&tun, request)?;
    Ok(tun)
}

#[allow(unsafe_code, reason = "there is no other way to create such an interface")]
fn attach(tun: &File, request: InterfaceRequest) -> io::Result<()> {
    // SAFETY: TUNSETIFF reads and writes one struct ifreq, which `InterfaceRequest` has the length and layout of.
    unsafe { ioctl(tun, Setter::<SET_INTERFACE, InterfaceRequest>::new(request)) }.map_err(io::Error::from)
}

/// Packets on their way, the next one first. The number keeps those of one moment in order.
struct Line {
    tun: File,
    packets: BinaryHeap<Reverse<(Instant, u64, Vec<u8>)>>,
    serial: u64,
    lateness: Lateness,
}

impl Line {
    /// Waits for packets, reads them, and sends those whose time has come.
    fn turn(&mut self, delay: impl Fn(Ipv4Addr) -> Duration) -> io::Result<()> {
        let next = self.packets.peek().map(|Reverse((due, ..))| due.saturating_duration_since(Instant::now()));
        let timeout = next.unwrap_or(END_INTERVAL).min(END_INTERVAL);
        let timeout = timeout.try_into().map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(&self.tun, PollFlags::IN)], Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut buffer = [0; PACKET_LEN_MAX];
        loop {
            let packet = match self.tun.read(&mut buffer) {
                Ok(len) => &buffer[..len],
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            // Version 4; the source is at 12.
            if let [0x40..=0x4f, _, _, _, _, _, _, _, _, _, _, _, a, b, c, d, ..] = *packet {
                let due = Instant::now() + delay(Ipv4Addr::new(a, b, c, d));
                self.serial += 1;
                self.packets.push(Reverse((due, self.serial, packet.to_vec())));
            }
            self.send_due();
        }
        self.send_due();
        Ok(())
    }

    fn send_due(&mut self) {
        let now = Instant::now();
        while self.packets.peek().is_some_and(|Reverse((due, ..))| *due <= now) {
            let Some(Reverse((due, _, packet))) = self.packets.pop() else { return };
            // A packet that no host can receive is lost, as on any line.
            drop(self.tun.write(&packet));
            let late = now - due;
            self.lateness.packets += 1;
            self.lateness.sum += late;
            self.lateness.max = self.lateness.max.max(late);
        }
    }
}

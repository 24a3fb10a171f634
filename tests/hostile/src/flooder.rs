//! Connections that push as many bytes as a node takes, on streams of their own making.
//!
//! They do the handshake with libp2p and speak Yamux by themselves, so that they respond late to the pings by which the
//! other side measures the round-trip time, grant no window, and never wait for a stream's reader.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::Duration;

use futures::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf};
use libp2p::core::upgrade::OutboundConnectionUpgrade as _;
use libp2p::identity::Keypair;
use libp2p::{noise, tcp};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{unbounded_channel, UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;

use crate::names::Names;

/// Bytes that may be sent on a new stream.
const WINDOW: usize = 256 << 10;
/// Bytes per frame, as libp2p sends them.
const FRAME_LEN: usize = 16 << 10;
/// Time after which a ping gets its response: the other side takes it for a long line, which deserves long windows.
const PONG_DELAY: Duration = Duration::from_secs(2);
/// Bytes of an incomplete gossip packet or request: a little less than a node takes.
const GOSSIP_PACKET_LEN: usize = 500_000;
const REQUEST_LEN: usize = 60_000;
/// Streams of each kind, a few more than a node serves.
const REQUESTS: u32 = 28;
const NEGOTIATIONS: u32 = 18;
/// Proposals of a negotiation, a few less than end the connection.
const PROPOSALS: usize = 12;

/// Yamux frames: types and flags.
const DATA: u8 = 0;
const WINDOW_UPDATE: u8 = 1;
pub const PING: u8 = 2;
const SYN: u16 = 1;
pub const ACK: u16 = 2;

/// Connections in a thread of their own, until it is dropped.
pub struct Flooder {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Flooder {
    /// Connects so often to a node of this chain, each time as another peer, and pushes.
    pub fn start(node: SocketAddr, names: &Names, connections: usize) -> Self {
        let (stop, stopped) = oneshot::channel();
        let names = names.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut all = Vec::new();
                for _ in 0..connections {
                    // One after the other: a node bounds the handshakes.
                    all.push(connect(node, &names).await.unwrap());
                }
                for io in all {
                    let (reader, writer) = io.split();
                    let (sender, events) = unbounded_channel();
                    tokio::spawn(read(reader, sender));
                    tokio::spawn(push(writer, events, streams(&names)));
                }
                // It ends with the sender as well.
                let _ = stopped.await;
            });
        });
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Flooder {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed.
            drop(thread.join());
        }
    }
}

/// Returns a message of the negotiation of protocols.
fn negotiation(text: &str) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(text.len() + 1).unwrap()];
    bytes.extend(text.as_bytes());
    bytes.push(b'\n');
    bytes
}

const NEGOTIATION: &str = "/multistream/1.0.0";

async fn negotiate(io: &mut (impl AsyncRead + AsyncWrite + Unpin), protocol: &str) -> io::Result<()> {
    let both = [negotiation(NEGOTIATION), negotiation(protocol)].concat();
    io.write_all(&both).await?;
    io.flush().await?;
    let mut response = vec![0; both.len()];
    io.read_exact(&mut response).await?;
    assert_eq!(response, both);
    Ok(())
}

/// Connects, up to Yamux.
pub async fn connect(node: SocketAddr, names: &Names) -> io::Result<noise::Output<tcp::tokio::TcpStream>> {
    let mut io = tcp::tokio::TcpStream(TcpStream::connect(node).await?);
    negotiate(&mut io, "/noise").await?;
    let config = noise::Config::new(&Keypair::generate_ed25519()).unwrap();
    let config = config.with_prologue(names.noise_prologue.clone());
    let (_, mut io) = config.upgrade_outbound(io, "/noise").await.map_err(io::Error::other)?;
    negotiate(&mut io, "/yamux/1.0.0").await?;
    Ok(io)
}

/// What the node's frames change.
enum Event {
    /// More may be sent on a stream.
    Credit { stream: u32, bytes: usize },
    /// A ping is to be responded to.
    Pong { id: u32 },
}

async fn read<T: AsyncRead>(mut reader: ReadHalf<T>, events: UnboundedSender<Event>) -> io::Result<()> {
    loop {
        let mut header = [0; 12];
        reader.read_exact(&mut header).await?;
        let number = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().unwrap());
        let (flags, stream, len) = (u16::from_be_bytes([header[2], header[3]]), number(4), number(8));
        match header[1] {
            DATA => reader.read_exact(&mut vec![0; len as usize]).await?,
            // It fails when the connection has ended.
            WINDOW_UPDATE => drop(events.send(Event::Credit { stream, bytes: len as usize })),
            PING if flags & ACK == 0 => {
                let events = events.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(PONG_DELAY).await;
                    drop(events.send(Event::Pong { id: len }));
                });
            }
            _ => {}
        }
    }
}

/// What is pushed on a stream.
struct Pushed {
    begin: Vec<u8>,
    /// Repeated after the beginning.
    repeat: Vec<u8>,
    /// Bytes in all; the end of the stream never comes.
    len: usize,
    sent: usize,
    credit: usize,
}

impl Pushed {
    fn new(begin: Vec<u8>, repeat: Vec<u8>, len: usize) -> Self {
        Self { begin, repeat, len, sent: 0, credit: WINDOW }
    }

    /// Returns the next bytes, as far as the window and the plan reach.
    fn next(&mut self) -> Option<Vec<u8>> {
        let len = FRAME_LEN.min(self.credit).min(self.len - self.sent);
        let byte = |at: usize| {
            let after = at.checked_sub(self.begin.len());
            after.map_or_else(|| self.begin[at], |after| self.repeat[after % self.repeat.len()])
        };
        let bytes: Vec<u8> = (self.sent..self.sent + len).map(byte).collect();
        self.sent += len;
        self.credit -= len;
        (len > 0).then_some(bytes)
    }
}

/// Returns a gossip packet without messages: one unknown field.
fn gossip_packet() -> Vec<u8> {
    let varint = |value: usize| {
        let low = |shift: usize| u8::try_from(value >> shift & 0x7f).unwrap();
        vec![low(0) | 0x80, low(7) | 0x80, low(14)]
    };
    let field = [vec![15 << 3 | 2], varint(GOSSIP_PACKET_LEN)].concat();
    let mut packet = [varint(field.len() + GOSSIP_PACKET_LEN), field].concat();
    packet.resize(packet.len() + GOSSIP_PACKET_LEN, 0);
    packet
}

/// Returns the streams of a connection by their ids: gossip without end, incomplete requests, and negotiations whose
/// responses are not read.
fn streams(names: &Names) -> BTreeMap<u32, Pushed> {
    let speak = |protocol: &str| [negotiation(NEGOTIATION), negotiation(protocol)].concat();
    let gossip = Pushed::new(speak("/meshsub/1.1.0"), gossip_packet(), usize::MAX);
    let request = |_| Pushed::new(speak(names.sync.as_ref()), vec![0], REQUEST_LEN);
    let (begin, proposal) = (negotiation(NEGOTIATION), negotiation("/nothing/1.0.0"));
    let negotiations_len = begin.len() + PROPOSALS * proposal.len();
    let negotiating = |_| Pushed::new(begin.clone(), proposal.clone(), negotiations_len);
    let all = std::iter::once(gossip).chain((0..REQUESTS).map(request)).chain((0..NEGOTIATIONS).map(negotiating));
    // A dialler's streams have odd ids.
    (0..).map(|number| 2 * number + 1).zip(all).collect()
}

/// Returns a frame of Yamux without data.
pub fn header(kind: u8, flags: u16, stream: u32, len: u32) -> Vec<u8> {
    [&[0, kind][..], &flags.to_be_bytes(), &stream.to_be_bytes(), &len.to_be_bytes()].concat()
}

async fn push<T: AsyncWrite>(
    mut writer: WriteHalf<T>,
    mut events: UnboundedReceiver<Event>,
    mut streams: BTreeMap<u32, Pushed>,
) -> io::Result<()> {
    loop {
        let mut is_waiting = true;
        for (id, stream) in &mut streams {
            let flags = if stream.sent == 0 { SYN } else { 0 };
            if let Some(bytes) = stream.next() {
                let len = u32::try_from(bytes.len()).unwrap();
                writer.write_all(&[header(DATA, flags, *id, len), bytes].concat()).await?;
                is_waiting = false;
            }
        }
        writer.flush().await?;
        let mut event = if is_waiting {
            let Some(event) = events.recv().await else { return Ok(()) };
            Some(event)
        } else {
            // Lets the other connections push.
            tokio::task::yield_now().await;
            events.try_recv().ok()
        };
        while let Some(now) = event {
            match now {
                Event::Credit { stream, bytes } => {
                    if let Some(stream) = streams.get_mut(&stream) {
                        stream.credit += bytes;
                    }
                }
                Event::Pong { id } => writer.write_all(&header(PING, ACK, 0, id)).await?,
            }
            event = events.try_recv().ok();
        }
    }
}

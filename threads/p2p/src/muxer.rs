//! Yamux with bounded memory: what peers have sent and no stream has read.
//!
//! Yamux lets a peer send 256 KiB on each stream, and libp2p's settings let that window grow to 1 GiB per connection, as
//! fast as the peer wants: it measures the round-trip time by pings, which the peer may delay. Here windows do not grow, and
//! a connection with too many unread bytes is not read from until its streams are. Its sender then waits, as with any full
//! TCP window. A peer that fills streams which this node does not read stops its own pings with them, and is disconnected.
//! Circuits have a bound of their own.

mod negotiation;
mod unread;

use std::future::{ready, Ready};
use std::io::{self, IoSlice};
use std::iter;
use std::pin::Pin;
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::Arc;
use std::task::{ready, Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures::task::AtomicWaker;
use futures::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo};
use p2pool_core::token_bucket::{Rate, TokenBucket};
use yamux::{Connection, Mode, DEFAULT_CREDIT};

use unread::{Totals, Unread};

/// Open streams per connection in both directions: gossip, DHT, identify, ping and the requests of
/// [`behaviour`](crate::behaviour).
const STREAMS_MAX: usize = 64;
/// Longest frame of data. The library sends 16 KiB, and allocates what a frame claims before it arrives.
const FRAME_LEN_MAX: usize = 64 << 10;

/// Length of a frame's header: version, type, flags, stream id and length.
const HEADER_LEN: usize = 12;
/// Types of frames that belong to a stream.
const DATA: u8 = 0;
const WINDOW_UPDATE: u8 = 1;
const PING: u8 = 2;
/// The flags of a stream's first frame, and of one that resets it.
const SYN: u16 = 1;
const RST: u16 = 8;
const ACK: u16 = 2;
/// Streams that a peer may open: requests, messages of the DHT and pings.
const OPENED: Rate = Rate { burst: 1_000, interval: Duration::from_millis(20) };
/// Yamux sends a ping every ten seconds.
const PONGS: Rate = Rate { burst: 2, interval: Duration::from_secs(5) };

/// What a stream reports to the [`Gate`] of its connection.
enum Report {
    /// This node opened a stream.
    Opened(u32),
    /// That many bytes of a stream have been read.
    Read(u32, usize),
    /// A stream was dropped, and with it what was not read.
    Dropped(u32),
}

/// The way of reports to the gate.
#[derive(Clone)]
struct Reports {
    sender: Sender<Report>,
    /// The connection's task, while the gate waits for reports.
    waiting: Arc<AtomicWaker>,
}

impl Reports {
    fn send(&self, report: Report) {
        // An error means that the connection has ended.
        let _ = self.sender.send(report);
        self.waiting.wake();
    }
}

/// What a gate passes on next.
enum Part {
    /// A header, of which so many bytes have been passed on.
    Header { bytes: [u8; HEADER_LEN], len: usize },
    /// The data of a stream, of which so many bytes are left. `is_admitted`: they count, if the stream is open.
    Data { stream: u32, left: usize, is_admitted: bool },
}

impl Part {
    const START: Self = Self::Header { bytes: [0; HEADER_LEN], len: 0 };
}

/// A connection below Yamux that counts what is unread, and stops reading when that is too much.
struct Gate<C> {
    io: C,
    /// Which end this node is: clients open odd streams, servers even ones.
    mode: Mode,
    part: Part,
    unread: Unread,
    reports: Receiver<Report>,
    waiting: Arc<AtomicWaker>,
    /// Streams that the peer may open.
    opened: TokenBucket<Instant>,
    /// Responses to pings of Yamux.
    pongs: TokenBucket<Instant>,
}

impl<C> Gate<C> {
    fn new(io: C, mode: Mode, totals: Arc<Totals>) -> (Self, Reports) {
        let ((sender, reports), waiting) = (channel(), Arc::new(AtomicWaker::new()));
        let now = Instant::now();
        let gate = Self {
            io,
            mode,
            part: Part::START,
            unread: Unread::new(totals),
            reports,
            waiting: Arc::clone(&waiting),
            opened: TokenBucket::new(OPENED, now),
            pongs: TokenBucket::new(PONGS, now),
        };
        (gate, Reports { sender, waiting })
    }

    fn take_reports(&mut self) {
        while let Ok(report) = self.reports.try_recv() {
            match report {
                Report::Opened(stream) => drop(self.unread.open(stream)),
                Report::Read(stream, len) => self.unread.read(stream, len),
                Report::Dropped(stream) => self.unread.drop_stream(stream),
            }
        }
    }

    /// Counts the data that follows. False if it has to wait.
    fn admit(&mut self) -> bool {
        let Part::Data { stream, left, is_admitted: false } = self.part else { return true };
        let is_admitted = self.unread.admit(stream, left);
        self.part = Part::Data { stream, left, is_admitted };
        is_admitted
    }

    /// Notes bytes that are passed on.
    ///
    /// # Errors
    /// A frame is too long, or the peer has too many streams.
    fn pass(&mut self, passed: &[u8]) -> io::Result<()> {
        match &mut self.part {
            Part::Header { bytes, len } => {
                bytes[*len..*len + passed.len()].copy_from_slice(passed);
                *len += passed.len();
                if *len == HEADER_LEN {
                    let [_, kind, f0, f1, s0, s1, s2, s3, l0, l1, l2, l3] = *bytes;
                    let (flags, stream) = (u16::from_be_bytes([f0, f1]), u32::from_be_bytes([s0, s1, s2, s3]));
                    self.begin(kind, flags, stream, u32::from_be_bytes([l0, l1, l2, l3]))?;
                }
            }
            Part::Data { stream, left, .. } => {
                if !self.unread.look_at(*stream, passed) {
                    return Err(invalid(format!("negotiation of stream {stream} without end")));
                }
                *left -= passed.len();
                if *left == 0 {
                    self.part = Part::START;
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, kind: u8, flags: u16, stream: u32, len: u32) -> io::Result<()> {
        let failed = |what: String| Err(invalid(what));
        self.part = Part::START;
        // Yamux refuses others with a line in the log, and without ending the connection.
        if kind == PING && flags & ACK != 0 && !self.pongs.take(Instant::now()) {
            return failed("pongs without pings".to_owned());
        }
        if matches!(kind, DATA | WINDOW_UPDATE) && flags & (SYN | RST) == SYN {
            // Yamux refuses these streams without ending the connection, and what arrives for them would never be read.
            let is_even = stream.is_multiple_of(2);
            let is_too_much = kind == WINDOW_UPDATE && len > u32::MAX - DEFAULT_CREDIT;
            if stream == 0 || is_even != (self.mode == Mode::Client) || is_too_much {
                return failed(format!("stream {stream} opened against the protocol"));
            }
            if !self.unread.open(stream) {
                return failed(format!("stream {stream} opened twice"));
            }
            if !self.opened.take(Instant::now()) {
                return failed("too many streams opened".to_owned());
            }
            if self.unread.streams() > STREAMS_MAX {
                return failed(format!("more than {STREAMS_MAX} streams"));
            }
        }
        if kind == DATA && len > 0 {
            let left = len as usize;
            if left > FRAME_LEN_MAX {
                return failed(format!("frame of {left} bytes"));
            }
            self.part = Part::Data { stream, left, is_admitted: false };
        }
        Ok(())
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Gate<C> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.take_reports();
        if !this.admit() {
            this.waiting.register(cx.waker());
            // A report may have arrived before the waker was there.
            this.take_reports();
            if !this.admit() {
                return Poll::Pending;
            }
            this.waiting.take();
        }
        let wanted = match this.part {
            Part::Header { len, .. } => HEADER_LEN - len,
            Part::Data { left, .. } => left,
        };
        let wanted = wanted.min(buffer.len());
        let read = ready!(Pin::new(&mut this.io).poll_read(cx, &mut buffer[..wanted]))?;
        this.pass(&buffer[..read])?;
        Poll::Ready(Ok(read))
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Gate<C> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buffer)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, buffers)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_close(cx)
    }
}

/// A stream of a [`Muxer`].
pub struct Stream {
    inner: yamux::Stream,
    reports: Reports,
}

impl Stream {
    fn new(inner: yamux::Stream, reports: &Reports) -> Self {
        Self { inner, reports: reports.clone() }
    }

    fn id(&self) -> u32 {
        self.inner.id().val()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.reports.send(Report::Dropped(self.id()));
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let read = ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        if read > 0 {
            self.reports.send(Report::Read(self.id(), read));
        }
        Poll::Ready(Ok(read))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

/// The streams of one connection.
pub struct Muxer<C> {
    connection: Connection<Gate<C>>,
    reports: Reports,
    /// Streams that the peer opened while [`StreamMuxer::poll`] made progress; at most [`STREAMS_MAX`].
    inbound: Vec<Stream>,
    inbound_waker: Option<Waker>,
}

impl<C: AsyncRead + AsyncWrite + Unpin> Muxer<C> {
    fn new(io: C, mode: Mode, totals: Arc<Totals>) -> Self {
        let mut config = yamux::Config::default();
        config.set_max_num_streams(STREAMS_MAX);
        // What the streams' first windows add up to: none of them grows.
        config.set_max_connection_receive_window(Some(STREAMS_MAX * DEFAULT_CREDIT as usize));
        let (gate, reports) = Gate::new(io, mode, totals);
        Self { connection: Connection::new(gate, config, mode), reports, inbound: Vec::new(), inbound_waker: None }
    }

    fn poll_next_inbound(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        let next = ready!(self.connection.poll_next_inbound(cx));
        let stream = next.ok_or(io::ErrorKind::ConnectionAborted)?.map_err(into_io)?;
        Poll::Ready(Ok(Stream::new(stream, &self.reports)))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> StreamMuxer for Muxer<C> {
    type Substream = Stream;
    type Error = io::Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        if !self.inbound.is_empty() {
            return Poll::Ready(Ok(self.inbound.remove(0)));
        }
        let next = self.poll_next_inbound(cx);
        if next.is_pending() {
            self.inbound_waker = Some(cx.waker().clone());
        }
        next
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        let stream = ready!(self.connection.poll_new_outbound(cx)).map_err(into_io)?;
        self.reports.send(Report::Opened(stream.id().val()));
        Poll::Ready(Ok(Stream::new(stream, &self.reports)))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.poll_close(cx).map_err(into_io)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        let stream = ready!(self.poll_next_inbound(cx))?;
        self.inbound.push(stream);
        if let Some(waker) = self.inbound_waker.take() {
            waker.wake();
        }
        // Lets other code run before the next stream.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn into_io(error: yamux::ConnectionError) -> io::Error {
    match error {
        yamux::ConnectionError::Io(error) => error,
        error => io::Error::other(error),
    }
}

/// Makes a [`Muxer`] of each connection.
#[derive(Clone, Default)]
pub struct Config {
    totals: Arc<Totals>,
}

impl Config {
    /// Bytes that the streams of all its connections hold unread.
    pub fn unread_len(&self) -> usize {
        self.totals.unread_len()
    }
}

impl UpgradeInfo for Config {
    type Info = &'static str;
    type InfoIter = iter::Once<Self::Info>;

    fn protocol_info(&self) -> Self::InfoIter {
        iter::once("/yamux/1.0.0")
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> InboundConnectionUpgrade<C> for Config {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<io::Result<Muxer<C>>>;

    fn upgrade_inbound(self, io: C, _: Self::Info) -> Self::Future {
        ready(Ok(Muxer::new(io, Mode::Server, self.totals)))
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> OutboundConnectionUpgrade<C> for Config {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<io::Result<Muxer<C>>>;

    fn upgrade_outbound(self, io: C, _: Self::Info) -> Self::Future {
        ready(Ok(Muxer::new(io, Mode::Client, self.totals)))
    }
}

#[cfg(test)]
mod tests {
    use futures::io::Cursor;
    use futures::task::noop_waker;

    use super::unread::{CIRCUITS_PER_CONNECTION_MAX, CIRCUITS_UNREAD_MAX, UNREAD_MAX, UNREAD_MIN, UNREAD_TOTAL_MAX};
    use super::*;

    /// Data frames of a stream, the first of which opens it.
    fn frames(stream: u32, lens: &[u32]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (number, len) in lens.iter().enumerate() {
            bytes.extend([0, DATA, 0, u8::from(number == 0)]);
            bytes.extend(stream.to_be_bytes());
            bytes.extend(len.to_be_bytes());
            bytes.resize(bytes.len() + *len as usize, 7);
        }
        bytes
    }

    /// Reads what a gate passes on. Returns the number of bytes until it waits, fails or reaches the end.
    fn read_all(gate: &mut Gate<Cursor<Vec<u8>>>) -> (usize, Poll<io::Result<()>>) {
        let (waker, mut sum) = (noop_waker(), 0);
        let mut cx = Context::from_waker(&waker);
        loop {
            match Pin::new(&mut *gate).poll_read(&mut cx, &mut [0; 5_000]) {
                Poll::Ready(Ok(0)) => return (sum, Poll::Ready(Ok(()))),
                Poll::Ready(Ok(read)) => sum += read,
                Poll::Ready(Err(error)) => return (sum, Poll::Ready(Err(error))),
                Poll::Pending => return (sum, Poll::Pending),
            }
        }
    }

    fn gate(bytes: Vec<u8>, total: &Arc<Totals>) -> (Gate<Cursor<Vec<u8>>>, Reports) {
        Gate::new(Cursor::new(bytes), Mode::Server, Arc::clone(total))
    }

    #[test]
    fn a_connection_is_not_read_while_its_streams_are_not() {
        let total: Arc<Totals> = Arc::default();
        let frame = FRAME_LEN_MAX as u32;
        // Three streams fill their windows.
        let bytes: Vec<u8> = [1, 3, 5].into_iter().flat_map(|stream| frames(stream, &[frame; 4])).collect();
        let (mut gate, reports) = gate(bytes, &total);
        let (passed, end) = read_all(&mut gate);
        assert!(end.is_pending());
        let whole = UNREAD_MAX / FRAME_LEN_MAX;
        assert_eq!(passed, UNREAD_MAX + (whole + 1) * HEADER_LEN, "the next header, but not its data");
        assert_eq!(total.get(), (UNREAD_MAX, 0));
        // One frame is read, so another passes; one stream is dropped, so the rest does.
        reports.send(Report::Read(1, FRAME_LEN_MAX));
        assert_eq!(read_all(&mut gate).0, FRAME_LEN_MAX + HEADER_LEN);
        reports.send(Report::Dropped(3));
        assert!(matches!(read_all(&mut gate), (_, Poll::Ready(Ok(())))));
        drop(gate);
        assert_eq!(total.get(), (0, 0));
    }

    #[test]
    fn all_connections_together_are_bounded_and_each_may_go_on() {
        let total = Arc::new(Totals::with(UNREAD_TOTAL_MAX));
        let (mut gate, _reports) = gate(frames(1, &[1_000; 100]), &total);
        let (passed, end) = read_all(&mut gate);
        assert!(end.is_pending());
        assert_eq!(passed, UNREAD_MIN / 1_000 * (1_000 + HEADER_LEN) + HEADER_LEN);
        total.free(100_000);
        assert!(matches!(read_all(&mut gate), (_, Poll::Ready(Ok(())))));
    }

    #[test]
    fn data_of_streams_that_are_not_open_does_not_count() {
        let total: Arc<Totals> = Arc::default();
        let mut bytes = frames(1, &[1_000; 2]);
        bytes.extend(frames(1, &[1_000; 900]).split_off(1_000 + HEADER_LEN));
        let (mut gate, reports) = gate(bytes, &total);
        reports.send(Report::Opened(2));
        assert!(read_all(&mut gate).1.is_pending());
        reports.send(Report::Dropped(1));
        assert!(matches!(read_all(&mut gate), (_, Poll::Ready(Ok(())))));
        assert_eq!(total.get(), (0, 0));
    }

    #[test]
    fn a_request_for_the_list_of_protocols_ends_the_connection() {
        let total: Arc<Totals> = Arc::default();
        let begin = |text: &[u8]| [&[0, DATA, 0, 1, 0, 0, 0, 1, 0, 0, 0, text.len() as u8], text].concat();
        let (mut proposed, _reports) = gate(begin(b"\x13/multistream/1.0.0\n\x07/p2pool\n"), &total);
        assert!(matches!(read_all(&mut proposed), (_, Poll::Ready(Ok(())))));
        let (mut listed, _reports) = gate(begin(b"\x13/multistream/1.0.0\n\x03ls\n"), &total);
        assert!(matches!(read_all(&mut listed), (_, Poll::Ready(Err(_)))));
    }

    #[test]
    fn long_frames_and_too_many_streams_end_the_connection() {
        let total: Arc<Totals> = Arc::default();
        let (mut long, _reports) = gate(frames(1, &[FRAME_LEN_MAX as u32 + 1]), &total);
        assert!(matches!(read_all(&mut long), (_, Poll::Ready(Err(_)))));
        let many = |count: u32| (0..count).flat_map(|number| frames(2 * number + 1, &[1])).collect();
        let (mut most, _reports) = gate(many(STREAMS_MAX as u32), &total);
        assert!(matches!(read_all(&mut most), (_, Poll::Ready(Ok(())))));
        let (mut more, _reports) = gate(many(STREAMS_MAX as u32 + 1), &total);
        assert!(matches!(read_all(&mut more), (_, Poll::Ready(Err(_)))));
    }

    #[test]
    fn streams_that_yamux_refuses_end_the_connection_and_are_not_counted() {
        let total: Arc<Totals> = Arc::default();
        for refused in [frames(2, &[1_000]), frames(0, &[1_000]), [frames(1, &[1_000]), frames(1, &[1_000])].concat()] {
            let (mut gate, _reports) = gate(refused, &total);
            assert!(matches!(read_all(&mut gate), (_, Poll::Ready(Err(_)))));
            drop(gate);
            assert_eq!(total.get(), (0, 0));
        }
    }

    /// Data frames as a peer sends them to open a circuit to a relay, the first with the name of the protocol: as much as the
    /// window takes.
    fn circuit(stream: u32) -> Vec<u8> {
        let mut bytes = frames(stream, &[FRAME_LEN_MAX as u32; 4]);
        let name = b"\x13/multistream/1.0.0\n\x20/libp2p/circuit/relay/0.2.0/hop\n";
        bytes[HEADER_LEN..HEADER_LEN + name.len()].copy_from_slice(name);
        bytes
    }

    #[test]
    fn streams_that_are_named_circuits_are_bounded_and_stop_no_other_connection() {
        let total: Arc<Totals> = Arc::default();
        let all: Vec<u8> = (0..STREAMS_MAX as u32).flat_map(|number| circuit(2 * number + 1)).collect();
        let mut gates: Vec<_> = (0..20).map(|_| gate(all.clone(), &total)).collect();
        for (gate, _) in &mut gates {
            let (passed, end) = read_all(gate);
            let most = CIRCUITS_PER_CONNECTION_MAX + UNREAD_MAX;
            assert!(end.is_pending() && passed <= most + STREAMS_MAX * 4 * HEADER_LEN, "{passed}");
        }
        let (own, circuits) = total.get();
        assert!(own <= 20 * UNREAD_MAX, "{own}");
        assert!(circuits <= CIRCUITS_UNREAD_MAX + 20 * UNREAD_MIN, "{circuits}");
        // Circuits of another connection go on, and its other streams do.
        let first = circuit(1)[..HEADER_LEN + FRAME_LEN_MAX].to_vec();
        let (mut other, reports) = gate([first.clone(), frames(3, &[1_000])].concat(), &total);
        assert!(matches!(read_all(&mut other), (_, Poll::Ready(Ok(())))));
        reports.send(Report::Dropped(1));
        other.take_reports();
        assert_eq!(total.get(), (own + 1_000, circuits));
        drop((other, gates));
        assert_eq!(total.get(), (0, 0));
    }

    #[test]
    fn two_circuits_whose_other_end_takes_nothing_do_not_stop_the_other_streams() {
        let total: Arc<Totals> = Arc::default();
        let filled = 2 * DEFAULT_CREDIT as usize;
        let (mut gate, reports) =
            gate([circuit(1), circuit(3), frames(5, &[FRAME_LEN_MAX as u32; 4])].concat(), &total);
        assert!(matches!(read_all(&mut gate), (_, Poll::Ready(Ok(())))));
        assert_eq!(total.get(), (DEFAULT_CREDIT as usize, filled));
        reports.send(Report::Read(1, 1_000));
        reports.send(Report::Dropped(3));
        gate.take_reports();
        assert_eq!(total.get(), (DEFAULT_CREDIT as usize, filled / 2 - 1_000));
        drop(gate);
        assert_eq!(total.get(), (0, 0));
    }
}

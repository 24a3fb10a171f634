//! How much goes over the wire: all bytes of all connections, with everything that encryption and framing add.

use std::io::{IoSlice, IoSliceMut, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::{AsyncRead, AsyncWrite};
use p2pool_core::metrics::{IntCounter, Metrics};

/// A connection whose bytes are counted.
pub struct Counted<S> {
    inner: S,
    metrics: Arc<Metrics>,
}

impl<S> Counted<S> {
    /// Counts what `inner` reads and writes from now on.
    pub const fn new(inner: S, metrics: Arc<Metrics>) -> Self {
        Self { inner, metrics }
    }
}

/// Adds what was moved, if anything was.
fn note(counter: &IntCounter, moved: Poll<Result<usize>>) -> Poll<Result<usize>> {
    if let Poll::Ready(Ok(bytes)) = &moved {
        counter.inc_by(*bytes as u64);
    }
    moved
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize>> {
        let moved = Pin::new(&mut self.inner).poll_read(cx, buffer);
        note(&self.metrics.p2p_bytes_in, moved)
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<Result<usize>> {
        let moved = Pin::new(&mut self.inner).poll_read_vectored(cx, buffers);
        note(&self.metrics.p2p_bytes_in, moved)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<Result<usize>> {
        let moved = Pin::new(&mut self.inner).poll_write(cx, buffer);
        note(&self.metrics.p2p_bytes_out, moved)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let moved = Pin::new(&mut self.inner).poll_write_vectored(cx, buffers);
        note(&self.metrics.p2p_bytes_out, moved)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use futures::io::Cursor;
    use futures::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[test]
    fn bytes_that_moved_are_counted_and_no_others() {
        let metrics = Arc::new(Metrics::default());
        let mut stream = Counted::new(Cursor::new(vec![0_u8; 10]), Arc::clone(&metrics));
        let mut buffer = [0; 64];
        assert_eq!(block_on(stream.read(&mut buffer)).unwrap(), 10);
        assert_eq!(block_on(stream.read(&mut buffer)).unwrap(), 0);
        assert_eq!((metrics.p2p_bytes_in.get(), metrics.p2p_bytes_out.get()), (10, 0));
        stream.inner.set_position(0);
        block_on(stream.write_all(&[1; 7])).unwrap();
        let both = [IoSlice::new(&[2; 3]), IoSlice::new(&[3; 5])];
        assert_eq!(block_on(stream.write_vectored(&both)).unwrap(), 8);
        assert_eq!((metrics.p2p_bytes_in.get(), metrics.p2p_bytes_out.get()), (10, 15));
    }
}

//! Byte counters of all connections, with what encryption and framing add.

use std::io::{IoSlice, IoSliceMut, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::{AsyncRead, AsyncWrite};
use p2pool_core::metrics::{IntCounter, Metrics};

/// A stream whose bytes are counted.
pub struct CountedStream<S> {
    inner: S,
    metrics: Arc<Metrics>,
}

impl<S> CountedStream<S> {
    /// Counts what `inner` reads and writes from now on.
    pub const fn new(inner: S, metrics: Arc<Metrics>) -> Self {
        Self { inner, metrics }
    }
}

/// Adds the bytes that were read or written to a counter.
fn count(counter: &IntCounter, result: Poll<Result<usize>>) -> Poll<Result<usize>> {
    if let Poll::Ready(Ok(bytes)) = &result {
        counter.inc_by(*bytes as u64);
    }
    result
}

impl<S: AsyncRead + Unpin> AsyncRead for CountedStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_read(cx, buffer);
        count(&self.metrics.p2p_bytes_in, result)
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_read_vectored(cx, buffers);
        count(&self.metrics.p2p_bytes_in, result)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for CountedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write(cx, buffer);
        count(&self.metrics.p2p_bytes_out, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write_vectored(cx, buffers);
        count(&self.metrics.p2p_bytes_out, result)
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
    fn only_transferred_bytes_are_counted() {
        let metrics = Arc::new(Metrics::default());
        let mut stream = CountedStream::new(Cursor::new(vec![0_u8; 10]), Arc::clone(&metrics));
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

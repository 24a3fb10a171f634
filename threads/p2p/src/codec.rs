//! Encoding of requests and responses on a stream: one message in each direction, ended by the end of the stream.

use std::io;
use std::sync::Arc;

use futures::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p::request_response::Codec;
use libp2p::StreamProtocol;
use p2pool_core::wire::{Frame, Request, Response, WireError};
use tokio::sync::Semaphore;

use crate::instance::STATEMENT_LEN;

/// Longest request that each stream may hold while it arrives. Only requests for more than 5,000 transactions are longer.
const SHORT_REQUEST_LEN_MAX: usize = 16 << 10;
/// Longer requests that may arrive at the same time, of all peers: a megabyte. More are refused; a node requests the
/// transactions of a block from other peers too.
const LONG_REQUESTS_MAX: usize = 16;

/// Reads and writes requests and responses.
///
/// A malformed message is returned as an error of its own rather than as a broken stream, so that its sender can be
/// penalised. Only `Ok(Request)` and `Ok(Response)` are ever written.
#[derive(Clone, Debug)]
pub struct SyncCodec {
    /// Taken while a long request arrives.
    long_requests: Arc<Semaphore>,
}

impl Default for SyncCodec {
    fn default() -> Self {
        Self { long_requests: Arc::new(Semaphore::new(LONG_REQUESTS_MAX)) }
    }
}

/// Why a response could not be read.
#[derive(Debug)]
pub enum BadResponse {
    /// The stream ended without a response.
    Empty,
    /// The bytes are not a valid response.
    Wire(WireError),
}

impl Codec for SyncCodec {
    type Protocol = StreamProtocol;
    type Request = Result<Request, WireError>;
    type Response = Result<Response, BadResponse>;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Self::Request>
    where
        T: AsyncRead + Unpin + Send,
    {
        let mut bytes = read_at_most(SHORT_REQUEST_LEN_MAX, io).await?;
        if bytes.len() > SHORT_REQUEST_LEN_MAX {
            let _slot = self.long_requests.try_acquire().map_err(io::Error::other)?;
            bytes.extend(read_at_most(Request::LEN_MAX - bytes.len(), io).await?);
        }
        Ok(Request::decode(&bytes))
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Self::Response>
    where
        T: AsyncRead + Unpin + Send,
    {
        let bytes = read_at_most(Response::LEN_MAX, io).await?;
        if bytes.is_empty() {
            return Ok(Err(BadResponse::Empty));
        }
        Ok(Response::decode(&bytes).map_err(BadResponse::Wire))
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, request: Self::Request) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write_frame(io, &request.map_err(io::Error::other)?).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, response: Self::Response) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write_frame(io, &response.map_err(|_| io::Error::other("no response"))?).await
    }
}

/// Reads to the end of the stream, but at most one byte more than the longest message, which shows that it is too long.
async fn read_at_most<T: AsyncRead + Unpin + Send>(len_max: usize, io: &mut T) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io.take(len_max as u64 + 1).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

async fn write_frame<F: Frame + Sync, T: AsyncWrite + Unpin + Send>(io: &mut T, message: &F) -> io::Result<()> {
    let bytes = message.encode();
    if bytes.len() > F::LEN_MAX {
        // A bug of this node, which the peer would take for misbehaviour.
        log::error!("{} not sent: {} bytes exceed the limit of {}", F::NAME, bytes.len(), F::LEN_MAX);
        return Err(io::Error::other("message too long"));
    }
    io.write_all(&bytes).await
}

/// Reads and writes bytes, of which longer messages than `LEN_MAX` are cut to one byte more.
#[derive(Clone, Debug, Default)]
pub struct BytesCodec<const LEN_MAX: usize>;

/// Reads and writes statements of instances, and empty responses. [`crate::instance`] judges their form.
pub type StatementCodec = BytesCodec<STATEMENT_LEN>;

impl<const LEN_MAX: usize> Codec for BytesCodec<LEN_MAX> {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        read_at_most(LEN_MAX, io).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        read_at_most(LEN_MAX, io).await
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, request: Vec<u8>) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        io.write_all(&request).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, response: Vec<u8>) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        io.write_all(&response).await
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use futures::io::Cursor;
    use futures::{stream, FutureExt as _, StreamExt as _, TryStreamExt as _};

    use super::*;

    #[test]
    fn few_long_requests_arrive_at_the_same_time() {
        let (codec, protocol) = (SyncCodec::default(), StreamProtocol::new("/test"));
        let begin = |len: usize| {
            let (mut codec, protocol) = (codec.clone(), protocol.clone());
            // The end of the stream does not come.
            let stream = stream::iter([Ok::<_, io::Error>(vec![0; len])]).chain(stream::pending());
            async move { codec.read_request(&protocol, &mut Box::pin(stream).into_async_read()).await }.boxed()
        };
        let mut long: Vec<_> = (0..LONG_REQUESTS_MAX).map(|_| begin(SHORT_REQUEST_LEN_MAX + 1)).collect();
        assert!(long.iter_mut().all(|request| request.now_or_never().is_none()), "they wait for the rest");
        let refused = begin(SHORT_REQUEST_LEN_MAX + 1).now_or_never();
        assert!(refused.is_some_and(|result| result.is_err()));
        assert!(begin(SHORT_REQUEST_LEN_MAX).now_or_never().is_none(), "a short one still arrives");
        let whole = |len: usize| {
            let mut codec = codec.clone();
            block_on(codec.read_request(&protocol, &mut Cursor::new(vec![0; len])))
        };
        assert!(whole(SHORT_REQUEST_LEN_MAX).is_ok() && whole(SHORT_REQUEST_LEN_MAX + 1).is_err());
        drop(long.pop());
        assert!(matches!(whole(Request::LEN_MAX + 1), Ok(Err(_))), "too long, which is penalised");
    }
}

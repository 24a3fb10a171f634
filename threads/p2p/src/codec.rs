//! Questions and answers on a stream: one message each way, its end is the stream's end.

use std::io;

use futures::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p::request_response::Codec;
use libp2p::StreamProtocol;
use p2pool_core::wire::{Frame, Request, Response, WireError};

/// Reads and writes questions and answers.
///
/// What comes in may be no message; that is passed on as an error of its own and not as a broken stream, so that
/// whoever sent it is known and blamed. `Ok(Response)` or `Ok(Request)` is all that is ever written.
#[derive(Clone, Debug, Default)]
pub struct SyncCodec;

/// Why an answer could not be read.
#[derive(Debug)]
pub enum BadResponse {
    /// The stream ended without one.
    Empty,
    /// It is no message.
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
        Ok(Request::decode(&read_frame::<Request, _>(io).await?))
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Self::Response>
    where
        T: AsyncRead + Unpin + Send,
    {
        let bytes = read_frame::<Response, _>(io).await?;
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

/// Reads to the stream's end, but one byte more than a message has at most: enough to tell that it is too long.
async fn read_frame<F: Frame, T: AsyncRead + Unpin + Send>(io: &mut T) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io.take(F::LEN_MAX as u64 + 1).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

async fn write_frame<F: Frame + Sync, T: AsyncWrite + Unpin + Send>(io: &mut T, message: &F) -> io::Result<()> {
    let bytes = message.encode();
    if bytes.len() > F::LEN_MAX {
        // Whoever made it is ours; the peer would only see a violation.
        log::error!("{} of {} bytes is not sent, at most {} may be", F::NAME, bytes.len(), F::LEN_MAX);
        return Err(io::Error::other("too long to be sent"));
    }
    io.write_all(&bytes).await
}

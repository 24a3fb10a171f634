//! Raw bytes on a stream, without any checks, and as slowly as a test wants.

use std::io;
use std::time::Duration;

use futures::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p::request_response::Codec;
use libp2p::StreamProtocol;

/// All bytes of a stream, written or read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawMessage {
    pub bytes: Vec<u8>,
    /// Time between two bytes; `None`: all at once.
    pub interval: Option<Duration>,
}

impl From<Vec<u8>> for RawMessage {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, interval: None }
    }
}

/// Reads and writes [`RawMessage`]s.
#[derive(Clone, Debug, Default)]
pub struct RawCodec;

async fn read<T: AsyncRead + Unpin + Send>(io: &mut T) -> io::Result<RawMessage> {
    let mut bytes = Vec::new();
    io.read_to_end(&mut bytes).await?;
    Ok(bytes.into())
}

async fn write<T: AsyncWrite + Unpin + Send>(io: &mut T, message: RawMessage) -> io::Result<()> {
    let Some(interval) = message.interval else { return io.write_all(&message.bytes).await };
    for byte in message.bytes {
        io.write_all(&[byte]).await?;
        io.flush().await?;
        tokio::time::sleep(interval).await;
    }
    Ok(())
}

impl Codec for RawCodec {
    type Protocol = StreamProtocol;
    type Request = RawMessage;
    type Response = RawMessage;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<RawMessage>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<RawMessage>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io).await
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, message: RawMessage) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, message).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, message: RawMessage) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, message).await
    }
}

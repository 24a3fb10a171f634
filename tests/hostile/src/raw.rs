//! Bytes on a stream as they are: nothing is checked, and nothing need come quickly.

use std::io;
use std::time::Duration;

use futures::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p::request_response::Codec;
use libp2p::StreamProtocol;

/// What is written to a stream, or was read from it to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Time between any two of them; none: all at once.
    pub pace: Option<Duration>,
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, pace: None }
    }
}

/// Reads and writes [`Bytes`].
#[derive(Clone, Debug, Default)]
pub struct Raw;

async fn read<T: AsyncRead + Unpin + Send>(io: &mut T) -> io::Result<Bytes> {
    let mut bytes = Vec::new();
    io.read_to_end(&mut bytes).await?;
    Ok(bytes.into())
}

async fn write<T: AsyncWrite + Unpin + Send>(io: &mut T, what: Bytes) -> io::Result<()> {
    let Some(pace) = what.pace else { return io.write_all(&what.bytes).await };
    for byte in what.bytes {
        io.write_all(&[byte]).await?;
        io.flush().await?;
        tokio::time::sleep(pace).await;
    }
    Ok(())
}

impl Codec for Raw {
    type Protocol = StreamProtocol;
    type Request = Bytes;
    type Response = Bytes;

    async fn read_request<T: AsyncRead + Unpin + Send>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Bytes> {
        read(io).await
    }

    async fn read_response<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Bytes> {
        read(io).await
    }

    async fn write_request<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        what: Bytes,
    ) -> io::Result<()> {
        write(io, what).await
    }

    async fn write_response<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        what: Bytes,
    ) -> io::Result<()> {
        write(io, what).await
    }
}

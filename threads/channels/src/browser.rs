//! The web relay's inbox: connections on the miners' port whose first bytes are HTTP.

use std::net::{SocketAddr, TcpStream};

use crossbeam_channel::{Sender, TrySendError};

use super::Wake;

/// A connection that begins with HTTP; all its bytes are still unread in the socket.
#[derive(Debug)]
pub struct BrowserConnection {
    /// The socket, non-blocking, registered with no poll.
    pub socket: TcpStream,
    /// The client's address.
    pub peer: SocketAddr,
}

/// Hands browser connections to the relay and wakes it.
#[derive(Clone)]
pub struct BrowserSender {
    inbox: Sender<BrowserConnection>,
    wake: Wake,
}

impl BrowserSender {
    /// Joins an inbox with the function that wakes its reader.
    pub fn new(inbox: Sender<BrowserConnection>, wake: Wake) -> Self {
        Self { inbox, wake }
    }

    /// Hands a connection over; never blocks.
    ///
    /// # Errors
    /// Returns the connection if too many wait already, or the relay has ended.
    pub fn try_send(&self, connection: BrowserConnection) -> Result<(), BrowserConnection> {
        self.inbox.try_send(connection).map_err(TrySendError::into_inner)?;
        (self.wake)();
        Ok(())
    }
}

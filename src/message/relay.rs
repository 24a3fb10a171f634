//! The web relay's inbox: connections on the miners' port that turned out to be browsers.

use std::net::{SocketAddr, TcpStream};

use crossbeam_channel::{Sender, TrySendError};

use super::Wake;

/// A connection whose first bytes are HTTP; they, and all others, are still unread in the socket.
#[derive(Debug)]
pub struct WebClient {
    /// The socket, not blocking, in no event queue any more.
    pub socket: TcpStream,
    /// The client.
    pub peer: SocketAddr,
}

/// Hands browsers to the relay and wakes it.
#[derive(Clone)]
pub struct RelaySender {
    inbox: Sender<WebClient>,
    wake: Wake,
}

impl RelaySender {
    /// Joins an inbox with what wakes its reader.
    pub fn new(inbox: Sender<WebClient>, wake: Wake) -> Self {
        Self { inbox, wake }
    }

    /// Hands over; never blocks.
    ///
    /// # Errors
    /// Gives the client back if the relay has too many waiting already, or is gone.
    pub fn try_send(&self, client: WebClient) -> Result<(), WebClient> {
        self.inbox.try_send(client).map_err(TrySendError::into_inner)?;
        (self.wake)();
        Ok(())
    }
}

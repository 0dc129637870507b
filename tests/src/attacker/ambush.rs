//! A hostile peer that waits to be dialled: a node asks those alone for addresses whom it has dialled itself.

use std::{io, net::SocketAddr};

use rpc::client::Client;
use tokio::{net::TcpListener, task::spawn_blocking, time::timeout};

use super::{Manners, PATIENCE, Target, line, session::Session};
use crate::answers::answer;

/// Where the hostile peer waits.
#[derive(Debug)]
pub struct Ambush {
    listener: TcpListener,
    target: Target,
}

impl Ambush {
    /// Listens at an address of its own.
    ///
    /// # Errors
    /// The system's.
    pub async fn lay(target: &Target) -> io::Result<Self> {
        let listener = TcpListener::bind(SocketAddr::new(line::next_address(), 0)).await?;
        Ok(Self { listener, target: target.clone() })
    }

    /// Has the node dial it once, and takes the connection with an identity that nobody has met.
    ///
    /// # Errors
    /// Where the node does not dial, or does not go on.
    pub async fn meet(&self, node: &Client, manners: Manners) -> io::Result<Session> {
        let (node, address) = (node.clone(), self.listener.local_addr()?.to_string());
        let dial = move || answer(node.addnode(address, "onetry".into())).map_err(io::Error::other);
        spawn_blocking(dial).await.map_err(io::Error::other)??;
        let (socket, _) =
            timeout(PATIENCE, self.listener.accept()).await.map_err(|_| io::ErrorKind::TimedOut)??;
        timeout(PATIENCE, Session::accept(socket, &self.target, manners))
            .await
            .map_err(|_| io::ErrorKind::TimedOut)?
    }
}

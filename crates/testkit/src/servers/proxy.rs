//! A TCP proxy, to break the connection to a server that is itself well.

use std::net::SocketAddr;
use std::sync::mpsc::Sender as Acknowledge;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::{free_port, listen};

/// What the proxy is told to do.
enum Command {
    Cut,
    Stall,
    Resume,
}

/// A TCP proxy in front of a server, on a thread of its own. It ends when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    commands: mpsc::UnboundedSender<(Command, Acknowledge<()>)>,
}

impl Proxy {
    /// A proxy to a server's `host:port`.
    pub fn to(server: &str) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let (commands, received) = mpsc::unbounded_channel();
        let server = server.to_owned();
        std::thread::spawn(move || super::block_on(serve(address, server, received)));
        let proxy = Self { address, commands };
        proxy.tell(Command::Resume);
        proxy
    }

    /// Its `host:port`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Closes all connections and refuses new ones.
    pub fn cut(&self) {
        self.tell(Command::Cut);
    }

    /// Accepts connections and keeps those there are, but forwards nothing.
    pub fn stall(&self) {
        self.tell(Command::Stall);
    }

    /// Forwards again, also what came in meanwhile.
    pub fn resume(&self) {
        self.tell(Command::Resume);
    }

    /// Returns when it is done.
    fn tell(&self, command: Command) {
        let (done, wait) = std::sync::mpsc::channel();
        self.commands.send((command, done)).unwrap();
        wait.recv().unwrap();
    }
}

async fn serve(
    address: SocketAddr,
    server: String,
    mut commands: mpsc::UnboundedReceiver<(Command, Acknowledge<()>)>,
) {
    let mut listener = None;
    let (open, _) = watch::channel(true);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            command = commands.recv() => {
                let Some((command, done)) = command else { return };
                if matches!(command, Command::Cut) {
                    listener = None;
                    connections.shutdown().await;
                } else if listener.is_none() {
                    listener = Some(listen(address).await);
                }
                open.send_replace(!matches!(command, Command::Stall));
                let _ = done.send(());
            }
            client = accept(listener.as_ref()) => {
                connections.spawn(forward(client, server.clone(), open.subscribe()));
            }
        }
    }
}

/// The next connection; none comes where nobody listens.
async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    loop {
        match listener {
            None => std::future::pending().await,
            Some(listener) => {
                if let Ok((client, _)) = listener.accept().await {
                    return client;
                }
            }
        }
    }
}

/// Connects a client with the server until either hangs up.
async fn forward(client: TcpStream, server: String, mut open: watch::Receiver<bool>) {
    let _ = open.wait_for(|open| *open).await;
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    let (client_reads, client_writes) = client.into_split();
    let (server_reads, server_writes) = server.into_split();
    let _ = tokio::join!(
        pump(client_reads, server_writes, open.clone()),
        pump(server_reads, client_writes, open),
    );
}

/// Moves bytes one way while the line is open.
async fn pump(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut open: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let mut bytes = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut bytes).await.unwrap_or(0);
        let _ = open.wait_for(|open| *open).await;
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(bytes.get(..read).unwrap_or_default()).await?;
    }
}

//! The task behind a connection: moves its bytes, hands on its notifications, ends with its handle.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_postgres::{AsyncMessage, Client, Connection};

/// What carries a [`Client`]'s questions and answers. Dropped, it ends the connection at once, and every question on it
/// with an error.
pub struct Wire {
    task: JoinHandle<String>,
    /// Why it ended, once it has.
    ended: Option<String>,
    notified: Arc<Notify>,
    encrypted: bool,
    server_version: String,
}

impl Wire {
    /// Starts the task.
    pub(super) fn start<S, T>(connection: Connection<S, T>, encrypted: bool) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let server_version = connection.parameter("server_version").unwrap_or("unknown").to_owned();
        let notified = Arc::new(Notify::new());
        let task = tokio::spawn(carry(connection, Arc::clone(&notified)));
        Self { task, ended: None, notified, encrypted, server_version }
    }

    /// Waits for a notification on any channel that was listened to. Several that came since the last call are one.
    pub async fn notified(&self) {
        self.notified.notified().await;
    }

    /// Whether TLS is in use.
    pub fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// The server's version as it says it, such as "15.19 (Debian 15.19-0+deb12u1)"; "unknown" if it does not.
    pub fn server_version(&self) -> &str {
        &self.server_version
    }

    /// Whether the connection has ended.
    pub fn is_over(&self) -> bool {
        self.task.is_finished()
    }

    /// Waits for the connection's end, and says why it came. May be called again, and be dropped while it waits.
    pub async fn ended(&mut self) -> &str {
        if self.ended.is_none() {
            let why = (&mut self.task).await.unwrap_or_else(|_| "it was given up".to_owned());
            self.ended = Some(why);
        }
        self.ended.as_deref().unwrap_or_default()
    }

    /// Says good-bye to the server, and waits until that is sent, for `patience` at most.
    pub async fn close(mut self, client: Client, patience: Duration) {
        drop(client);
        // Dropped after that, it ends in any case.
        let _ = tokio::time::timeout(patience, self.ended()).await;
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Wire");
        shown.field("encrypted", &self.encrypted).field("over", &self.is_over()).finish_non_exhaustive()
    }
}

/// Until the client is dropped or the connection fails; says why it ended.
async fn carry<S, T>(mut connection: Connection<S, T>, notified: Arc<Notify>) -> String
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        match poll_fn(|context| connection.poll_message(context)).await {
            Some(Ok(AsyncMessage::Notification(_))) => notified.notify_one(),
            Some(Ok(AsyncMessage::Notice(notice))) => tracing::debug!("the database says: {}", notice.message()),
            Some(Ok(_)) => {}
            Some(Err(error)) => return super::explain::chain(&error),
            None => return "it was closed".to_owned(),
        }
    }
}

//! The real binary as a process of its own, which can be killed, interrupted and misused.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rgsd::synth::PeerHandle;
use serde_json::Value;

use super::world::address;
use super::{DEADLINE, World, eventually};

/// `rgsd`, with nothing of this process's environment that could set it up.
fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rgsd"));
    command.env_clear().env("RUST_BACKTRACE", "1").stdin(Stdio::null());
    command
}

/// What a process that ended by itself has said.
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs `rgsd` to its end, which comes soon.
pub fn rgsd<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Run {
    rgsd_with(|command| command.args(arguments))
}

/// The same, with its standard input or its environment, too.
pub fn rgsd_with(set_up: impl FnOnce(&mut Command) -> &mut Command) -> Run {
    let mut command = command();
    set_up(&mut command);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
    let started = Instant::now();
    let status = loop {
        match child.try_wait().expect("waited") {
            Some(status) => break Some(status),
            None if started.elapsed() > DEADLINE => break None,
            None => thread::sleep(Duration::from_millis(5)),
        }
    };
    if status.is_none() {
        child.kill().expect("killed");
    }
    let output = child.wait_with_output().expect("waited");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert!(status.is_some(), "it did not end:\n{stdout}\n{stderr}");
    Run { code: output.status.code(), stdout, stderr }
}

/// A running `rgsd`; killed when dropped.
pub struct Process {
    child: Child,
    said: Arc<Mutex<String>>,
}

impl Process {
    /// Runs it with these arguments, and listens to all that it says.
    pub fn start<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Self {
        Self::start_with(|command| command.args(arguments))
    }

    /// The same with an environment, too.
    pub fn start_with(set_up: impl FnOnce(&mut Command) -> &mut Command) -> Self {
        let mut command = command();
        let command = set_up(&mut command).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("started");
        let said = Arc::<Mutex<String>>::default();
        listen(child.stdout.take().expect("piped"), Arc::clone(&said));
        listen(child.stderr.take().expect("piped"), Arc::clone(&said));
        Self { child, said }
    }

    /// Runs the service with a configuration file.
    pub fn serve(config: &Path) -> Self {
        Self::start([OsStr::new("serve"), OsStr::new("--config"), config.as_os_str()])
    }

    /// Everything that it printed and logged so far.
    pub fn said(&self) -> String {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// `http://host:port` of the service, once it says where it serves wallets.
    pub async fn url(&self) -> String {
        let url = || {
            let said = self.said();
            let at = said.find("http://127.0.0.1")?;
            let end = said[at..].find("/snapshot/0")?;
            Some(said[at..at + end].to_owned())
        };
        eventually("it says where it serves", || self.said(), || url().is_some()).await;
        url().expect("said")
    }

    /// Sends it a signal, by its name without SIG.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", self.child.id())).status();
        assert!(sent.expect("a shell").success(), "it is gone already:\n{}", self.said());
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().expect("it is still there");
        self.child.wait().expect("waited");
    }

    /// Waits until it has ended; after how long, and how.
    pub async fn ended(&mut self) -> (Duration, ExitStatus) {
        let started = Instant::now();
        let (child, said) = (&mut self.child, &self.said);
        let mut status = None;
        eventually(
            "it ends",
            || said.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            || {
                status = child.try_wait().expect("waited");
                status.is_some()
            },
        )
        .await;
        (started.elapsed(), status.expect("ended"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Neither matters to a process that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listen(stream: impl Read + Send + 'static, said: Arc<Mutex<String>>) {
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
            said.push_str(&line);
            said.push('\n');
        }
    });
}

/// The state of a service, as it tells the world.
pub async fn status(url: &str) -> Value {
    let answer = reqwest::get(format!("{url}/status.json")).await.expect("an answer");
    serde_json::from_slice(&answer.bytes().await.expect("a body")).expect("JSON")
}

impl World {
    /// Writes a configuration file for the real binary.
    pub fn config_file<'a>(&self, interval: &str, peers: impl IntoIterator<Item = &'a PeerHandle>) -> PathBuf {
        self.config_file_in(self.data_dir(), interval, peers, "")
    }

    /// The same for a data directory of its own, with further lines.
    pub fn config_file_in<'a>(
        &self,
        data_dir: &Path,
        interval: &str,
        peers: impl IntoIterator<Item = &'a PeerHandle>,
        more: &str,
    ) -> PathBuf {
        let peers: Vec<String> = peers.into_iter().map(|peer| address(peer).to_string()).collect();
        std::fs::create_dir_all(data_dir).expect("a directory");
        let file = data_dir.join("rgsd.toml");
        let text = format!(
            "network = \"regtest\"\ndata_dir = {data_dir:?}\npeers = {peers:?}\ninterval = {interval:?}\n\
             listen = \"127.0.0.1:0\"\nbitcoind.rest_url = {:?}\n{more}",
            self.bitcoind_url(),
        );
        std::fs::write(&file, text).expect("written");
        file
    }
}

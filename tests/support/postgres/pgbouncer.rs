//! A pgbouncer in transaction mode before a cluster: what many managed databases put there.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::place::{as_postgres, base, certificates, free_port, give_to_postgres, wait_until};
use super::{Cluster, Database, PASSWORD, ROLE, ServerCertificate};

/// A running pgbouncer; stopped and removed when dropped.
pub struct Pgbouncer {
    dir: PathBuf,
    port: u16,
    tls: bool,
    process: Child,
}

impl Pgbouncer {
    /// Starts one before a cluster, with TLS to its clients or without. It trusts every client, and keeps at most
    /// three connections a database to the server.
    pub fn start(cluster: &Cluster, tls: bool) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        let dir = base().join(format!("pgbouncer-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir(&dir).expect("a new directory");
        give_to_postgres(&dir);
        let port = free_port();
        fs::write(dir.join("users.txt"), format!("\"{ROLE}\" \"{PASSWORD}\"\n\"postgres\" \"\"\n")).expect("written");
        fs::write(dir.join("pgbouncer.ini"), settings(cluster, &dir, port, tls)).expect("written");
        let log = fs::File::create(dir.join("log")).expect("a log");
        let mut command = as_postgres(&program());
        command.arg(dir.join("pgbouncer.ini")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut process = command.spawn().expect("pgbouncer started");
        wait_until("pgbouncer accepts connections", || {
            let ended = process.try_wait().expect("a child").is_some();
            assert!(!ended, "pgbouncer ended: {}", fs::read_to_string(dir.join("log")).unwrap_or_default());
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Self { dir, port, tls, process }
    }

    /// A database's URL by way of this pgbouncer.
    pub fn url(&self, database: &Database) -> String {
        let tls = match self.tls {
            true => format!("sslmode=verify-full&sslrootcert={}", certificates().ca.display()),
            false => "sslmode=disable".to_owned(),
        };
        let password = PASSWORD.replace(' ', "%20");
        format!("postgres://{ROLE}:{password}@localhost:{}/{}?{tls}", self.port, database.name)
    }

    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Pgbouncer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn settings(cluster: &Cluster, dir: &Path, port: u16, tls: bool) -> String {
    let mut lines = vec![
        "[databases]".to_owned(),
        // By TCP, as it mostly is: a session's settings of TCP mean nothing elsewhere.
        format!("* = host=127.0.0.1 port={}", cluster.port()),
        "[pgbouncer]".to_owned(),
        format!("listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir ="),
        format!("auth_type = trust\nauth_file = {}", dir.join("users.txt").display()),
        format!("pidfile = {}", dir.join("pgbouncer.pid").display()),
        "pool_mode = transaction\ndefault_pool_size = 3\nmax_client_conn = 200".to_owned(),
    ];
    if tls {
        let (certificate, key) = certificates().server(ServerCertificate::Good);
        let own_key = dir.join("server.key");
        fs::copy(key, &own_key).expect("copied");
        give_to_postgres(&own_key);
        lines.push(format!("client_tls_sslmode = require\nclient_tls_key_file = {}", own_key.display()));
        lines.push(format!("client_tls_cert_file = {}", certificate.display()));
    }
    lines.join("\n") + "\n"
}

fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let found = places.map(|place| place.join("pgbouncer")).find(|program| program.exists());
    found.expect("this test needs pgbouncer: install Debian's package pgbouncer (make tools does)")
}

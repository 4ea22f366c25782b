//! The real PostgreSQL of the tests: private clusters from the system's binaries, with TLS, that nothing outlives.
//!
//! [`Cluster::shared`] is the cluster that all tests of a process share, each in a [`Database`] of its own.
//! [`Cluster::start`] starts one to break: to stop, freeze, or kill parts of. Where the tests run as root, which
//! PostgreSQL refuses, its processes run as the user `postgres`. Everything lies in one directory a test process, and
//! a watchdog ends and removes it when that process ends, however it ends.
//!
//! Two roles can log in: `postgres`, the superuser, by the Unix socket without a password (that is how [`Cluster::sql`]
//! works), and `rgsd`, with the password [`PASSWORD`], who owns the databases.

#![allow(dead_code, unused_imports)] // Each test binary uses its part of it.

#[path = "postgres/certificates.rs"]
mod certificates;
#[path = "postgres/pgbouncer.rs"]
mod pgbouncer;
#[path = "postgres/place.rs"]
mod place;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

pub use certificates::{Certificates, ServerCertificate};
pub use pgbouncer::Pgbouncer;
pub use place::{certificates, children_of, free_port, give_to_postgres, signal, wait_until};

use place::{as_postgres, base, binaries, succeed};

/// The role that owns the databases, and its password.
pub const ROLE: &str = "rgsd";
pub const PASSWORD: &str = "archive secret";

/// How a cluster differs from the usual one.
#[derive(Clone, Debug)]
pub struct Options {
    /// The certificate that it shows; `None`: no TLS.
    pub tls: Option<ServerCertificate>,
    /// The lines of `pg_hba.conf` for TCP; the Unix socket always trusts.
    pub hba: Vec<String>,
    /// Further lines of `postgresql.conf`.
    pub conf: Vec<String>,
}

impl Default for Options {
    /// TLS, and a password for everyone.
    fn default() -> Self {
        let hba = vec!["host all all all scram-sha-256".to_owned()];
        Self { tls: Some(ServerCertificate::Good), hba, conf: Vec::new() }
    }
}

/// A running PostgreSQL; stopped and removed when dropped.
pub struct Cluster {
    dir: PathBuf,
    port: u16,
    postmaster: Mutex<Option<Child>>,
    tls: bool,
}

/// A database of its own in a cluster, empty, owned by [`ROLE`].
#[derive(Clone, Debug)]
pub struct Database {
    pub name: String,
    /// For [`ROLE`], with its password; over TCP, verified, where the cluster has TLS.
    pub url: String,
    port: u16,
    socket: PathBuf,
}

impl Cluster {
    /// The one that all tests of this process share. Not to be broken.
    pub fn shared() -> &'static Cluster {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(|| Cluster::start(Options::default()))
    }

    /// Starts a new one.
    pub fn start(options: Options) -> Cluster {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        let dir = base().join(format!("cluster-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir(&dir).expect("a new directory");
        give_to_postgres(&dir);
        succeed(Command::new("cp").arg("-a").arg(template()).arg(dir.join("data")));
        let cluster = Cluster { dir, port: free_port(), postmaster: Mutex::new(None), tls: options.tls.is_some() };
        cluster.configure(&options);
        cluster.start_again();
        cluster.sql(&format!("CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'"));
        cluster
    }

    /// A new, empty database.
    pub fn database(&self) -> Database {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        let name = format!("archive_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        self.sql(&format!("CREATE DATABASE {name} OWNER {ROLE} TEMPLATE template0"));
        let tls = match self.tls {
            true => format!("sslmode=verify-full&sslrootcert={}", certificates().ca.display()),
            false => "sslmode=disable".to_owned(),
        };
        let password = PASSWORD.replace(' ', "%20");
        let url = format!("postgres://{ROLE}:{password}@localhost:{}/{name}?{tls}", self.port);
        Database { name, url, port: self.port, socket: self.socket() }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The directory of its Unix socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("socket")
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// Runs statements as the superuser, in the database `postgres`.
    pub fn sql(&self, sql: &str) {
        self.rows(sql);
    }

    /// Runs statements as the superuser, in the database `postgres`; the rows' fields as text, NULL as nothing.
    pub fn rows(&self, sql: &str) -> Vec<Vec<String>> {
        psql(&self.socket(), self.port, "postgres", sql)
    }

    /// Ends it at once, as a crash would: `pg_ctl stop -m immediate`.
    pub fn stop_immediate(&self) {
        let mut postmaster = self.postmaster.lock().expect("no panic while locked");
        if let Some(mut child) = postmaster.take() {
            // A frozen one would not hear of it.
            let mut family = children_of(child.id());
            family.push(child.id());
            signal("CONT", &family);
            signal("QUIT", &[child.id()]);
            child.wait().expect("waited");
        }
    }

    /// Starts it on the same port and data as before, and waits until it accepts connections.
    pub fn start_again(&self) {
        let log = OpenOptions::new().create(true).append(true).open(self.dir.join("log")).expect("a log");
        let mut command = as_postgres(&binaries().join("postgres"));
        command.arg("-D").arg(self.dir.join("data")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut child = command.spawn().expect("postgres started");
        let pid_file = self.dir.join("data/postmaster.pid");
        wait_until("PostgreSQL accepts connections", || {
            let ended = child.try_wait().expect("a child").is_some();
            assert!(!ended, "PostgreSQL ended: {}", self.log());
            let status = fs::read_to_string(&pid_file).unwrap_or_default();
            status.starts_with(&format!("{}\n", child.id())) && status.contains("\nready")
        });
        let before = self.postmaster.lock().expect("no panic while locked").replace(child);
        assert!(before.is_none(), "it was not stopped");
    }

    /// Stops it, and starts it as a hot standby: it goes on from its own log, for ever. Wants `wal_level = replica`.
    pub fn become_standby(&self) {
        self.sql("CHECKPOINT");
        self.stop_immediate();
        let signal = self.dir.join("data/standby.signal");
        File::create(&signal).expect("created");
        give_to_postgres(&signal);
        self.start_again();
    }

    /// Stops the clock for it: it keeps its connections, and answers nothing until [`thaw`](Self::thaw).
    pub fn freeze(&self) {
        let postmaster = self.pid();
        // The postmaster first, so that no further process appears.
        signal("STOP", &[postmaster]);
        signal("STOP", &children_of(postmaster));
    }

    pub fn thaw(&self) {
        let postmaster = self.pid();
        signal("CONT", &children_of(postmaster));
        signal("CONT", &[postmaster]);
    }

    /// `kill -9` of the backends that serve an application; returns how many there were. PostgreSQL then throws
    /// everyone out and recovers, which this waits for.
    pub fn kill_backends(&self, application_name: &str) -> usize {
        let sql = format!("SELECT pid FROM pg_stat_activity WHERE application_name = '{application_name}'");
        let pids: Vec<u32> = self.rows(&sql).iter().map(|row| row[0].parse().expect("a process id")).collect();
        signal("KILL", &pids);
        let gone = || pids.iter().all(|pid| !children_of(self.pid()).contains(pid));
        wait_until("the killed backends are gone", gone);
        wait_until("PostgreSQL has recovered", || {
            try_psql(&self.socket(), self.port, "postgres", "SELECT 1").is_ok()
        });
        pids.len()
    }

    fn pid(&self) -> u32 {
        self.postmaster.lock().expect("no panic while locked").as_ref().expect("it runs").id()
    }

    fn configure(&self, options: &Options) {
        let (data, socket) = (self.dir.join("data"), self.socket());
        fs::create_dir(&socket).expect("a new directory");
        give_to_postgres(&socket);
        let mut lines = vec![
            format!("port = {}", self.port),
            "listen_addresses = '127.0.0.1'".to_owned(),
            format!("unix_socket_directories = '{}'", socket.display()),
            // Kept in the data directory, so that a kill leaves nothing in /dev/shm.
            "dynamic_shared_memory_type = mmap".to_owned(),
            "fsync = off\nfull_page_writes = off\nshared_buffers = 32MB\nmax_connections = 100".to_owned(),
            "wal_level = minimal\nmax_wal_senders = 0\njit = off\nlog_line_prefix = '%m [%p] %a '".to_owned(),
        ];
        if let Some(certificate) = options.tls {
            let (cert, key) = certificates().server(certificate);
            let own_key = data.join("server.key");
            fs::copy(key, &own_key).expect("copied");
            give_to_postgres(&own_key);
            lines.push(format!("ssl = on\nssl_cert_file = '{}'\nssl_key_file = 'server.key'", cert.display()));
            lines.push(format!("ssl_ca_file = '{}'", certificates().ca.display()));
        }
        lines.extend(options.conf.iter().cloned());
        let mut conf = OpenOptions::new().append(true).open(data.join("postgresql.conf")).expect("initdb wrote it");
        writeln!(conf, "{}", lines.join("\n")).expect("written");
        let hba = format!("local all all trust\n{}\n", options.hba.join("\n"));
        fs::write(data.join("pg_hba.conf"), hba).expect("written");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop_immediate();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl Database {
    /// Runs statements as the superuser.
    pub fn sql(&self, sql: &str) {
        self.rows(sql);
    }

    /// Runs statements as the superuser; the rows' fields as text, NULL as nothing.
    pub fn rows(&self, sql: &str) -> Vec<Vec<String>> {
        psql(&self.socket, self.port, &self.name, sql)
    }

    /// What a query for one field finds.
    pub fn value(&self, sql: &str) -> String {
        match self.rows(sql).as_mut_slice() {
            [row] if row.len() == 1 => std::mem::take(&mut row[0]),
            rows => panic!("not one field: {rows:?}"),
        }
    }
}

fn psql(socket: &Path, port: u16, database: &str, sql: &str) -> Vec<Vec<String>> {
    try_psql(socket, port, database, sql).unwrap_or_else(|why| panic!("{sql}: {why}"))
}

fn try_psql(socket: &Path, port: u16, database: &str, sql: &str) -> Result<Vec<Vec<String>>, String> {
    let mut command = Command::new(binaries().join("psql"));
    // Characters that no field holds, so that fields and rows may.
    command.args(["-X", "-q", "-A", "-t", "-F", "\x1f", "-R", "\x1e", "-v", "ON_ERROR_STOP=1", "-U", "postgres"]);
    command.arg("-h").arg(socket).args(["-p", &port.to_string(), "-d", database, "-c", sql]);
    let output = command.stdin(Stdio::null()).output().expect("psql started");
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let text = text.trim_end_matches(['\n', '\x1e']);
    let rows = text.split('\x1e').filter(|row| !row.is_empty());
    Ok(rows.map(|row| row.split('\x1f').map(str::to_owned).collect()).collect())
}

/// A cluster's data directory as `initdb` makes it, to be copied.
fn template() -> &'static Path {
    static TEMPLATE: OnceLock<PathBuf> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let dir = base().join("template");
        let log = File::create(base().join("initdb.log")).expect("a log");
        let mut initdb = as_postgres(&binaries().join("initdb"));
        initdb.args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]).arg("-D").arg(&dir);
        succeed(initdb.stdout(log));
        dir
    })
}

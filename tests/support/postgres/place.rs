//! Where the clusters live: the system's binaries, the directory of this test process, and the watchdog that clears up
//! behind it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use tokio::net::TcpSocket;

use super::Certificates;

/// Waits for the end of its input, which comes with the end of the test process; then ends what runs in the directory,
/// frozen or not, and removes it. Ends processes by their ids alone.
const WATCHDOG: &str = r#"
cat >/dev/null
pids=
for file in "$1"/*/data/postmaster.pid; do
    [ -f "$file" ] && read -r pid <"$file" && pids="$pids $pid" && kill -CONT "$pid" && kill -QUIT "$pid"
done
for file in "$1"/*/pgbouncer.pid; do
    [ -f "$file" ] && read -r pid <"$file" && kill -KILL "$pid"
done
for pid in $pids; do
    n=0
    while kill -0 "$pid" && [ $n -lt 100 ]; do n=$((n + 1)); sleep 0.1; done
done
n=0
until rm -rf "$1" || [ $n -ge 50 ]; do n=$((n + 1)); sleep 0.1; done
"#;

/// The directory of this test process; its user is ours, and anyone may look into it.
pub fn base() -> &'static Path {
    static BASE: OnceLock<(PathBuf, Child)> = OnceLock::new();
    let (dir, _watchdog) = BASE.get_or_init(|| {
        let dir = tempfile::Builder::new().prefix("rgsd-pg-").tempdir().expect("a temporary directory").keep();
        // A group of its own: Ctrl-C ends the tests, and must not end what clears up behind them.
        let watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, "watchdog"])
            .arg(&dir)
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).expect("our own directory");
        // The rest of it is made by us and by the user postgres.
        give_to_postgres(&dir);
        (dir, watchdog)
    });
    dir
}

/// The certificates of this test process.
pub fn certificates() -> &'static Certificates {
    static CERTIFICATES: OnceLock<Certificates> = OnceLock::new();
    CERTIFICATES.get_or_init(|| {
        let dir = base().join("certificates");
        fs::create_dir(&dir).expect("a new directory");
        Certificates::make(&dir)
    })
}

/// Where the newest PostgreSQL's programs are.
pub fn binaries() -> &'static Path {
    static BINARIES: OnceLock<PathBuf> = OnceLock::new();
    BINARIES.get_or_init(|| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let places = versions.map(|version| version.path().join("bin")).chain(std::env::split_paths(&path));
        let whole = |place: &PathBuf| ["postgres", "initdb", "psql"].iter().all(|name| place.join(name).exists());
        let newest = places.filter(whole).filter_map(|place| Some((version(&place)?, place))).max();
        match newest {
            Some((13.., place)) => place,
            Some((old, place)) => panic!("{} has PostgreSQL {old}; install 13 or later", place.display()),
            None => panic!("this test needs PostgreSQL: install Debian's package postgresql (make tools does)"),
        }
    })
}

/// The major version: 15 of "postgres (PostgreSQL) 15.19 (Debian …)".
fn version(place: &Path) -> Option<u32> {
    let output = Command::new(place.join("postgres")).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let word = text.split_whitespace().find(|word| word.starts_with(|first: char| first.is_ascii_digit()))?;
    word.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Whom PostgreSQL's processes run as, where that is not us: user and group.
fn postgres_user() -> Option<(u32, u32)> {
    static USER: OnceLock<Option<(u32, u32)>> = OnceLock::new();
    *USER.get_or_init(|| {
        let ours = fs::metadata("/proc/self").expect("Linux").uid();
        let id = |which: &str| {
            let output = Command::new("id").args([which, "postgres"]).output().ok()?;
            String::from_utf8(output.stdout).ok()?.trim().parse().ok()
        };
        let unknown = "PostgreSQL refuses to run as root, and there is no user postgres: install postgresql";
        (ours == 0).then(|| id("-u").zip(id("-g")).expect(unknown))
    })
}

/// A command in a process group of its own, as the user whom PostgreSQL accepts.
pub fn as_postgres(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(base()).env("HOME", base()).process_group(0);
    if let Some((user, group)) = postgres_user() {
        command.uid(user).gid(group);
    }
    command
}

/// Makes a file or directory belong to whom PostgreSQL runs as.
pub fn give_to_postgres(path: &Path) {
    if let Some((user, group)) = postgres_user() {
        chown(path, Some(user), Some(group)).expect("root may");
    }
}

/// Runs a command that must not fail.
pub fn succeed(command: &mut Command) {
    let output = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().and_then(Child::wait_with_output);
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Sends a signal to processes that may have ended meanwhile.
pub fn signal(name: &str, pids: &[u32]) {
    let mut command = Command::new("sh");
    command.args(["-c", r#"for pid in "$@"; do kill -"$0" "$pid" 2>/dev/null; done; true"#, name]);
    succeed(command.args(pids.iter().map(u32::to_string)));
}

/// The processes that a process has started.
pub fn children_of(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").expect("Linux").flatten();
    let pids = processes.filter_map(|process| process.file_name().to_str()?.parse::<u32>().ok());
    let child = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // After the name, which may hold anything: state and parent.
        let (_, rest) = stat.rsplit_once(')')?;
        rest.split_whitespace().nth(1)?.parse::<u32>().ok()
    };
    pids.filter(|pid| child(pid) == Some(parent)).collect()
}

/// A TCP port that nobody uses, and that no other call in this process gets: for servers that are stopped and started
/// again, so it is from below the range that the system gives to connections.
///
/// It is looked at without listening: while another thread starts a process, a socket that was closed here may live on
/// for a moment in the new one, and one that listened would keep the port.
pub fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().expect("no panic while locked");
    let free = |port: &u16| {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).expect("a socket may");
        socket.bind(([127, 0, 0, 1], *port).into()).is_ok()
    };
    let ports = std::iter::repeat_with(|| rand::random_range(20_000..32_000)).take(1_000);
    let port = ports.filter(|port| !given.contains(port)).find(free).expect("a free port");
    given.insert(port);
    port
}

/// Waits for a condition, for a minute at most.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "after a minute still not: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

//! nginx and Caddy as an operator runs them: with a file of ours, at another address; nginx with a certificate made on the
//! spot, Caddy without TLS, which it would fetch a certificate for.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use super::eventually_told;

/// A running web server; killed when dropped.
pub struct Proxy {
    child: Child,
    folder: TempDir,
    /// Scheme, address, port.
    base: String,
}

/// Where it serves: on an address of its own, so that nobody else has these ports, nor gets them a moment before.
const TLS_PORT: u16 = 8443;
const PLAIN_PORT: u16 = 8080;

fn own_address() -> Ipv4Addr {
    static PROXIES: AtomicU32 = AtomicU32::new(1);
    let (process, proxy) = (std::process::id() & 0x3fff, PROXIES.fetch_add(1, Ordering::Relaxed) & 0xff);
    Ipv4Addr::from_bits(Ipv4Addr::new(127, 64, 0, 0).to_bits() | process << 8 | proxy)
}

impl Proxy {
    /// Starts it with a file of `deploy/`, in which `replaced` is replaced, and waits until it serves.
    pub async fn nginx(file: &str, replaced: &[(&str, String)]) -> Self {
        let folder = tempfile::Builder::new().prefix("rgsd-nginx-").tempdir().expect("a folder");
        let address = own_address();
        certificate(folder.path());
        let conf = write(folder.path(), &site(file, folder.path(), address, replaced));
        let test = command(folder.path(), &conf).arg("-t").output().expect(MISSING);
        let said = String::from_utf8_lossy(&test.stderr);
        let concerns = said.contains("[warn]") || said.contains("[emerg]");
        assert!(test.status.success() && !concerns, "nginx -t: {said}");
        let child = command(folder.path(), &conf).stderr(Stdio::null()).spawn().expect(MISSING);
        let nginx = Self { child, folder, base: format!("https://{address}:{TLS_PORT}") };
        nginx.serves((address, TLS_PORT)).await
    }

    /// Starts Caddy with its file, in which `replaced` is replaced, and waits until it serves.
    pub async fn caddy(replaced: &[(&str, String)]) -> Self {
        let folder = tempfile::Builder::new().prefix("rgsd-caddy-").tempdir().expect("a folder");
        let address = own_address();
        let base = format!("http://{address}:{PLAIN_PORT}");
        let own = [("rgs.example.com {", format!("{base} {{\n\tbind {address}"))];
        let text = replace("Caddyfile", read("Caddyfile"), own.iter().chain(replaced));
        let file = folder.path().join("Caddyfile");
        std::fs::write(&file, format!("{{\n\tadmin off\n}}\n{text}")).expect("written");
        let log = std::fs::File::create(folder.path().join("error.log")).expect("a log");
        let mut command = Command::new("caddy");
        command.args(["run", "--adapter", "caddyfile", "--config"]).arg(file).env("HOME", folder.path());
        let child = command.stdout(Stdio::null()).stderr(log).spawn();
        let child = child.expect("caddy is there; if not, `make tools` installs it");
        Self { child, folder, base }.serves((address, PLAIN_PORT)).await
    }

    async fn serves(self, at: (Ipv4Addr, u16)) -> Self {
        let serves = async || std::net::TcpStream::connect(at).is_ok();
        eventually_told("it serves", || self.log(), serves).await;
        self
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// A client that knows no certificates.
    pub fn client() -> reqwest::Client {
        let client = reqwest::Client::builder().danger_accept_invalid_certs(true);
        client.redirect(reqwest::redirect::Policy::none()).build().expect("a client")
    }

    pub async fn get(&self, path: &str) -> reqwest::Response {
        self.get_with(path, &[]).await
    }

    pub async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> reqwest::Response {
        let request = Self::client().get(self.url(path));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.send().await.expect("an answer")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("error.log")).unwrap_or_default()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const MISSING: &str = "nginx is there; if not, `make tools` installs it (Debian's nginx-light)";

/// Debian keeps it where only root looks.
fn command(folder: &Path, conf: &Path) -> Command {
    let program = ["/usr/sbin/nginx", "/usr/bin/nginx"].into_iter().find(|path| Path::new(path).exists());
    let mut command = Command::new(program.unwrap_or("nginx"));
    command.arg("-p").arg(folder).arg("-c").arg(conf).arg("-e").arg(folder.join("error.log"));
    command
}

/// A whole configuration around the site's, so that nothing of the machine's own is touched.
fn write(folder: &Path, site: &str) -> PathBuf {
    let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let places: String = kinds.map(|kind| format!("{kind}_temp_path {}/{kind};\n", folder.display())).concat();
    let conf = folder.join("nginx.conf");
    let text = format!(
        "daemon off;\nmaster_process off;\npid {0}/pid;\nerror_log {0}/error.log;\nevents {{ }}\n\
         http {{\naccess_log off;\n{places}{site}\n}}\n",
        folder.display()
    );
    std::fs::write(&conf, text).expect("written");
    conf
}

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(file);
    std::fs::read_to_string(path).expect("a file")
}

fn replace<'a>(file: &str, text: String, pairs: impl Iterator<Item = &'a (&'a str, String)>) -> String {
    pairs.fold(text, |text, (from, to)| {
        assert!(text.contains(from), "{file} has no {from:?}");
        text.replace(from, to)
    })
}

/// A site's file at this address.
fn site(file: &str, folder: &Path, address: Ipv4Addr, replaced: &[(&str, String)]) -> String {
    let text = read(file);
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("listen [::]"));
    let text: String = lines.flat_map(|line| [line, "\n"]).collect();
    let own = [
        ("listen 443 ssl", format!("listen {address}:{TLS_PORT} ssl")),
        ("listen 80;", format!("listen {address}:{PLAIN_PORT};")),
        ("/etc/letsencrypt/live/rgs.example.com", folder.display().to_string()),
    ];
    let text = replace(file, text, own.iter().chain(replaced));
    text.replace("/var/cache/nginx/rgsd", &folder.join("cache").display().to_string())
}

/// As certbot would leave them.
fn certificate(folder: &Path) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"])
        .args(["-subj", "/CN=rgs.example.com", "-keyout"])
        .arg(folder.join("privkey.pem"))
        .arg("-out")
        .arg(folder.join("fullchain.pem"))
        .output();
    let made = made.expect("openssl is there; if not, `make tools` installs it");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

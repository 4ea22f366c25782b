//! nginx as an operator runs it: with a file of ours, on other ports, with a certificate made on the spot.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::eventually_told;

/// A running nginx; killed when dropped.
pub struct Nginx {
    child: Child,
    folder: TempDir,
    port: u16,
}

impl Nginx {
    /// Starts it with a file of `deploy/`, in which `replaced` is replaced, and waits until it serves.
    pub async fn start(file: &str, replaced: &[(&str, String)]) -> Self {
        let folder = tempfile::Builder::new().prefix("rgsd-nginx-").tempdir().expect("a folder");
        let (port, other) = (free_port(), free_port());
        certificate(folder.path());
        let conf = write(folder.path(), &site(file, folder.path(), [port, other], replaced));
        let test = command(folder.path(), &conf).arg("-t").output().expect(MISSING);
        let said = String::from_utf8_lossy(&test.stderr);
        let concerns = said.contains("[warn]") || said.contains("[emerg]");
        assert!(test.status.success() && !concerns, "nginx -t: {said}");
        let child = command(folder.path(), &conf).stderr(Stdio::null()).spawn().expect(MISSING);
        let nginx = Self { child, folder, port };
        let serves = async || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
        eventually_told("nginx serves", || nginx.log(), serves).await;
        nginx
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.port)
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

impl Drop for Nginx {
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

/// A site's file on these ports: the first speaks TLS.
fn site(file: &str, folder: &Path, [tls, plain]: [u16; 2], replaced: &[(&str, String)]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(file);
    let text = std::fs::read_to_string(path).expect("a file");
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("listen [::]"));
    let mut text: String = lines.flat_map(|line| [line, "\n"]).collect();
    let own = [
        ("listen 443 ssl", format!("listen 127.0.0.1:{tls} ssl")),
        ("listen 80;", format!("listen 127.0.0.1:{plain};")),
        ("/etc/letsencrypt/live/rgs.example.com", folder.display().to_string()),
    ];
    for (from, to) in own.iter().chain(replaced) {
        assert!(text.contains(from), "{file} has no {from:?}");
        text = text.replace(from, to);
    }
    text.replace("/var/cache/nginx/rgsd", &folder.join("cache").display().to_string())
}

/// Nobody has it at the moment.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
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

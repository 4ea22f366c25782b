//! The files in `deploy/`: what they name exists, and the programs that read them find nothing wrong.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rgsd::config::KEYS;
use serde_json::Value;

use crate::postgres::{self, Cluster, Options};
use crate::support::{Running, World, rgsd, story};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn deploy(file: &str) -> PathBuf {
    root().join("deploy").join(file)
}

fn read(file: &str) -> String {
    fs::read_to_string(deploy(file)).expect("a file of deploy/")
}

/// Runs a program; both of its outputs.
fn run(command: &mut Command, remedy: &str) -> (Output, String) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; {remedy}"));
    let said = [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat();
    (output, said)
}

/// Runs a program that must find nothing wrong.
fn content(command: &mut Command, remedy: &str) -> String {
    let (output, said) = run(command, remedy);
    assert!(output.status.success(), "{command:?}: {said}");
    said
}

const TOOLS: &str = "`make tools` installs it";

#[test]
fn every_setting_that_a_file_names_is_one() {
    let variables: BTreeSet<String> = KEYS.iter().map(|key| key.variable()).collect();
    // The file itself, and the image's name in examples.
    let others = ["RGSD_CONFIG", "RGSD_REPOSITORY", "RGSD_REVISION"];
    let flags: BTreeSet<String> = KEYS.iter().map(|key| format!("--{}", key.flag())).collect();
    let files = ["", "grafana", "prometheus"].map(|folder| fs::read_dir(deploy(folder)).expect("a folder").flatten());
    let files = files.into_iter().flatten().map(|entry| entry.path()).filter(|path| path.is_file());
    for path in files.chain([root().join("docs/replicas.md"), root().join("docs/cdn.md")]) {
        let text = fs::read_to_string(&path).expect("a text");
        let words = |letter: fn(char) -> bool| text.split(move |c| !letter(c));
        for word in words(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_') {
            let ours = word.strip_prefix("RGSD_").is_some_and(|rest| !rest.is_empty()) && !others.contains(&word);
            assert!(!ours || variables.contains(word), "{}: there is no {word}", path.display());
        }
        for line in text.lines().filter(|line| line.contains("rgsd serve --")) {
            let given = line.split_whitespace().filter(|word| word.starts_with("--"));
            for flag in given.map(|word| word.split('=').next().unwrap_or(word).trim_matches('`')) {
                assert!(flags.contains(flag) || flag == "--help", "{}: there is no {flag}", path.display());
            }
        }
    }
}

#[test]
fn the_image_is_built_of_what_is_there() {
    let file = read("Dockerfile");
    let hadolint = root().join("target/deploy/bin/hadolint");
    content(Command::new(&hadolint).arg(deploy("Dockerfile")), TOOLS);
    for image in file.lines().filter_map(|line| line.strip_prefix("FROM ")) {
        let image = image.split(' ').next().unwrap_or(image);
        assert!(image.split_once(':').is_some_and(|(_, tag)| tag != "latest"), "{image} is not pinned");
    }

    // The stand-ins for our own code are all that cargo wants.
    let build = tempfile::tempdir().expect("a folder");
    fs::create_dir(build.path().join("wallets")).expect("a folder");
    for manifest in ["Cargo.toml", "Cargo.lock", "wallets/Cargo.toml"] {
        fs::copy(root().join(manifest), build.path().join(manifest)).expect("copied");
    }
    let (_, script) = file.split_once("\nRUN ").expect("a first step");
    let (script, _) = script.split_once("\n\n").expect("an end of it");
    let script = script.replace("\\\n", " ");
    let looked = "cargo metadata --locked --offline --no-deps --format-version 1 >metadata.json";
    let script = script.replace("cargo build --release --locked", looked);
    assert!(script.contains(looked), "{script}");
    content(Command::new("sh").arg("-ec").arg(script).current_dir(build.path()), "it is a shell");
    assert!(fs::metadata(build.path().join("metadata.json")).expect("made").len() > 1000);

    // The image's sources are let through to the builder.
    let let_through = fs::read_to_string(root().join(".dockerignore")).expect("a file");
    for source in file.lines().filter_map(|line| line.strip_prefix("COPY ")).filter(|line| !line.starts_with("--")) {
        for source in source.split(' ').rev().skip(1) {
            assert!(let_through.lines().any(|line| line == format!("!{source}")), "{source} is ignored");
            assert!(root().join(source).exists(), "{source}");
        }
    }
}

#[test]
fn systemd_takes_the_unit_and_finds_it_safe() {
    const REMEDY: &str = "systemd-analyze is Debian's package systemd";
    let unit = read("rgsd.service");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("rgsd.service");
    // With what is commented out as an example, too.
    for examples in [false, true] {
        let mut text = unit.replace("/usr/local/bin/rgsd", env!("CARGO_BIN_EXE_rgsd"));
        if examples {
            text =
                text.replace("\n#LoadCredential=", "\nLoadCredential=").replace("\n#Environment=", "\nEnvironment=");
            assert!(text.contains("\nLoadCredential="));
        }
        fs::write(&file, text).expect("written");
        let said = content(Command::new("systemd-analyze").arg("verify").arg(&file), REMEDY);
        assert!(!said.contains("rgsd.service"), "{said}");
    }
    // In tenths: below 2.0 is as good as it gets for who talks to the network.
    let security = ["security", "--offline=true", "--threshold=20", "--no-pager"];
    content(Command::new("systemd-analyze").args(security).arg(&file), REMEDY);
}

#[test]
fn caddy_and_fly_read_their_files() {
    let caddy = ["validate", "--adapter", "caddyfile", "--config"];
    let folder = tempfile::tempdir().expect("a folder");
    let said = content(
        Command::new("caddy").args(caddy).arg(deploy("Caddyfile")).env("HOME", folder.path()),
        "make tools installs it (Debian's caddy)",
    );
    assert!(said.contains("Valid configuration") && !said.contains("\"warn\""), "{said}");

    let fly: toml::Table = read("fly.toml").parse().expect("TOML");
    let mounts = fly["mounts"].as_array().expect("mounts");
    assert!(read("Dockerfile").contains(&format!("VOLUME {}", mounts[0]["destination"].as_str().expect("a path"))));
    assert_eq!(fly["http_service"]["internal_port"], fly["metrics"]["port"]);
    assert!(read("Dockerfile").contains(&format!("EXPOSE {}", fly["metrics"]["port"])));
}

fn compose() -> Value {
    serde_saphyr::from_str(&read("compose.yaml")).expect("YAML")
}

fn names(value: &Value) -> BTreeSet<&str> {
    value.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect()
}

#[test]
fn the_compose_file_hangs_together() {
    let compose = compose();
    let services = compose["services"].as_object().expect("services");
    for (name, service) in services {
        let image = service["image"].as_str().expect("an image");
        assert!(image.split_once(':').is_some_and(|(_, tag)| tag != "latest"), "{name}: {image} is not pinned");
        assert_eq!(service["ports"].is_null(), name != "rgsd", "{name}: only rgsd is published");
        assert_eq!(service["security_opt"][0], "no-new-privileges:true", "{name}");
        for network in service["networks"].as_array().into_iter().flatten() {
            assert!(names(&compose["networks"]).contains(network.as_str().expect("a name")), "{name}: {network}");
        }
        for volume in service["volumes"].as_array().into_iter().flatten() {
            let (volume, _) = volume.as_str().and_then(|volume| volume.split_once(':')).expect("a volume");
            assert!(names(&compose["volumes"]).contains(volume), "{name}: {volume}");
        }
        for (other, how) in service["depends_on"].as_object().into_iter().flatten() {
            let once = services[other]["restart"] == "no";
            let wanted = if once { "service_completed_successfully" } else { "service_healthy" };
            assert_eq!(how["condition"], wanted, "{name}: {other}");
        }
        if service["restart"] != "no" {
            assert!(service["healthcheck"]["test"].is_array(), "{name} is not looked after");
            assert!(service["deploy"]["resources"]["limits"]["memory"].is_string(), "{name} has no limit");
        }
    }
    // What rgsd is told is a configuration.
    let mut arguments = vec!["config".to_owned()];
    for (variable, value) in services["rgsd"]["environment"].as_object().expect("variables") {
        let flag = variable.strip_prefix("RGSD_").expect("ours").to_lowercase().replace('_', "-");
        arguments.push(format!("--{flag}={}", value.as_str().expect("a text")));
    }
    let run = rgsd(arguments);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(run.stdout.contains("sslmode=verify-full"), "{}", run.stdout);

    // Where docker is there with its plugin, it may judge, too.
    let plugin = Command::new("docker").args(["compose", "version"]).output();
    if plugin.is_ok_and(|output| output.status.success()) {
        content(
            Command::new("docker").args(["compose", "-f"]).arg(deploy("compose.yaml")).args(["config", "-q"]),
            "",
        );
    }
}

#[test]
fn the_first_start_makes_a_certificate_for_the_database() {
    let compose = compose();
    let script = compose["services"]["secrets"]["command"][0].as_str().expect("a script").replace("$$", "$");
    let folder = tempfile::tempdir().expect("a folder");
    let place = |name: &str| folder.path().join(name);
    for name in ["postgres", "rgsd"] {
        fs::create_dir(place(name)).expect("a folder");
    }
    let script = script.replace(" /postgres", &format!(" {}", place("postgres").display()));
    let script = script.replace(" /rgsd", &format!(" {}", place("rgsd").display()));
    // Only in the container there are these users.
    let script: String =
        script.lines().filter(|line| !line.contains("chown")).flat_map(|line| [line, "\n"]).collect();
    let start = || content(Command::new("sh").arg("-euc").arg(&script), "it is a shell");
    start();
    let (ca, password) = (place("rgsd/ca.crt"), fs::read(place("rgsd/password")).expect("a password"));
    let verify = ["verify", "-purpose", "sslserver", "-verify_hostname", "postgres", "-CAfile"];
    content(Command::new("openssl").args(verify).arg(&ca).arg(place("postgres/server.crt")), TOOLS);
    assert_eq!(fs::read(place("postgres/password")).expect("the same"), password);
    assert_eq!(password.len(), 65);
    let key = fs::metadata(place("postgres/server.key")).expect("a key");
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
    start();
    assert_eq!(fs::read(place("rgsd/password")).expect("a password"), password, "made once");

    // A PostgreSQL that is started as the file says is one that rgsd connects to as the file says.
    let postgres = compose["services"]["postgres"]["command"].as_array().expect("a command").iter();
    let conf = postgres.filter_map(Value::as_str).filter_map(|word| word.split_once('='));
    let conf = conf.filter(|(name, _)| *name != "hba_file").map(|(name, value)| {
        format!("{name} = '{}'", value.replace("/run/postgres", &place("postgres").display().to_string()))
    });
    let hba = fs::read_to_string(place("postgres/pg_hba.conf")).expect("a file");
    let hba = hba.lines().filter(|line| line.starts_with("host")).map(str::to_owned).collect();
    fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).expect("ours");
    let files = fs::read_dir(place("postgres")).expect("a folder").flatten().map(|entry| entry.path());
    files.chain([place("postgres")]).for_each(|path| postgres::give_to_postgres(&path));
    let cluster = Cluster::start(Options { tls: None, hba, conf: conf.collect() });
    let database = cluster.database().name;
    fs::write(place("rgsd/password"), postgres::PASSWORD).expect("written");
    let url = compose["services"]["rgsd"]["environment"]["RGSD_DATABASE_URL"].as_str().expect("a URL");
    let url = url.replace(":5432/rgsd", &format!(":{}/{database}", cluster.port()));
    let url = url.replace("/run/rgsd/ca.crt", &ca.display().to_string()) + "&hostaddr=127.0.0.1";
    let check = |url: &str| {
        let password = format!("--database-password-file={}", place("rgsd/password").display());
        let words = ["config", "--check", "--replica", "--listen=127.0.0.1:0", &password];
        rgsd(words.map(str::to_owned).into_iter().chain([format!("--database-url={url}")])).stdout
    };
    let said = check(&url);
    assert!(said.contains("ok      database.url") && said.contains("encrypted (sslmode=verify-full)"), "{said}");
    let said = check(&url.replace("verify-full", "disable"));
    assert!(said.contains("FAILED  database.url"), "{said}");
}

#[test]
fn a_cdns_function_knows_every_shape() {
    let function = read("cloudfront-function.js");
    let shapes: [(&str, &str); 11] = [
        ("/snapshot/N", "/snapshot/"),
        ("/bitcoin/snapshot/N", "/snapshot/"),
        ("/snapshot/0/N", "/snapshot/"),
        ("/v1/rgs/snapshot/N", "/snapshot/"),
        ("/N.bin", "/snapshot/"),
        ("/snapshot//N", "/snapshot/"),
        ("/snapshot/v2/N", "/v2/snapshot/"),
        ("/v2/snapshot/N", "/v2/snapshot/"),
        ("/signet/v2/snapshot/N", "/v2/snapshot/"),
        ("/signet/snapshot/v2//N", "/v2/snapshot/"),
        ("/v2/N.bin", "/v2/snapshot/"),
    ];
    let mut expected: Vec<(String, String)> = Vec::new();
    for (shape, folder) in shapes {
        for (number, file) in [("0", "0"), ("1770000000", "returning"), ("10", "returning")] {
            expected.push((shape.replace('N', number), format!("{folder}{file}")));
        }
    }
    for other in ["/epoch.json", "/", "/snapshot/x", "/snapshot/returning", "/mainnet/snapshot/5"] {
        expected.push((other.to_owned(), other.to_owned()));
    }
    let paths: Vec<&str> = expected.iter().map(|(path, _)| path.as_str()).collect();
    let paths = serde_json::to_string(&paths).expect("JSON");
    let ask = format!("{paths}.map(uri => handler({{ request: {{ uri }} }}).uri)");
    let script = format!("{function}\nconsole.log(JSON.stringify({ask}));");
    let said = content(Command::new("node").arg("-e").arg(script), "`make tools` installs it (Debian's nodejs)");
    let said: Vec<String> = serde_json::from_str(&said).expect("JSON");
    for ((path, file), said) in expected.iter().zip(said) {
        assert_eq!(*file, said, "{path}");
    }
}

#[test]
fn health_asks_the_service() {
    story(async {
        let world = World::new(60).await;
        let store = world.store();
        let peer = world.peer(0, &store).await;
        let service = Running::start(&world, world.config([&peer])).await;
        let listen = service.url("").replace("http://127.0.0.1", "--listen=0.0.0.0");
        let health = |listen: &str, ready: &[&str]| {
            let arguments =
                [&["health", "--network=regtest", "--replica", "--database-url=postgres://h/d", listen], ready];
            let arguments: Vec<String> = arguments.concat().into_iter().map(str::to_owned).collect();
            async { tokio::task::spawn_blocking(|| rgsd(arguments)).await.expect("it ends") }
        };
        assert_eq!(health(&listen, &[]).await.code, Some(0));
        let early = health(&listen, &["--ready"]).await;
        assert_eq!(early.code, Some(1));
        assert!(early.stderr.starts_with("rgsd: not ready") && early.stderr.lines().count() == 1, "{}", early.stderr);
        service.ready_after(store.len() as u64).await;
        assert_eq!(health(&listen, &["--ready"]).await.code, Some(0));
        service.stop().await;
        let gone = health(&listen, &[]).await;
        assert_eq!(gone.code, Some(1));
        assert!(gone.stderr.contains("cannot be asked") && gone.stderr.lines().count() == 1, "{}", gone.stderr);

        let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let hangs = health(&format!("--listen={}", silent.local_addr().expect("an address")), &[]).await;
        assert!(hangs.stderr.contains("does not answer within 2 s"), "{}", hangs.stderr);
    });
}

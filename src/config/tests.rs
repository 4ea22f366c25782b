//! Sources and their order, mistakes, secrets.

use std::ffi::OsString;
use std::path::PathBuf;

use super::keys::Shown;
use super::*;

/// A node's public key.
const KEY: &str = "03864ef025fde8fb587d989186ce6a4a186895ee44a926bfc370e2c366597a3f8f";

struct Variables(Vec<(OsString, OsString)>);

impl Environment for Variables {
    fn variables(&self) -> Vec<(OsString, OsString)> {
        self.0.clone()
    }
}

/// What an operator may say; the file is left where `rgsd` looks for it.
#[derive(Default)]
struct Said<'a> {
    file: Option<&'a str>,
    variables: &'a [(&'a str, &'a str)],
    flags: &'a [(&'static str, &'a str)],
}

impl Said<'_> {
    fn load(&self) -> Result<Loaded, Mistakes> {
        let dir = tempfile::tempdir().unwrap();
        let default_file = dir.path().join("rgsd.toml");
        if let Some(file) = self.file {
            std::fs::write(&default_file, file).unwrap();
        }
        let variables = self.variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
        let mut flags = Flags::default();
        for (name, value) in self.flags {
            flags.values.entry(*name).or_default().push((*value).to_owned());
        }
        load_from(&flags, &Variables(variables), &default_file)
    }

    fn mistakes(&self) -> Vec<String> {
        self.load().expect_err("a mistake").0
    }

    /// The one mistake there is.
    fn mistake(&self) -> String {
        let mistakes = self.mistakes();
        assert_eq!(mistakes.len(), 1, "{mistakes:#?}");
        mistakes.into_iter().next().unwrap()
    }
}

fn flag(name: &'static str, value: &str) -> Result<Config, String> {
    let said = Said { flags: &[(name, value)], ..Said::default() };
    said.load().map(|loaded| loaded.config).map_err(|mistakes| mistakes.to_string())
}

#[test]
fn the_defaults_are_those_of_the_contract() {
    let config = Said::default().load().unwrap().config;
    assert_eq!(config.network, Network::Bitcoin);
    assert_eq!(config.data_dir, PathBuf::from("./data"));
    assert_eq!(config.peers.len(), 4);
    assert_eq!(config.peers[0].to_string(), format!("{KEY}@3.33.236.230:9735"));
    assert_eq!(config.interval.secs(), 3600);
    assert_eq!(config.listen.to_string(), "127.0.0.1:3000");
    assert_eq!(config.graph, Graph::Routable);
    assert_eq!(config.snapshots, Mode::Delta);
    assert_eq!((config.bitcoind.rest_url, config.tls), (None, None));
    assert_eq!((config.database, config.replica), (None, false));
    assert_eq!(config.retention, Duration::from_secs(30 * 86400));
    assert_eq!((config.log.as_str(), config.log_format), ("info", LogFormat::Text));
}

#[test]
fn each_source_overrides_the_one_before() {
    let file = "listen = '127.0.0.1:1'\ngraph = 'complete'\nlog = 'warn'\n[bitcoind]\nrest_url = 'http://h:1'\n";
    let said = Said {
        file: Some(file),
        variables: &[("RGSD_LISTEN", "127.0.0.1:2"), ("RGSD_BITCOIND_REST_URL", "http://h:2"), ("RGSD_LOG", "")],
        flags: &[("listen", "127.0.0.1:3")],
    };
    let loaded = said.load().unwrap();
    assert_eq!(loaded.config.listen.port(), 3);
    assert_eq!(loaded.config.bitcoind.rest_url.as_ref().map(RestUrl::expose).as_deref(), Some("http://h:2"));
    assert_eq!(loaded.config.graph, Graph::Complete);
    assert_eq!(loaded.config.log, "warn", "an empty variable counts as not set");

    let origin = |name| loaded.settings().find(|(key, ..)| key.name == name).unwrap().2;
    assert_eq!(origin("listen"), Origin::Flag("listen".to_owned()));
    assert_eq!(origin("bitcoind.rest_url"), Origin::Variable("RGSD_BITCOIND_REST_URL".to_owned()));
    assert!(matches!(origin("graph"), Origin::File { path, line: 2 } if path.ends_with("rgsd.toml")));
    assert_eq!(origin("network"), Origin::Default);
}

#[test]
fn every_key_can_be_set_in_every_source() {
    let dns = format!("{KEY}@node.example.com:9735");
    let values = [
        ("network", "signet"),
        ("data_dir", "/var/lib/rgsd"),
        ("peers", dns.as_str()),
        ("interval", "10m"),
        ("listen", "[::1]:3000"),
        ("tls.cert", "/etc/rgsd/fullchain.pem"),
        ("tls.key", "/etc/rgsd/privkey.pem"),
        ("snapshots", "full"),
        ("graph", "complete"),
        ("bitcoind.rest_url", "http://127.0.0.1:38332"),
        ("database.url", "postgres://rgsd@h/archive?sslmode=verify-full&sslrootcert=system"),
        ("database.password_file", "/run/secrets/archive"),
        ("database.lease", "30s"),
        ("database.timeout", "20s"),
        ("replica", "true"),
        ("s3.bucket", "wallets"),
        ("s3.prefix", "rgs/mainnet"),
        ("s3.endpoint", "https://s3.example.com"),
        ("s3.region", "auto"),
        ("s3.access_key_id", "AKIDEXAMPLE"),
        ("s3.secret_access_key_file", "/run/secrets/s3"),
        ("s3.path_style", "false"),
        ("s3.allow_http", "true"),
        ("upload.url", "https://uploads.example.com/base"),
        ("upload.api_key_file", "/run/secrets/upload"),
        ("upload.format", "raw"),
        ("upload.allow_http", "true"),
        ("retention", "8d"),
        ("log", "info,rgsd::gossip=debug"),
        ("log_format", "json"),
    ];
    assert_eq!(values.map(|(name, _)| name).to_vec(), KEYS.iter().map(|key| key.name).collect::<Vec<_>>());

    let file: String = values.iter().map(|(name, value)| format!("{name} = '{value}'\n")).collect();
    let names = values.map(|(name, _)| KEYS.iter().find(|key| key.name == name).unwrap().variable());
    let variables: Vec<(&str, &str)> = names.iter().map(String::as_str).zip(values.map(|(_, value)| value)).collect();
    let from_file = Said { file: Some(&file), ..Said::default() }.load().unwrap();
    let from_variables = Said { variables: &variables, ..Said::default() }.load().unwrap();
    let from_flags = Said { flags: &values, ..Said::default() }.load().unwrap();
    assert_eq!(from_file.config, from_variables.config);
    assert_eq!(from_file.config, from_flags.config);

    for ((key, shown, _), (_, value)) in from_file.settings().zip(values) {
        let expected =
            if key.shape == Shape::List { Shown::Many(vec![value.to_owned()]) } else { Shown::One(value.to_owned()) };
        assert_eq!(shown, expected, "{}", key.name);
    }
}

#[test]
fn a_certificate_and_its_key_go_together() {
    for (one, other) in [("tls.cert", "tls.key"), ("tls.key", "tls.cert")] {
        let mistake = Said { flags: &[(one, "/a.pem")], ..Said::default() }.mistake();
        assert!(mistake.contains(&format!("{one} (--")) && mistake.contains(&format!("not {other}")), "{mistake}");
    }
}

#[test]
fn lists_are_arrays_or_separated_by_commas() {
    let other = "033d8656219478701227199cbd6f670335c8d408a92ae88b962c49d4dc0e83e025@[2001:db8::1]:9735";
    let one = format!("{KEY}@1.2.3.4:9735");
    let (array, text) = (format!("peers = ['{one}', '{other}']"), format!("{one}, {other},"));
    let in_file = format!("peers = '{text}'");
    for said in [
        Said { file: Some(&array), ..Said::default() },
        Said { file: Some(&in_file), ..Said::default() },
        Said { variables: &[("RGSD_PEERS", &text)], ..Said::default() },
        Said { flags: &[("peers", &text)], ..Said::default() },
        Said { flags: &[("peers", &one), ("peers", other)], ..Said::default() },
    ] {
        let peers = said.load().unwrap().config.peers;
        assert_eq!(peers.iter().map(PeerAddress::to_string).collect::<Vec<_>>(), [one.as_str(), other]);
        assert_eq!(peers[1].socket(), "[2001:db8::1]:9735");
    }
}

#[test]
fn all_mistakes_are_reported_at_once_and_say_where() {
    let said = Said {
        file: Some("network = 'bitcon'\nlistne = 'x'\n\n[bitcoind]\nrest_ulr = 'http://u:hunter2@h'\n"),
        variables: &[("RGSD_INTERVALL", "1h"), ("RGSD_RETENTION", "1d"), ("HOME", "/root")],
        flags: &[("listen", "3000")],
    };
    let mistakes = said.mistakes();
    let has = |parts: &[&str]| {
        let found = mistakes.iter().any(|mistake| parts.iter().all(|part| mistake.contains(part)));
        assert!(found, "no {parts:?} in {mistakes:#?}");
    };
    has(&["network = \"bitcon\" (", "rgsd.toml line 1)", "did you mean bitcoin?"]);
    has(&["listne (", "rgsd.toml line 2) is not a key", "did you mean listen?"]);
    has(&["bitcoind.rest_ulr (", "line 5)", "did you mean bitcoind.rest_url?"]);
    has(&["RGSD_INTERVALL", "did you mean RGSD_INTERVAL?"]);
    has(&["retention = \"1d\" (RGSD_RETENTION): expected a time of at least 8d"]);
    has(&["listen = \"3000\" (--listen): expected an IP address and a port"]);
    assert_eq!(mistakes.len(), 6);
    let all = Mistakes(mistakes).to_string();
    assert!(all.starts_with("6 mistakes in the configuration:\n  "), "{all}");
    assert!(!all.contains("hunter2"), "{all}");
}

#[test]
fn unknown_keys_get_advice() {
    let mistake = |file| Said { file: Some(file), ..Said::default() }.mistake();
    assert!(mistake("rest_url = 'http://h'").contains("did you mean bitcoind.rest_url?"));
    assert!(mistake("data-dir = 'd'").contains("did you mean data_dir?"));
    assert!(mistake("bitcoind = 'http://h'").contains("did you mean bitcoind.rest_url?"));
    assert!(mistake("colour = 'red'").contains("the keys are: network, data_dir,"));
    assert!(mistake("[listen]\nport = 1").contains("listen.port ("));
}

#[test]
fn the_file_has_the_right_shape_or_is_refused() {
    let mistake = |file| Said { file: Some(file), ..Said::default() }.mistake();
    assert!(mistake("log = 'info'\nlisten = ").contains("rgsd.toml line 2 is not TOML"));
    assert!(mistake("interval = ['1h']").contains("expected one value, not a list"));
    assert!(mistake("peers = [['x']]").contains("expected a list of strings"));
    assert!(mistake("interval = 3600").contains("interval = \"3600\""));
    assert!(mistake("peers = []").contains("expected at least one pubkey@host:port"));
}

#[test]
fn the_file_may_be_named_and_must_then_exist() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("other.toml");
    let load = |flag: Option<PathBuf>, variable: &std::path::Path| {
        let variables = Variables(vec![("RGSD_CONFIG".into(), variable.into())]);
        load_from(
            &Flags { file: flag, ..Flags::default() },
            &variables,
            std::path::Path::new("/nonexistent/rgsd.toml"),
        )
    };
    std::fs::write(&file, "graph = 'complete'").unwrap();
    assert_eq!(load(None, &file).unwrap().config.graph, Graph::Complete);
    assert_eq!(load(Some(file.clone()), std::path::Path::new("ignored")).unwrap().config.graph, Graph::Complete);
    let missing = load(None, &dir.path().join("missing.toml")).unwrap_err().to_string();
    assert!(missing.contains("there is no file") && missing.contains("which RGSD_CONFIG names"), "{missing}");
    let directory = load(Some(dir.path().to_owned()), &file).unwrap_err().to_string();
    assert!(directory.contains("cannot be read"), "{directory}");
}

#[test]
fn intervals_are_multiples_of_ten_seconds_that_divide_a_day() {
    for good in ["10s", "30s", "1m", "10m", "1h", "90m", "24h", "1day", "86400s"] {
        assert!(flag("interval", good).is_ok(), "{good}");
    }
    for (bad, near) in
        [("7m", "400s and 450s"), ("0s", "10s"), ("15s", "10s and 20s"), ("25h", "24h"), ("10500ms", "10s and 20s")]
    {
        let why = flag("interval", bad).unwrap_err();
        assert!(why.ends_with(&format!("divides 24 h, such as 10s, 10m or 1h; near it: {near}")), "{why}");
    }
    for bad in ["", "1", "soon", "1x", "99999999999999999999h"] {
        assert!(flag("interval", bad).unwrap_err().contains("expected a multiple of 10 s"), "{bad}");
    }
}

#[test]
fn peers_are_checked_one_by_one() {
    let onion = format!("{KEY}@of7husrflx7sforh3fw6yqlpwstee3wg5imvvmkp4bz6rbjxtg5nljad.onion:9735");
    let again = format!("{KEY}@b.example:9735");
    let file = format!("peers = ['03@h:1', '{KEY}@a.example:9735', '{onion}', '{again}', '']");
    let mistakes = Said { file: Some(&file), ..Said::default() }.mistakes();
    let (place, expected) = ("rgsd.toml line 1)", "public key");
    assert!(mistakes[0].contains("peers = \"03@h:1\" (") && mistakes[0].contains(place), "{mistakes:#?}");
    assert!(mistakes[0].contains(expected), "{mistakes:#?}");
    assert!(mistakes[1].contains(&onion) && mistakes[1].contains("Tor"), "{mistakes:#?}");
    assert!(mistakes[2].contains(&again) && mistakes[2].contains("named twice"), "{mistakes:#?}");
    assert!(
        mistakes[3].contains("peers = \"\" (") && mistakes[3].contains("expected pubkey@host:port"),
        "{mistakes:#?}"
    );
    assert_eq!(mistakes.len(), 4);
    assert!(flag("peers", "").unwrap_err().contains("at least one pubkey@host:port"));
}

#[test]
fn other_networks_need_peers() {
    let why = flag("network", "regtest").unwrap_err();
    assert!(why.contains("peers is not set, and regtest has no default peers"), "{why}");
    assert!(why.contains("RGSD_PEERS") && why.contains("--peers"), "{why}");
}

#[test]
fn rest_urls_are_plain_http() {
    for (text, why) in [
        ("https://127.0.0.1:8332", "plain HTTP"),
        ("ftp://h", "http://127.0.0.1:8332"),
        ("127.0.0.1:8332", "http://127.0.0.1:8332"),
        ("localhost:8332", "http://127.0.0.1:8332"),
        ("http://h/rest", "without /rest"),
        ("http://h/rest/", "without /rest"),
        ("http://h/?a=b", "without ?"),
        ("http://", "http://127.0.0.1:8332"),
        ("", "http://127.0.0.1:8332"),
    ] {
        let error = flag("bitcoind.rest_url", text).unwrap_err();
        assert!(error.contains(why), "{text}: {error}");
    }
    let url = flag("bitcoind.rest_url", "http://proxy/btc/").unwrap().bitcoind.rest_url.unwrap();
    assert_eq!((url.expose(), url.to_string()), ("http://proxy/btc".to_owned(), "http://proxy/btc".to_owned()));
}

#[test]
fn secrets_are_never_printed() {
    assert_eq!(format!("{:?}", Secret::new("hunter2")), "***");
    let flags = Flags { values: [("bitcoind.rest_url", vec!["http://u:hunter2@h".to_owned()])].into(), file: None };
    assert_eq!(format!("{flags:?}"), "Flags { file: None, keys: [\"bitcoind.rest_url\"] }");

    let said = Said { flags: &[("bitcoind.rest_url", "http://rpc:hunter2@127.0.0.1:8332")], ..Said::default() };
    let loaded = said.load().unwrap();
    let url = loaded.config.bitcoind.rest_url.clone().unwrap();
    assert_eq!(url.expose(), "http://rpc:hunter2@127.0.0.1:8332");
    assert_eq!(url.to_string(), "http://***@127.0.0.1:8332");
    let shown: Vec<Shown> = loaded.settings().map(|(_, shown, _)| shown).collect();
    for printed in [format!("{loaded:?}"), format!("{shown:?}"), serde_json::to_string(&shown).unwrap()] {
        assert!(!printed.contains("hunter2") && printed.contains("***"), "{printed}");
    }

    for broken in [
        "https://rpc:hunter2@h",
        "http://rpc:hunter2@h/rest",
        "http://rpc:hunter2@h:port",
        "http://rpc:hunter2?@h",
        "http://rpc:hunter2://@h",
        "rpc:hunter2@h",
        "rpc:hunter2://x@h",
        "http://h/?token=hunter2",
        "http://h/#hunter2",
    ] {
        let error = flag("bitcoind.rest_url", broken).unwrap_err();
        assert!(!error.contains("hunter2") && error.contains("***"), "{error}");
    }
    for broken in [
        "host=h password=hunter2",
        "mysql://u:hunter2@h/d",
        "postgres://u:hunter2@h:port/d",
        "postgres://u:hunter2/x@h/d",
        "postgres://u:x/hunter2@h/d",
        "postgres://u:1/hunter2@h/d",
        "postgres://u:x@hunter2@h/d",
        "postgres://u:%hunter2@h/d",
        "postgres://h/d?password=hunter2&sslmode=nonsense",
        "postgres://h/d?password=x&hunter2=y",
        "postgres://h/d?password=x=hunter2",
        "postgres://h/d?password=x&hunter2",
        "postgres://h?password=hunter2@x",
    ] {
        let error = flag("database.url", broken).unwrap_err();
        assert!(!error.contains("hunter2") && error.contains("***"), "{error}");
    }
}

#[test]
fn a_database_is_whole_or_a_mistake() {
    let database = |flags: &[(&'static str, &str)]| {
        let url = [("database.url", "postgres://u:hunter2@h/d")];
        let flags: Vec<_> = url.iter().chain(flags).copied().collect();
        Said { flags: &flags, ..Said::default() }.load().map(|loaded| loaded.config.database.unwrap())
    };
    let usual = database(&[]).unwrap();
    assert_eq!((usual.lease, usual.timeout), (Duration::from_secs(15), Duration::from_secs(10)));
    let tight = database(&[("database.lease", "1500ms"), ("database.timeout", "1s")]).unwrap();
    assert_eq!(tight.connection().url.to_string(), "postgres://u:***@h/d");

    for (flags, words) in [
        (
            &[("database.timeout", "11s")][..],
            "database.timeout (11s) is more than two thirds of database.lease (15s)",
        ),
        (&[("database.lease", "5s")], "database.timeout (10s) is more than two thirds of database.lease (5s)"),
        (&[("database.lease", "999ms")], "expected a time from 1s to 1h"),
        (&[("database.lease", "2h")], "expected a time from 1s to 1h"),
        (&[("database.timeout", "1ms")], "expected a time from 100ms"),
        (&[("database.password_file", "")], "expected a file"),
        (&[("replica", "yes")], "expected true or false"),
    ] {
        let mistake = database(flags).unwrap_err().to_string();
        assert!(mistake.contains(words) && !mistake.contains("hunter2"), "{mistake}");
    }
    for (flag, value) in [("database.lease", "15s"), ("database.timeout", "1s"), ("database.password_file", "f")] {
        let mistake = Said { flags: &[(flag, value)], ..Said::default() }.mistake();
        assert!(mistake.starts_with(&format!("{flag} (--")) && mistake.contains("set database.url"), "{mistake}");
    }
}

#[test]
fn a_replica_needs_an_archive_and_no_peers() {
    let url = ("database.url", "postgres://h/d");
    let said = Said { flags: &[("replica", "true"), url, ("network", "regtest")], ..Said::default() };
    let config = said.load().unwrap().config;
    assert!(config.replica && config.peers.is_empty());
    let said = Said { file: Some("replica = true\n[database]\nurl = 'postgres://h/d'"), ..Said::default() };
    assert!(said.load().unwrap().config.replica, "a TOML boolean");
    let mistake = Said { flags: &[("replica", "true")], ..Said::default() }.mistake();
    assert!(mistake.contains("replica (--replica)") && mistake.contains("RGSD_DATABASE_URL"), "{mistake}");
    let said = Said { flags: &[("replica", "false"), ("network", "regtest")], ..Said::default() };
    assert!(said.mistake().contains("peers is not set"));
}

#[test]
fn the_readme_lists_every_key() {
    let readme = include_str!("../../README.md");
    for key in KEYS {
        assert!(readme.contains(&format!("\n| `{}` | ", key.name)), "{}", key.name);
    }
}

#[test]
fn log_filters_are_checked() {
    for good in ["off", "INFO", "warn,rgsd=debug", "info,rgsd[request{path}]=trace"] {
        assert!(flag("log", good).is_ok(), "{good}");
    }
    for (bad, why) in
        [("inof", "did you mean info?"), ("", "expected off"), ("rgsd", "expected off"), ("a=b=c", "expected")]
    {
        let error = flag("log", bad).unwrap_err();
        assert!(error.contains(why), "{bad}: {error}");
    }
}

#[test]
fn names_follow_one_rule() {
    let key = KEYS.iter().find(|key| key.name == "bitcoind.rest_url").unwrap();
    assert_eq!(key.variable(), "RGSD_BITCOIND_REST_URL");
    assert_eq!(key.flag(), "bitcoind-rest-url");
}

#[test]
fn the_help_tells_the_true_defaults() {
    let database = Some(Database::new("postgres://h/d".parse().unwrap()));
    let upload = Some(Upload::new(parse_endpoint("https://h").unwrap()));
    let config = Config { database, s3: Some(S3::new("b".to_owned())), upload, ..Config::default() };
    let given = ["database.url", "s3.bucket", "upload.url"];
    for key in KEYS.iter().filter(|key| !given.contains(&key.name)) {
        if let Shown::One(default) = key.show(&config) {
            assert!(key.about.ends_with(&format!("[default: {default}]")), "{}", key.name);
        }
    }
}

#[test]
fn uploads_need_a_place_both_halves_of_a_key_and_encryption() {
    let alone = Said { flags: &[("s3.region", "auto"), ("upload.format", "raw")], ..Said::default() };
    let alone = alone.mistakes().join("\n");
    assert!(alone.contains("s3.bucket is not") && alone.contains("upload.url is not"), "{alone}");

    let half = Said { flags: &[("s3.bucket", "b"), ("s3.access_key_id", "AKID")], ..Said::default() };
    assert!(half.mistake().contains("s3.secret_access_key_file is not"));

    for (url, allowed) in [
        ("http://127.0.0.1:9000", true),
        ("http://[::1]:9000", true),
        ("http://localhost:9000", true),
        ("https://example.com", true),
        ("http://example.com", false),
        ("http://127.0.0.1.example.com", false),
    ] {
        assert_eq!(flag("upload.url", url).is_ok(), allowed, "{url}");
    }
    let said = [("upload.url", "http://minio:9000"), ("upload.allow_http", "true")];
    assert!(Said { flags: &said, ..Said::default() }.load().is_ok());

    for (url, why) in [
        ("ftp://example.com", "expected a URL"),
        ("https://me:hunter2@example.com", "without a user or password"),
        ("https://example.com/?key=hunter2", "without ? or #"),
    ] {
        let mistake = flag("upload.url", url).unwrap_err();
        assert!(mistake.contains(why) && !mistake.contains("hunter2"), "{mistake}");
    }
    for prefix in ["", "a//b", "../b", "a b"] {
        let said = [("s3.bucket", "b"), ("s3.prefix", prefix)];
        assert!(Said { flags: &said, ..Said::default() }.mistake().contains("s3.prefix"), "{prefix:?}");
    }
}

//! What libpq's documentation and sources say of connection URIs, word by word.

use proptest::prelude::*;

use super::*;

fn url(text: &str) -> DatabaseUrl {
    text.parse().unwrap_or_else(|why| panic!("{text}: {why}"))
}

fn mistake(text: &str) -> String {
    text.parse::<DatabaseUrl>().expect_err(text)
}

fn places(text: &str) -> Vec<String> {
    url(text).places.iter().map(ToString::to_string).collect()
}

fn seconds(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

#[test]
fn every_part_has_its_place() {
    let whole = url("postgresql://me:se%40cret@h:6432/my%20db?application_name=a%26b&options=-c%20jit%3Doff");
    assert_eq!(whole.places, [Place::Tcp { name: "h".to_owned(), address: None, port: 6432 }]);
    assert_eq!((whole.user.as_deref(), whole.dbname.as_deref()), (Some("me"), Some("my db")));
    assert_eq!(whole.password.as_ref().map(Secret::expose), Some("se@cret"));
    assert_eq!((whole.application_name.as_str(), whole.options.as_deref()), ("a&b", Some("-c jit=off")));

    let least = url("postgres://h");
    assert_eq!((&least.user, &least.password, &least.dbname, &least.options), (&None, &None, &None, &None));
    assert_eq!((least.application_name.as_str(), least.connect_timeout), ("rgsd", None));
    assert_eq!(least.tls, Tls { mode: SslMode::Prefer, roots: None, identity: None });
    assert_eq!((least.session, least.channel_binding), (SessionAttributes::Any, ChannelBinding::Prefer));
}

#[test]
fn hosts_are_lists_sockets_and_addresses() {
    assert_eq!(places("postgres://a:1,b,[2001:db8::1]:3/d"), ["a:1", "b:5432", "[2001:db8::1]:3"]);
    assert_eq!(places("postgres://a,b/d?port=7"), ["a:7", "b:7"]);
    assert_eq!(places("postgres://a,b/d?port=7,8"), ["a:7", "b:8"]);
    assert_eq!(places("postgres://a:1/d?host=b"), ["b:1"], "the last word counts");
    assert_eq!(places("postgres://a:1/d?host=b&port=2"), ["b:2"]);
    assert_eq!(places("postgres://me@/d?host=/run/postgresql"), ["/run/postgresql/.s.PGSQL.5432"]);
    assert_eq!(places("postgres://%2Frun%2Fpostgresql:6000/d"), ["/run/postgresql/.s.PGSQL.6000"]);
    assert_eq!(places("postgres:///d"), ["/var/run/postgresql/.s.PGSQL.5432"]);
    assert_eq!(places("postgres://"), ["/var/run/postgresql/.s.PGSQL.5432"]);
    assert_eq!(places("postgres://h/d?port="), ["h:5432"]);
    let named = &url("postgres://h/d?hostaddr=10.0.0.1&sslmode=verify-full&sslrootcert=r").places[0];
    let address = Some([10, 0, 0, 1].into());
    assert_eq!(*named, Place::Tcp { name: "h".to_owned(), address, port: 5432 });
    let nameless = &url("postgres:///d?hostaddr=10.0.0.1").places[0];
    assert_eq!(*nameless, Place::Tcp { name: "10.0.0.1".to_owned(), address, port: 5432 });
}

#[test]
fn modes_need_what_they_check_against() {
    for (word, mode) in SslMode::WORDS {
        assert_eq!(url(&format!("postgres://h/?sslrootcert=r&sslmode={word}")).tls.mode, mode);
        assert_eq!(mode.to_string(), word);
    }
    assert_eq!(url("postgres://h/?ssl=true").tls.mode, SslMode::Require, "as JDBC says it");
    let system = url("postgres://h/?sslrootcert=system").tls;
    assert_eq!((system.mode, system.roots), (SslMode::VerifyFull, Some(Roots::System)));
    let identity = url("postgres://h/?sslcert=c&sslkey=k&sslpassword=p").tls.identity.expect("an identity");
    assert_eq!((identity.certificate, identity.key), (PathBuf::from("c"), PathBuf::from("k")));
    assert_eq!(identity.password.as_ref().map(Secret::expose), Some("p"));
}

#[test]
fn times_are_libpqs() {
    let usual = url("postgres://h").liveness;
    let expected = (true, seconds(5), seconds(2), Some(3), seconds(10));
    let all = |of: Liveness| (of.keepalives, of.idle, of.interval, of.count, of.user_timeout);
    assert_eq!(all(usual), expected);
    let words = "keepalives_idle=7&keepalives_interval=8&keepalives_count=9&tcp_user_timeout=2500";
    let said = url(&format!("postgres://h/?{words}&connect_timeout=4"));
    assert_eq!(said.connect_timeout, seconds(4));
    let user_timeout = Some(Duration::from_millis(2500));
    assert_eq!(all(said.liveness), (true, seconds(7), seconds(8), Some(9), user_timeout));
    let zeros = "keepalives=0&keepalives_idle=0&keepalives_interval=-1&keepalives_count=0&tcp_user_timeout=0";
    let said = url(&format!("postgres://h/?{zeros}&connect_timeout=0"));
    assert_eq!(said.connect_timeout, None);
    assert_eq!(all(said.liveness), (false, None, None, None, None));
}

#[test]
fn mistakes_name_the_word_and_what_was_expected() {
    for (text, words) in [
        ("host=h dbname=d", "expected a URL such as postgres://"),
        ("mysql://h/d", "expected a URL"),
        ("", "expected a URL"),
        ("postgres://h/?sslmod=require", "\"sslmod\" is not a known word; did you mean sslmode?"),
        ("postgres://h/?colour=red", "\"colour\" is not a known word; the known ones are host, hostaddr, port"),
        (
            "postgres://h/?sslmode=verify_full",
            "sslmode: expected disable, allow, prefer, require, verify-ca or verify",
        ),
        ("postgres://h/?sslmode=verify_full", "did you mean verify-full?"),
        ("postgres://h/?sslmode=verify-full", "sslmode=verify-full needs sslrootcert"),
        ("postgres://h/?sslmode=verify-ca", "sslmode=verify-ca needs sslrootcert"),
        ("postgres://h/?sslmode=require&sslrootcert=system", "too weak for sslrootcert=system"),
        ("postgres://h/?sslcert=c", "sslcert needs sslkey"),
        ("postgres://h/?sslkey=c", "sslkey needs sslcert"),
        ("postgres://h:0/", "no port from 1 to 65535"),
        ("postgres://h:65536/", "no port from 1 to 65535"),
        ("postgres://a,b/?port=1,2,3", "3 ports for 2 hosts"),
        ("postgres://a,b/?hostaddr=1.2.3.4", "2 hosts, but 1 addresses"),
        ("postgres:///?hostaddr=here", "expected an IP address"),
        ("postgres:///?hostaddr=1.2.3.4&sslmode=verify-full&sslrootcert=r", "hostaddr needs host"),
        ("postgres://[::1/d", "the ] after an IPv6 address is missing"),
        ("postgres://[]/d", "nothing between the [ and ]"),
        ("postgres://[::1]x/d", "after the ] of an IPv6 address"),
        ("postgres://h/d?a", "has no value"),
        ("postgres://h/d?host=a=b", "two ="),
        ("postgres://h/%zz", "its dbname: after a % two hexadecimal digits"),
        ("postgres://h/%00", "%00 is not allowed"),
        ("postgres://h/%ff", "not UTF-8"),
        ("postgres://u:p/w@h/d", "write / as %2F"),
        ("postgres://u:p@w@h/d", "@ as %40"),
        ("postgres://%40abstract/d", "abstract sockets"),
        ("postgres://h/?connect_timeout=soon", "connect_timeout: expected a whole number"),
        ("postgres://h/?target_session_attrs=prefer-standby", "target_session_attrs: expected any, read-write"),
        ("postgres://h/?channel_binding=maybe", "channel_binding: expected disable, prefer or require"),
    ] {
        let why = mistake(text);
        assert!(why.contains(words), "{text}: {why}");
    }
    let many = vec!["h"; MOST_HOSTS + 1].join(",");
    assert!(mistake(&format!("postgres://{many}/d")).contains("at most 16"));
}

#[test]
fn what_is_shown_holds_no_password() {
    for (text, shown) in [
        ("postgres://me:hunter2@h:1/d", "postgres://me:***@h:1/d"),
        ("postgres://me@h/d", "postgres://me@h/d"),
        (
            "postgres://h/d?user=me&password=hunter2&sslmode=disable",
            "postgres://h/d?user=me&password=***&sslmode=disable",
        ),
        (
            "postgres://h/d?sslcert=c&sslkey=k&sslpassword=hunter2",
            "postgres://h/d?sslcert=c&sslkey=k&sslpassword=***",
        ),
        ("postgres://me:hunt?er2@h/d", "postgres://me:***@h/d"),
    ] {
        assert_eq!(url(text).to_string(), shown);
        assert_eq!(format!("{:?}", url(text)), shown);
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "(postgres(ql)?://)?[a-z0-9:@/?&=%,\\[\\]. é-]{0,60}") {
        let _ = text.parse::<DatabaseUrl>();
    }

    #[test]
    fn a_password_survives_encoding_and_is_never_shown(password in "[ -~é]{6,20}") {
        let encoded: String = password.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let url = url(&format!("postgres://u:{encoded}@h/d"));
        prop_assert_eq!(url.password.as_ref().map(Secret::expose), Some(password.as_str()));
        prop_assert_eq!(format!("{url} {url:?}"), "postgres://u:***@h/d postgres://u:***@h/d");
    }

    #[test]
    fn a_mistake_never_quotes_a_password(password in "[a-z0-9/@:%?&=]{0,8}hunter2[a-z0-9/@:%?&=]{0,8}") {
        for text in [format!("postgres://u:{password}@h/d"), format!("postgres://h/d?password={password}")] {
            if let Err(why) = text.parse::<DatabaseUrl>() {
                prop_assert!(!why.contains("hunter2"), "{}: {}", text, why);
            }
        }
    }
}

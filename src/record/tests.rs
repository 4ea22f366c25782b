use super::*;

#[test]
fn sizes_are_read_with_their_units() {
    for (text, bytes) in [
        ("1", 1),
        ("100MB", 100_000_000),
        ("64 MiB", 64 << 20),
        ("2GB", 2_000_000_000),
        ("7kB", 7000),
        ("1GiB", 1 << 30),
    ] {
        assert_eq!(parse_size(text), Ok(bytes), "{text}");
    }
    for text in ["", "0", "0MB", "-1", "1.5GB", "MB", "1TB", "1mb", "99999999999999999999", "99999999999999GB"] {
        assert!(parse_size(text).is_err(), "{text}");
    }
}

#[test]
fn times_are_at_least_a_second() {
    assert_eq!(parse_time("1d"), Ok(Duration::from_secs(86_400)));
    for text in ["", "0s", "10ms", "soon"] {
        assert!(parse_time(text).is_err(), "{text}");
    }
}

#[test]
fn a_files_name_is_its_start() {
    assert_eq!(name_of(1_795_269_617), "2026-11-21T14-00-17Z");
}

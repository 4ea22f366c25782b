//! All or nothing, wherever that is.

use std::os::unix::fs::{MetadataExt, symlink};

use super::*;

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("there").map(|entry| entry.expect("there").file_name());
    let mut names: Vec<_> = entries.map(|name| name.into_string().expect("text")).collect();
    names.sort();
    names
}

fn write(out: &Out) {
    fs::write(out.half().join("journal"), "1").expect("written");
    fs::create_dir(out.half().join("snapshots")).expect("made");
}

#[test]
fn a_directory_that_is_not_there_is_made_with_its_parents_or_nothing_is() {
    let home = tempfile::tempdir().expect("a directory");
    for place in ["out", "out/", "a/b/out"] {
        let place = home.path().join(place);
        let out = Out::begin(&place).expect("it may be made");
        write(&out);
        drop(out);
        assert_eq!(names(home.path()), [""; 0], "{place:?}");
    }
    let place = home.path().join("a/b/out");
    let out = Out::begin(&place).expect("it may be made");
    write(&out);
    out.finish().expect("moved");
    assert_eq!(
        (names(&place), names(&home.path().join("a/b"))),
        (vec!["journal".into(), "snapshots".into()], vec!["out".into()])
    );
}

#[test]
fn an_empty_directory_is_filled_and_stays_itself_even_behind_a_link() {
    let home = tempfile::tempdir().expect("a directory");
    let (place, link) = (home.path().join("out"), home.path().join("link"));
    fs::create_dir(&place).expect("made");
    fs::set_permissions(&place, Permissions::from_mode(0o750)).expect("set");
    symlink("out", &link).expect("linked");
    let before = fs::metadata(&place).expect("there");
    let out = Out::begin(&link).expect("it is empty");
    write(&out);
    drop(out);
    assert_eq!(names(&place), [""; 0]);

    let out = Out::begin(&link).expect("it is empty");
    write(&out);
    out.finish().expect("moved");
    assert_eq!(
        (names(&place), names(home.path())),
        (vec!["journal".into(), "snapshots".into()], vec!["link".into(), "out".into()])
    );
    let after = fs::metadata(&place).expect("there");
    assert_eq!((before.ino(), before.mode()), (after.ino(), after.mode()));
}

#[test]
fn what_cannot_be_filled_is_refused_at_once() {
    let home = tempfile::tempdir().expect("a directory");
    let refusal = |name: &str| match Out::begin(&home.path().join(name)) {
        Ok(_) => panic!("{name} is taken"),
        Err(error) => format!("{error:#}"),
    };
    symlink("nowhere", home.path().join("dangling")).expect("linked");
    fs::write(home.path().join("file"), "").expect("written");
    assert!(refusal("dangling").contains("a link to nothing"));
    assert!(refusal("").contains("not empty"));
    assert!(refusal("file").contains("Not a directory"));
    assert!(refusal("file/out").contains("Not a directory"));
    assert!(refusal("missing/..").contains("no directory's"));
    assert_eq!(names(home.path()), ["dangling", "file"]);
}

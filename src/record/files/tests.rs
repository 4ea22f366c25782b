//! Rotation: when, under which names, and what is left when it fails.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::gossip::{ChannelAnnouncement, ChannelUpdate, Direction};
use crate::recording::store::Reader;
use crate::recording::{Body, Found};
use crate::synth::{Network, NetworkSpec, Topology};

const NOW: UnixMs = UnixMs(1_795_269_617_000);

fn rng() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(1)
}

fn begin(dir: &Path, size: u64, every: Option<Duration>) -> Files<ChaCha8Rng> {
    Files::begin(dir, Rotation { size, every }, NOW, rng()).expect("a directory that can be written")
}

/// The names of what lies there, in order.
fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<String> = entries.map(|name| name.into_string().expect("text")).collect();
    names.sort_unstable();
    names
}

fn bodies(path: &Path) -> Vec<Body> {
    let found = Reader::new(File::open(path).expect("it is there")).expect("a recording");
    let body = |found: Found| if let Found::Record(record) = found { record.body } else { panic!("{found:?}") };
    found.map(|located| body(located.expect("readable").found)).collect()
}

/// A network of some channels: their announcements, and updates as they are asked for.
struct Talk {
    network: Network,
    said: u32,
}

impl Talk {
    fn new() -> Self {
        let network = Network::new(&Topology::generate(4, 7), NetworkSpec::default(), NOW).expect("valid");
        Self { network, said: 0 }
    }

    fn announcements(&self) -> Vec<Fact> {
        let announcement = |bytes: &[u8]| ChannelAnnouncement::from_wire(bytes).expect("well-formed");
        let channels = self.network.channels().iter().map(|channel| announcement(&channel.announcement));
        channels.map(|announcement| Fact::Channel { announcement, capacity_sat: Some(1) }).collect()
    }

    fn update(&mut self) -> Fact {
        self.said += 1;
        let policy = self.network.channels()[0].policies[0];
        let bytes = self.network.sign_policy(0, Direction::OneToTwo, &policy, NOW.secs() + self.said);
        Fact::Update(ChannelUpdate::from_wire(&bytes[..]).expect("well-formed"))
    }
}

#[test]
fn files_are_named_by_their_start_and_none_is_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        begin(dir.path(), 1, None).finish().unwrap();
    }
    let stem = "2026-11-21T14-00-17Z";
    assert_eq!(
        names(dir.path()),
        [format!("{stem}.gossip_store"), format!("{stem}_02.gossip_store"), format!("{stem}_03.gossip_store")]
    );
}

#[test]
fn a_file_that_is_full_is_followed_by_one_that_begins_with_all_that_is_current() {
    let dir = tempfile::tempdir().unwrap();
    let (mut talk, mut files) = (Talk::new(), begin(dir.path(), 4000, None));
    files.take(NOW, talk.announcements()).unwrap();
    let first = files.path().to_owned();
    while files.path() == first {
        let update = talk.update();
        files.take(NOW.plus(Duration::from_secs(talk.said.into())), vec![update]).unwrap();
    }
    assert!((4000..4400).contains(&fs::metadata(&first).unwrap().len()));
    let current = bodies(files.path());
    let rotated = NOW.plus(Duration::from_secs(talk.said.into()));
    assert!(matches!(&current[..2], [Body::Uuid(_), Body::Time(time)] if *time == rotated), "{current:?}");
    let count = |wanted: fn(&Body) -> bool| current.iter().filter(|body| wanted(body)).count();
    assert_eq!(count(|body| matches!(body, Body::Amount { capacity_sat: 1 })), 4);
    assert_eq!(count(|body| matches!(body, Body::Message(wire) if wire[..2] == [1, 0])), 4);
    assert_eq!(
        count(|body| matches!(body, Body::Message(wire) if wire[..2] == [1, 2])),
        2,
        "the last, and the new one"
    );
    assert_ne!(bodies(&first)[0], current[0], "each has an id of its own");
}

#[test]
fn what_a_file_begins_with_never_makes_up_more_than_half_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let (mut talk, mut files) = (Talk::new(), begin(dir.path(), 1, None));
    files.take(NOW, talk.announcements()).unwrap();
    for _ in 0..200 {
        let update = talk.update();
        files.take(NOW, vec![update]).unwrap();
    }
    let (written, told) = (names(dir.path()), 200 * 150);
    let bytes: u64 = written.iter().map(|name| fs::metadata(dir.path().join(name)).unwrap().len()).sum();
    assert!(written.len() > 5 && bytes < 3 * told, "{bytes} bytes in {written:?}");
}

#[test]
fn files_end_when_the_clock_shows_a_multiple() {
    let dir = tempfile::tempdir().unwrap();
    let (mut talk, hour) = (Talk::new(), Duration::from_secs(3600));
    let mut files = begin(dir.path(), u64::MAX, Some(hour));
    let first = files.path().to_owned();
    files.take(UnixMs(1_795_273_199_999), vec![talk.update()]).unwrap(); // 14:59:59.999
    assert_eq!(files.path(), first);
    files.take(UnixMs(1_795_273_200_000), vec![talk.update()]).unwrap();
    assert!(files.path().ends_with("2026-11-21T15-00-00Z.gossip_store"), "{:?}", files.path());
    // Nothing was heard for some hours: there is nothing to write for them.
    files.take(UnixMs(1_795_273_200_000).plus(hour * 5), vec![talk.update()]).unwrap();
    assert_eq!(names(dir.path()).len(), 3);
}

#[test]
fn a_file_that_cannot_be_begun_leaves_the_last_one_whole_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("recordings");
    let (mut talk, mut files) = (Talk::new(), begin(&place, 1, None));
    files.take(NOW, talk.announcements()).unwrap();
    let moved = dir.path().join("moved");
    fs::rename(&place, &moved).unwrap();
    let update = talk.update();
    let error = files.take(NOW, vec![update]).unwrap_err();
    assert!(format!("{error:#}").contains("cannot write to the directory"), "{error:#}");
    assert_eq!(names(&moved).len(), 1);
    assert_eq!(bodies(&moved.join(&names(&moved)[0])).len(), 2 + 2 * 4);
}

#[test]
fn a_full_disk_is_told_from_other_errors_and_names_the_file() {
    let path = Path::new("/somewhere/x.gossip_store");
    let full = unwritten(ErrorKind::StorageFull.into(), path).to_string();
    assert!(full.contains("no room left") && full.contains("x.gossip_store") && full.contains("whole"), "{full}");
    let other = unwritten(ErrorKind::PermissionDenied.into(), path).to_string();
    assert!(other.starts_with("cannot write the recording /somewhere/x.gossip_store"), "{other}");
}

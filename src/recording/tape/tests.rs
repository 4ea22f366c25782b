//! What is on a tape, read again: every fact at its time, and whole records whatever happens.

use proptest::prelude::*;

use super::super::keeper::tests::{NOW, facts, told, view};
use super::*;
use crate::recording::store::Reader;
use crate::recording::{Found, Record};

fn read(bytes: &[u8]) -> Vec<Record> {
    let found =
        Reader::new(bytes).expect("a known version").map(|located| located.expect("a slice has no errors").found);
    found.map(|found| if let Found::Record(record) = found { record } else { panic!("{found:?}") }).collect()
}

proptest! {
    #[test]
    fn a_recording_that_began_at_any_moment_tells_the_same_network(
        facts in proptest::collection::vec(facts(), 1..60),
        began in 0..60usize,
    ) {
        let began = began.min(facts.len());
        let mut keeper = Keeper::default();
        facts[..began].iter().for_each(|fact| keeper.take(NOW, fact.clone()));
        let mut tape = Tape::new(Vec::new(), [7; 32]).unwrap();
        tape.tell_state(NOW, &keeper).unwrap();
        for (fact, ms) in facts[began..].iter().zip(1..) {
            tape.tell(&mut keeper, UnixMs(NOW.0 + ms), fact.clone()).unwrap();
        }
        tape.hand_on().unwrap();
        prop_assert_eq!(tape.bytes(), tape.get_ref().len() as u64);

        let records = read(&tape.into_inner());
        prop_assert_eq!(&records[0].body, &Body::Uuid([7; 32]));
        prop_assert_eq!(&records[1].body, &Body::Time(NOW));
        prop_assert_eq!(view(&told(records)).channels, view(&facts).channels);
    }
}

/// Takes so many bytes and no more.
struct Small {
    bytes: Vec<u8>,
    room: usize,
}

impl Write for Small {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(self.room - self.bytes.len());
        if taken == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.bytes.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn when_the_room_ends_it_is_known_where_the_last_whole_record_ends() {
    let mut tape = Tape::new(Small { bytes: Vec::new(), room: 100 }, [7; 32]).unwrap();
    let mut keeper = Keeper::default();
    let mut facts = 0;
    let closing =
        |n: u64| Fact::Closed { scid: crate::gossip::ShortChannelId(n), reason: crate::gossip::Closing::Silent };
    let error = loop {
        tape.tell(&mut keeper, NOW, closing(facts)).unwrap();
        match tape.hand_on() {
            Ok(()) => facts += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    let whole = tape.handed_on() as usize;
    let written = tape.into_inner().bytes;
    assert!(whole < written.len());
    assert_eq!(read(&written[..whole]).len(), 2 + facts as usize, "an id, a time, the facts");
}

#[test]
fn the_time_is_told_when_it_changes_and_never_goes_back() {
    let mut tape = Tape::new(Vec::new(), [7; 32]).unwrap();
    let mut keeper = Keeper::default();
    let closing = || Fact::Closed { scid: crate::gossip::ShortChannelId(1), reason: crate::gossip::Closing::Silent };
    for ms in [5, 5, 3, 5, 9] {
        tape.tell(&mut keeper, UnixMs(ms), closing()).unwrap();
    }
    tape.hand_on().unwrap();
    let times = read(&tape.into_inner()).into_iter().filter_map(|record| match record.body {
        Body::Time(time) => Some(time.0),
        _ => None,
    });
    assert_eq!(times.collect::<Vec<_>>(), [5, 9]);
}

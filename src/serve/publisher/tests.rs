use tempfile::TempDir;

use super::*;
use crate::config::Config;
use crate::snapshot::testing::{alone, chain_of};
use crate::snapshot::{Desk, Interval, Mode};

const NETWORK: Network = Network::Regtest;

/// What publishes for one of the runs that share a state.
fn publisher(dir: &TempDir, state: &Arc<State>) -> Publisher {
    let folder = Folder::new(dir.path(), NETWORK);
    Publisher { history: Weak::new(), folder, network: NETWORK, state: Arc::clone(state) }
}

fn due(timestamp: u32) -> Due {
    let mut view = chain_of(10);
    view.epoch.timestamp = timestamp;
    Due { matter: alone(view), viewed_in: Duration::ZERO }
}

#[test]
fn a_run_that_was_abandoned_publishes_nothing_over_the_next_ones_epochs() {
    let dir = TempDir::new().expect("a folder");
    let desk = Desk::new(NETWORK, Mode::Delta, Interval::default());
    let state = Arc::new(State::new(&Config::default(), Arc::new(desk), Arc::new(SystemClock)));
    let (abandoned, next) = (publisher(&dir, &state), publisher(&dir, &state));
    let now_s = SystemClock.now().secs();
    for (publisher, timestamp, served) in
        [(&abandoned, now_s - 60, now_s - 60), (&next, now_s - 20, now_s - 20), (&abandoned, now_s - 50, now_s - 20)]
    {
        publisher.publish(&due(timestamp)).expect("no trouble");
        assert_eq!(state.published(), served);
        assert_eq!(next.folder.load(now_s).map(|snapshot| snapshot.epoch.timestamp), Some(served));
    }
}

//! Stories of channels: announced, heard, proven, disabled, silent, closed, and announced again.

use rgsd::gossip::Policy;
use rgsd::recording::Body;

use super::play::{DAY, HOUR, PROVEN, Play, Story, disabled, fee};

pub fn heard() -> Story {
    let mut play = Play::new(&[[0, 1], [1, 2], [0, 2]]);
    play.at(0);
    play.open(0, [10, 11]);
    play.announce(1);
    play.fee(1, 0, 20);
    play.announce(2);
    let first = (0, [fee(10), fee(11)], PROVEN);
    play.cut(HOUR, "a channel is told once both its directions were heard", &[first]);
    play.at(HOUR + 60);
    play.fee(1, 1, 21);
    let second = (1, [fee(20), fee(21)], PROVEN);
    play.cut(2 * HOUR, "the other direction of one more is heard", &[first, second]);
    play.at(2 * HOUR + 60);
    play.fees(2, [30, 31]);
    let third = (2, [fee(30), fee(31)], PROVEN);
    play.cut(3 * HOUR, "a channel of which nobody had spoken is heard", &[first, second, third]);
    play.story("heard")
}

pub fn proofs() -> Story {
    let mut play = Play::new(&[[0, 1], [1, 2], [0, 2], [0, 3], [1, 3]]);
    // More than the channel holds, and more than there is.
    let large = |millionths| Policy { htlc_maximum_msat: 2_000_000_000, ..fee(millionths) };
    let absurd = Policy { htlc_maximum_msat: u64::MAX, ..fee(29) };
    play.at(0);
    play.announce_unproven(0);
    play.record(Body::Amount { capacity_sat: 0 });
    play.fees(0, [10, 11]);
    play.announce_unproven(1);
    play.fees(1, [20, 21]);
    play.open(2, [30, 31]);
    play.announce_unproven(3);
    play.fee(3, 0, 40);
    play.update(3, 1, large(41));
    let unproven = (1, [fee(20), fee(21)], None);
    let proven = (2, [fee(30), fee(31)], PROVEN);
    let channels = [(0, [fee(10), fee(11)], None), unproven, proven, (3, [fee(40), large(41)], None)];
    play.cut(HOUR, "what nobody looked up is told without a capacity", &channels);
    play.at(HOUR + 60);
    play.prove(0);
    play.prove(3);
    play.update(2, 0, large(35));
    play.update(1, 0, absurd);
    let late = (0, [fee(10), fee(11)], PROVEN);
    let words = "one is proven late; one is found to forward more than it holds, and is not told";
    play.cut(2 * HOUR, words, &[late, unproven, proven]);
    play.at(2 * HOUR + 60);
    play.fee(3, 1, 42);
    let back = (3, [fee(40), fee(42)], PROVEN);
    play.cut(3 * HOUR, "it forwards what it holds, and is told again", &[late, unproven, proven, back]);
    play.story("proofs").refusing(&[("htlc_maximum", 2)])
}

/// The same recording under both settings of `graph`.
pub fn switches() -> [Story; 2] {
    let complete = play_switches(true).story("disabled-complete");
    let borrowed = Some("../disabled/recording.gossip_store");
    let complete = Story { recordings: Vec::new(), borrowed, flags: &["--graph complete"], ..complete };
    let routable = Story { flags: &["--graph routable"], ..play_switches(false).story("disabled") };
    [routable, complete]
}

fn play_switches(complete: bool) -> Play {
    let mut play = Play::new(&[[0, 1], [1, 2], [0, 2], [0, 3]]);
    play.at(0);
    play.open(0, [10, 11]);
    play.open(1, [20, 21]);
    play.announce(2);
    play.update(2, 0, disabled(30));
    play.update(2, 1, disabled(31));
    play.open(3, [40, 41]);
    play.at(1);
    play.update(1, 0, disabled(20));
    let cut = |play: &mut Play, hour: u32, words, third: [Policy; 2], fourth: [Policy; 2]| {
        let all = [[fee(10), fee(11)], [disabled(20), fee(21)], third, fourth];
        let told = |policies: &[Policy; 2]| complete || policies.iter().any(|policy| policy.enabled);
        let channels = all.into_iter().enumerate().filter(|(_, policies)| told(policies));
        let channels: Vec<_> = channels.map(|(channel, policies)| (channel, policies, PROVEN)).collect();
        play.cut(hour * HOUR, words, &channels);
    };
    let off = [disabled(30), disabled(31)];
    cut(&mut play, 1, "one is disabled in one direction, one in both", off, [fee(40), fee(41)]);
    play.at(HOUR + 60);
    play.fee(2, 0, 32);
    play.update(3, 0, disabled(40));
    let on = [fee(32), disabled(31)];
    cut(&mut play, 2, "one is enabled in one direction; another is half disabled", on, [disabled(40), fee(41)]);
    play.at(2 * HOUR + 60);
    play.update(3, 1, disabled(41));
    cut(&mut play, 3, "the other half follows", on, [disabled(40), disabled(41)]);
    play
}

pub fn two_weeks() -> Story {
    let mut play = Play::new(&[[0, 1], [1, 2]]);
    play.at(0);
    play.open(0, [10, 11]);
    play.open(1, [20, 21]);
    play.at(10 * DAY);
    play.fee(0, 1, 11);
    play.fees(1, [20, 21]);
    let (silent, lively) = ((0, [fee(10), fee(11)], PROVEN), (1, [fee(20), fee(21)], PROVEN));
    play.cut(14 * DAY - 1, "a direction was silent for a second less than 14 days", &[silent, lively]);
    play.cut(14 * DAY, "for 14 days exactly", &[silent, lively]);
    play.cut(14 * DAY + 1, "for a second more: its channel is not told", &[lively]);
    play.at(14 * DAY + HOUR);
    play.fee(0, 0, 10);
    play.cut(14 * DAY + 2 * HOUR, "it speaks again, with nothing new to say", &[silent, lively]);
    play.story("two-weeks")
}

pub fn closed() -> Story {
    let mut play = Play::new(&[[0, 1], [1, 2], [0, 2]]);
    play.at(0);
    play.open(0, [10, 11]);
    play.open(1, [20, 21]);
    play.open(2, [30, 31]);
    let stays = (0, [fee(10), fee(11)], PROVEN);
    let all = [stays, (1, [fee(20), fee(21)], PROVEN), (2, [fee(30), fee(31)], PROVEN)];
    play.cut(HOUR, "three channels", &all);
    play.at(HOUR + 60);
    play.close(1);
    play.close(2);
    let late = play.sign(1, 0, fee(25), HOUR + 60);
    play.tell(&late);
    play.cut(2 * HOUR, "two of them are closed; one of these still speaks, in vain", &[stays]);
    play.at(2 * HOUR + 60);
    play.announce(1);
    play.cut(3 * HOUR, "one is announced again, and what it said before is forgotten", &[stays]);
    play.at(3 * HOUR + 60);
    play.fees(1, [26, 27]);
    let [announcement, one, two] = play.network.rival(2, 0);
    play.tell(&announcement);
    play.record(Body::Amount { capacity_sat: 2_000_000 });
    play.tell(&one);
    play.tell(&two);
    let again = [stays, (1, [fee(26), fee(27)], PROVEN), (2, [fee(30), fee(31)], Some(2_000_000))];
    play.cut(4 * HOUR, "it speaks; another channel, of other nodes, has the other's place", &again);
    play.story("closed").refusing(&[("no_channel", 1)])
}

pub fn silent_month() -> Story {
    let mut play = Play::new(&[[0, 1], [1, 2], [0, 2]]);
    play.at(0);
    play.open(0, [10, 11]);
    play.open(1, [20, 21]);
    play.open(2, [30, 31]);
    play.at(2 * DAY);
    play.fees(2, [30, 31]);
    // A recording must go on for a day before it says who was silent.
    for half_hour in 0..=52 {
        play.at(30 * DAY + half_hour * HOUR / 2);
        play.fee(0, half_hour as usize % 2, 10 + half_hour % 2);
    }
    let lively = (0, [fee(10), fee(11)], PROVEN);
    play.cut(31 * DAY + 2 * HOUR, "one channel was silent for 31 days, another for 29", &[lively]);
    play.at(31 * DAY + 2 * HOUR + 60);
    play.fees(1, [22, 23]);
    play.fees(2, [32, 33]);
    let back = (2, [fee(32), fee(33)], PROVEN);
    let words = "both speak, and are back, though only the second was still known";
    play.cut(31 * DAY + 3 * HOUR, words, &[lively, (1, [fee(22), fee(23)], PROVEN), back]);
    play.at(31 * DAY + 3 * HOUR + 60);
    play.open(1, [24, 25]);
    let words = "the first is announced again, which changes nothing, and speaks";
    play.cut(31 * DAY + 4 * HOUR, words, &[lively, (1, [fee(24), fee(25)], PROVEN), back]);
    play.story("silent-month").refusing(&[("already_known", 1)])
}

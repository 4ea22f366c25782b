use super::super::CollectorId;
use super::*;

const ME: CollectorId = CollectorId([1; 16]);
const OTHER: CollectorId = CollectorId([2; 16]);
const JOURNAL: JournalId = JournalId([7; 16]);

fn row(term: u64, holder: CollectorId, last_seq: u64) -> Standing {
    Standing {
        journal: JOURNAL,
        network: "regtest".into(),
        last_seq: Seq(last_seq),
        last_epoch: None,
        term: Term(term),
        holder,
        renewals: 0,
        epoch_offset_s: 17,
        now: Duration::from_secs(1_700_000_000),
        offered: false,
    }
}

fn judged(attachment: Attachment, last_seq: u64, row: &Standing) -> Result<Verdict, Misfit> {
    let identity = Identity { journal: JOURNAL, collector: ME, attachment, epoch_offset_s: 17 };
    judge(&identity, Seq(last_seq), Network::Regtest, row)
}

#[test]
fn the_holder_writes_and_others_follow() {
    let mine = row(3, ME, 100);
    assert_eq!(judged(Attachment::Writing(Term(3)), 120, &mine), Ok(Verdict::Write(Term(3))));
    assert_eq!(judged(Attachment::Writing(Term(3)), 80, &mine), Ok(Verdict::Write(Term(3))), "from a back-up");
    assert_eq!(judged(Attachment::Following, 100, &mine), Ok(Verdict::Write(Term(3))), "killed while taking over");
    assert_eq!(judged(Attachment::Alone, 120, &row(1, ME, 0)), Ok(Verdict::Write(Term(1))), "killed while founding");
    assert_eq!(judged(Attachment::Following, 100, &row(3, OTHER, 100)), Ok(Verdict::Follow));
    assert_eq!(judged(Attachment::Following, 0, &row(3, OTHER, 100)), Ok(Verdict::Follow));
}

#[test]
fn whose_term_has_ended_is_cut_back() {
    assert_eq!(judged(Attachment::Writing(Term(3)), 120, &row(4, OTHER, 100)), Ok(Verdict::CutBack(Term(3))));
    assert_eq!(judged(Attachment::Writing(Term(3)), 120, &row(5, ME, 100)), Ok(Verdict::CutBack(Term(3))));
    assert_eq!(judged(Attachment::Alone, 120, &row(2, OTHER, 0)), Ok(Verdict::CutBack(Term(1))));
}

#[test]
fn what_does_not_go_together_is_refused() {
    let says = |refused: Result<Verdict, Misfit>, part: &str| {
        let sentence = refused.expect_err("refused").to_string();
        assert!(sentence.contains(part) && !sentence.contains('\n'), "{sentence}");
    };
    let other = Standing { journal: JournalId([8; 16]), ..row(1, ME, 0) };
    says(judged(Attachment::Writing(Term(1)), 0, &other), &JOURNAL.to_string());
    let mainnet = Standing { network: "bitcoin".into(), ..row(1, ME, 0) };
    says(judged(Attachment::Writing(Term(1)), 0, &mainnet), "network = \"bitcoin\"");
    says(judged(Attachment::Writing(Term(4)), 120, &row(3, ME, 100)), "entry 120");
    says(judged(Attachment::Writing(Term(3)), 120, &row(3, OTHER, 100)), "entry 120");
    says(judged(Attachment::Following, 120, &row(3, OTHER, 100)), "entry 120");
}

/// A watch of a 15 s lease, and the clocks that go with it.
struct Post {
    watch: Watch,
    row: Standing,
    now: Instant,
}

impl Post {
    fn new() -> Self {
        Self { watch: Watch::new(Duration::from_secs(15)), row: row(1, OTHER, 100), now: Instant::now() }
    }

    /// Time passes on both clocks, and the answer comes at once.
    fn look_after(&mut self, ms: u64) -> bool {
        self.pass(ms, ms);
        self.watch.is_overdue(&self.row, self.now, self.now)
    }

    fn pass(&mut self, here_ms: u64, there_ms: u64) {
        self.now += Duration::from_millis(here_ms);
        self.row.now += Duration::from_millis(there_ms);
    }
}

#[test]
fn a_row_that_stands_still_for_the_lease_is_overdue() {
    let mut post = Post::new();
    assert!((0..15).all(|_| !post.look_after(1_000)), "the first look begins the watch");
    assert!(post.look_after(1_000));
}

#[test]
fn a_sign_of_life_begins_the_watch_anew() {
    let mut post = Post::new();
    for n in 0..100 {
        assert!(!post.look_after(1_000), "{n}");
        if n % 14 == 0 {
            post.row.renewals += 1;
        }
    }
    post.row.term = Term(2);
    assert!((0..15).all(|_| !post.look_after(1_000)));
    assert!(post.look_after(1_000));
}

#[test]
fn who_did_not_look_has_not_watched() {
    let mut post = Post::new();
    assert!((0..14).all(|_| !post.look_after(1_000)));
    assert!(!post.look_after(5_001), "this collector, or the database, stood still");
    post.pass(0, 0);
    let (asked, answered) = (post.now, post.now + Duration::from_secs(6));
    post.now = answered;
    assert!((0..14).all(|_| !post.look_after(1_000)));
    assert!(!post.watch.is_overdue(&post.row, asked, asked + Duration::from_millis(20_001)), "a late answer");
    post.watch.reset();
    assert!(!post.look_after(1_000), "the connection was lost");
}

#[test]
fn neither_clock_alone_makes_a_row_overdue() {
    let mut post = Post::new();
    post.look_after(0);
    post.pass(1_000, 3_600_000);
    assert!(!post.look_after(0), "the database's clock was put forward");
    let mut post = Post::new();
    post.look_after(0);
    for _ in 0..20 {
        post.pass(1_000, 100);
        assert!(!post.look_after(0), "the database's clock is slow");
    }
}

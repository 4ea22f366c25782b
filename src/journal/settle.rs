//! At start: brings the local journal and the archive together, and tells what this collector is.
//!
//! An empty data directory is filled from the archive, or founds one. A journal that is behind catches up. One that
//! was written in a term that has ended is cut back to where that ended: the only cut there is; what it accepted since
//! is kept, to be offered to the archive's writer. Where the archive cannot be reached, the journal itself tells: who
//! wrote goes on writing, and who followed goes on following.

use std::path::PathBuf;

use anyhow::{Context, anyhow};
use bitcoin::Network;
use rand::RngExt;
use tokio::task::spawn_blocking;

use super::lease::{Misfit, Verdict, judge};
use super::link::{Link, Role};
use super::postgres::{Archive, Founding, Standing};
use super::shelf::Shelf;
use super::{
    Attachment, CollectorId, Identity, Journal, JournalId, Opened, Seq, SqliteJournal, Term, Vacancy,
    draw_epoch_offset_s,
};
use crate::gossip::UnixMs;

/// How many entries are fetched at once.
const PAGE: usize = 10_000;

/// What is to be settled.
pub struct Plan<'a> {
    pub data_dir: PathBuf,
    pub network: Network,
    pub replica: bool,
    /// Where this collector's term ended, when that is known already.
    pub overtaken_after: Option<Seq>,
    /// When a new journal is created.
    pub now: UnixMs,
    /// Draws who a new journal is.
    pub rng: &'a mut (dyn rand::Rng + Send),
    /// Told that there is nothing to start from before the archive answers.
    pub waits: &'a mut (dyn FnMut() + Send),
    /// Told of copied entries: the last one's number, and the archive's last.
    pub progress: &'a mut (dyn FnMut(Seq, Seq) + Send),
}

/// A journal, and what its collector is to the archive.
pub struct Settled {
    pub journal: SqliteJournal,
    pub role: Role,
}

/// Settles it. Waits for the archive only where there is no journal yet: that one may be in the archive. An error is a
/// sentence that names what does not go together, and the remedy.
pub async fn settle(link: &mut Link, mut plan: Plan<'_>) -> anyhow::Result<Settled> {
    let (data_dir, network) = (plan.data_dir.clone(), plan.network);
    let mut journal = match spawn_blocking(move || SqliteJournal::look(&data_dir, network)).await?? {
        Opened::Journal(journal) => *journal,
        Opened::Vacant(vacancy) => create(link, vacancy, &mut plan).await?,
    };
    let attachment = journal.identity().attachment;
    if plan.replica && attachment != Attachment::Following {
        return Err(Misfit::NoReplica.into());
    }
    if let Some(end) = plan.overtaken_after {
        cut_back(&mut journal, end)?;
    }
    let joined = match link.try_connect().await {
        Ok((mut archive, _wire)) => join(link, &mut archive, &mut journal, plan.network, plan.progress).await,
        Err(error) => Err(error),
    };
    if let Err(error) = joined {
        // An archive that is filled anew is older than its copies for a while: they wait for it.
        let copy = journal.identity().attachment == Attachment::Following;
        match error.downcast_ref() {
            None => {}
            Some(Misfit::ArchiveIsOlder { .. }) if copy => {}
            Some(_) => return Err(error),
        }
        link.lost(&error).await;
    }
    let role = match journal.identity().attachment {
        _ if plan.replica => Role::Replica,
        Attachment::Following => Role::StandBy,
        Attachment::Alone | Attachment::Writing(_) => Role::Writer,
    };
    link.note(|health| health.role = role);
    Ok(Settled { journal, role })
}

/// Creates the journal in an empty data directory: the archive's, or a new one that the archive begins with.
async fn create(link: &mut Link, vacancy: Vacancy, plan: &mut Plan<'_>) -> anyhow::Result<SqliteJournal> {
    let drawn = Founding {
        journal: JournalId(plan.rng.random()),
        network: plan.network,
        holder: CollectorId(plan.rng.random()),
        term: Term(1),
        epoch_offset_s: draw_epoch_offset_s(None, plan.rng),
    };
    let row = loop {
        match look_or_found(link, &drawn, plan.replica).await {
            Ok(row) => break row,
            Err(error) => {
                (plan.waits)();
                link.lost(&error).await;
            }
        }
    };
    if row.network != plan.network.to_string() {
        return Err(Misfit::OtherNetwork { archive: row.network, local: plan.network }.into());
    }
    let founded = row.holder == drawn.holder;
    let attachment = if founded { Attachment::Writing(row.term) } else { Attachment::Following };
    let identity =
        Identity { journal: row.journal, collector: drawn.holder, attachment, epoch_offset_s: row.epoch_offset_s };
    let now = plan.now;
    spawn_blocking(move || vacancy.create(identity, now)).await?
}

async fn look_or_found(link: &Link, drawn: &Founding, replica: bool) -> anyhow::Result<Standing> {
    let (mut archive, _wire) = link.try_connect().await?;
    match archive.look().await? {
        Some(row) => Ok(row),
        None if replica => Err(anyhow!("the archive is empty: start the collector that is to write it")),
        None => archive.found(drawn).await,
    }
}

/// Judges, cuts and catches up.
async fn join(
    link: &mut Link,
    archive: &mut Archive,
    journal: &mut SqliteJournal,
    network: Network,
    progress: &mut (dyn FnMut(Seq, Seq) + Send),
) -> anyhow::Result<()> {
    let Some(mut row) = archive.look().await? else {
        link.note(|health| health.last_seq = Some(Seq(0)));
        return Ok(()); // the shipper founds it
    };
    let mut shelf = Shelf::new(journal.reader()?);
    if let Verdict::CutBack(term) = judge(&journal.identity(), journal.last_seq(), network, &row)? {
        let end = archive.end_of_term(term).await?;
        let end = end.ok_or(Misfit::ArchiveIsOlder { local: journal.last_seq().0 })?;
        shelf.check_common(archive, end.min(journal.last_seq())).await?;
        cut_back(journal, end)?;
    }
    shelf.check_common(archive, row.last_seq.min(journal.last_seq())).await?;
    if journal.last_seq() < row.last_seq {
        follow_from_here(journal)?;
        while journal.last_seq() < row.last_seq {
            catch_up(archive, journal, &row, progress).await?;
            row = archive.look().await?.context("the archive was emptied")?;
        }
    }
    if let Verdict::Write(term) = judge(&journal.identity(), journal.last_seq(), network, &row)? {
        let attachment = Attachment::Writing(term);
        journal.identify(Identity { attachment, epoch_offset_s: row.epoch_offset_s, ..journal.identity() })?;
    }
    link.note(|health| {
        health.term = Some(row.term);
        health.epoch_offset_s = Some(row.epoch_offset_s);
        health.last_seq = Some(row.last_seq);
    });
    Ok(())
}

/// A journal that is behind is a copy until it has caught up, whatever it was: it must not go on from where it is.
fn follow_from_here(journal: &mut SqliteJournal) -> anyhow::Result<()> {
    Ok(journal.identify(Identity { attachment: Attachment::Following, ..journal.identity() })?)
}

/// Cuts off what was accepted after the term's end.
fn cut_back(journal: &mut SqliteJournal, end: Seq) -> anyhow::Result<()> {
    let entries = journal.cut(end)?;
    tracing::warn!(
        entries,
        "another collector had taken over: what this one journaled since is cut off, and its messages are offered to \
         that one; its epochs since are unknown from now on"
    );
    Ok(())
}

/// Copies up to the row's last entry: the next page is fetched while the last one is written.
async fn catch_up(
    archive: &mut Archive,
    journal: &mut SqliteJournal,
    row: &Standing,
    progress: &mut (dyn FnMut(Seq, Seq) + Send),
) -> anyhow::Result<()> {
    let mut page = archive.page(journal.last_seq(), PAGE).await?;
    while let Some(last) = page.last().map(|entry| entry.seq) {
        // Asked for first, the next page arrives while this one is written.
        let (next, written) = tokio::join!(archive.page(last, PAGE), async { journal.adopt(&page) });
        written?;
        progress(last, row.last_seq);
        if last >= row.last_seq {
            return Ok(());
        }
        page = next?;
    }
    Err(anyhow!(
        "the archive says that its last entry is {}, but has none after {}",
        row.last_seq.0,
        journal.last_seq().0
    ))
}

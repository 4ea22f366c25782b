//! Questions about channels that were let through already, unproven or while another collector watched the chain: which
//! are asked, at most one for each channel.

use std::collections::HashMap;

use super::super::ShortChannelId;
use super::waiting::CandidateId;

#[derive(Default)]
pub(super) struct LateClaims {
    by_id: HashMap<CandidateId, ShortChannelId>,
    by_scid: HashMap<ShortChannelId, CandidateId>,
}

impl LateClaims {
    pub fn add(&mut self, id: CandidateId, scid: ShortChannelId) {
        self.remove_channel(scid);
        self.by_id.insert(id, scid);
        self.by_scid.insert(scid, id);
    }

    /// Takes out the question with this number; tells which channel it is about.
    pub fn remove(&mut self, id: CandidateId) -> Option<ShortChannelId> {
        let scid = self.by_id.remove(&id)?;
        self.by_scid.remove(&scid);
        Some(scid)
    }

    /// Takes out the question about this channel; tells its number.
    pub fn remove_channel(&mut self, scid: ShortChannelId) -> Option<CandidateId> {
        let id = self.by_scid.remove(&scid)?;
        self.by_id.remove(&id);
        Some(id)
    }
}

//! A wallet's graph, as LDK holds it, moved forward through time; and the routes that LDK finds on it.
//!
//! A graph that is built anew for each payment would take longer than its route. So one is built for the first moment
//! of many, and learns from moment to moment what has changed since, as a wallet would that is told by deltas: design
//! 4.4 promises that it then has what a new wallet has.

use bitcoin::constants::ChainHash;
use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
use lightning::ln::channel_state::{ChannelCounterparty, ChannelDetails};
use lightning::ln::channelmanager::MIN_FINAL_CLTV_EXPIRY_DELTA;
use lightning::ln::msgs::UnsignedChannelUpdate;
use lightning::ln::types::ChannelId;
use lightning::routing::gossip::NetworkGraph;
use lightning::routing::router::{PaymentParameters, Route, RouteParameters, find_route};
use lightning::routing::scoring::{
    ProbabilisticScorer, ProbabilisticScoringDecayParameters, ProbabilisticScoringFeeParameters,
};
use lightning::types::features::{Bolt11InvoiceFeatures, ChannelFeatures, InitFeatures};

use super::past::{NEVER, Past};
use crate::gossip::{Direction, NodeId, Policy, ShortChannelId, UnixMs};
use crate::snapshot::Quiet;

/// LDK refuses updates that are older than two weeks by the system's clock, or more than a day ahead: those of the first
/// moment are stamped this long before the simulation begins, and each further moment's a second later. So it may take
/// twelve days.
const STAMPED_BACK_S: u32 = 24 * 3600;

/// When which channels change, in order: what [`Past`] says, by time.
pub(super) struct Turns(Vec<(UnixMs, u32)>);

impl Turns {
    pub fn of(past: &Past) -> Self {
        let mut turns = Vec::with_capacity(past.versions() + past.channels().len());
        for (channel, place) in past.channels().iter().zip(0..) {
            let versions = || Direction::BOTH.into_iter().flat_map(|direction| channel.versions(direction));
            let silent = versions().map(|version| UnixMs((u64::from(version.fresh_until_s) + 1) * 1_000));
            let known = versions().map(|version| version.known);
            let ends = [channel.announced, channel.known_ended];
            let all = known.chain(silent).chain(ends).filter(|at| *at >= channel.announced && *at != NEVER);
            turns.extend(all.map(|at| (at, place)));
        }
        turns.sort_unstable();
        Self(turns)
    }

    /// The channels that change after `from`, and up to `to`; some of them several times.
    fn between(&self, from: UnixMs, to: UnixMs) -> impl Iterator<Item = u32> {
        let first = self.0.partition_point(|(at, _)| *at <= from);
        let last = self.0.partition_point(|(at, _)| *at <= to).max(first);
        self.0[first..last].iter().map(|(_, channel)| *channel)
    }
}

/// What somebody wants to pay.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Wish {
    /// Places in [`Past::nodes`]: of the node that the wallet has its channel with, and of who is paid.
    pub lsp: u32,
    pub payee: u32,
    pub amount_msat: u64,
    /// What LDK's randomness begins with.
    pub seed: [u8; 32],
}

/// See the module's head.
pub(super) struct Wallet<'a> {
    past: &'a Past,
    turns: &'a Turns,
    graph: NetworkGraph<Quiet>,
    chain: ChainHash,
    at: UnixMs,
    stamp_s: u32,
    /// By channel, what the graph has.
    told: Vec<Option<[Policy; 2]>>,
    /// The wallet's own node.
    payer: PublicKey,
}

impl<'a> Wallet<'a> {
    /// A wallet that was told everything at `at`. `now_s` is the system's time in unix seconds.
    pub fn new(past: &'a Past, turns: &'a Turns, network: bitcoin::Network, at: UnixMs, now_s: u32) -> Self {
        let secret = SecretKey::from_slice(&[0x77; 32]).expect("in the curve's range");
        let mut wallet = Self {
            past,
            turns,
            graph: NetworkGraph::new(network, Quiet),
            chain: ChainHash::using_genesis_block_const(network),
            at,
            stamp_s: now_s.saturating_sub(STAMPED_BACK_S),
            told: vec![None; past.channels().len()],
            payer: PublicKey::from_secret_key(&Secp256k1::signing_only(), &secret),
        };
        (0..past.channels().len() as u32).for_each(|channel| wallet.learn(channel));
        wallet
    }

    /// Learns what there was to be told until `at`, which is not before the last time.
    pub fn advance(&mut self, at: UnixMs) {
        let (turns, from) = (self.turns, std::mem::replace(&mut self.at, at));
        self.stamp_s = self.stamp_s.saturating_add(1);
        turns.between(from, at).for_each(|channel| self.learn(channel));
    }

    /// The route that LDK takes: one path if one takes all of it, else several; `None` if there is none.
    ///
    /// Left to itself, LDK also looks for parts where one path would do, and splits one in ten large payments to save
    /// fees. That takes four times as long.
    pub fn route(&self, wish: &Wish) -> Option<Route> {
        let nodes = self.past.nodes();
        let [lsp, payee] = [wish.lsp, wish.payee].map(|place| nodes.get(place as usize));
        let (lsp, payee) = (lsp?.as_pubkey().ok()?, payee?.as_pubkey().ok()?);
        let payment = PaymentParameters::from_node_id(payee, MIN_FINAL_CLTV_EXPIRY_DELTA.into());
        let payment = payment.with_bolt11_features(invoice_features()).ok()?;
        let channel = own_channel(lsp);
        let whole = payment.clone().with_max_path_count(1);
        [whole, payment].into_iter().find_map(|payment| self.find(payment, wish, &channel))
    }

    fn find(&self, payment: PaymentParameters, wish: &Wish, channel: &ChannelDetails) -> Option<Route> {
        let parameters = RouteParameters::from_payment_params_and_value(payment, wish.amount_msat);
        let decay = ProbabilisticScoringDecayParameters::default();
        let scorer = ProbabilisticScorer::new(decay, &self.graph, Quiet);
        let scoring = ProbabilisticScoringFeeParameters::default();
        let (graph, first_hops) = (&self.graph, [channel]);
        find_route(&self.payer, &parameters, graph, Some(&first_hops), Quiet, &scorer, &scoring, &wish.seed).ok()
    }

    /// Brings one channel up to date.
    fn learn(&mut self, place: u32) {
        let (past, at) = (self.past, self.at);
        let channel = &past.channels()[place as usize]; // places come from there
        let now = channel.told(at).map(|policies| policies.map(|policy| *policy));
        let before = std::mem::replace(&mut self.told[place as usize], now);
        match (before, now) {
            (None, None) => {}
            (Some(_), None) if channel.known_ended <= at => self.graph.channel_failed_permanent(channel.scid.0),
            (Some(before), None) => {
                let disabled = before.map(|policy| Policy { enabled: false, ..policy });
                self.tell(channel.scid, Some(before), disabled);
            }
            (before, Some(now)) => {
                if before.is_none() {
                    let ends = channel.nodes.map(|node| past.nodes()[node as usize]);
                    self.announce(channel.scid, channel.capacity_sat, ends);
                }
                self.tell(channel.scid, before, now);
            }
        }
    }

    /// One that is there already is left as it is.
    fn announce(&self, scid: ShortChannelId, capacity_sat: Option<u64>, [one, two]: [NodeId; 2]) {
        let (stamp, features) = (self.stamp_s.into(), ChannelFeatures::empty());
        // What LDK refuses, a wallet does not have.
        let _ = self.graph.add_channel_from_partial_announcement(scid.0, capacity_sat, stamp, features, one, two);
    }

    fn tell(&self, scid: ShortChannelId, before: Option<[Policy; 2]>, now: [Policy; 2]) {
        for direction in Direction::BOTH {
            let policy = &now[direction as usize];
            if before.is_some_and(|before| before[direction as usize] == *policy) {
                continue;
            }
            // What LDK refuses, a wallet does not have.
            let _ = self.graph.update_channel_unsigned(&UnsignedChannelUpdate {
                chain_hash: self.chain,
                short_channel_id: scid.0,
                timestamp: self.stamp_s,
                message_flags: 1,
                channel_flags: direction as u8 | u8::from(!policy.enabled) << 1,
                cltv_expiry_delta: policy.cltv_expiry_delta,
                htlc_minimum_msat: policy.htlc_minimum_msat,
                htlc_maximum_msat: policy.htlc_maximum_msat,
                fee_base_msat: policy.fee_base_msat,
                fee_proportional_millionths: policy.fee_proportional_millionths,
                excess_data: Vec::new(),
            });
        }
    }
}

/// What invoices of today ask for: parts are welcome.
fn invoice_features() -> Bolt11InvoiceFeatures {
    let mut features = Bolt11InvoiceFeatures::empty();
    features.set_variable_length_onion_required();
    features.set_payment_secret_required();
    features.set_basic_mpp_optional();
    features
}

/// The wallet's one channel, unannounced, with enough in it: all that there will ever be.
fn own_channel(lsp: PublicKey) -> ChannelDetails {
    const PLENTY_MSAT: u64 = 21_000_000 * 100_000_000 * 1_000;
    ChannelDetails {
        channel_id: ChannelId::new_zero(),
        counterparty: ChannelCounterparty {
            node_id: lsp,
            features: InitFeatures::empty(),
            unspendable_punishment_reserve: 0,
            forwarding_info: None,
            outbound_htlc_minimum_msat: None,
            outbound_htlc_maximum_msat: None,
        },
        funding_txo: None,
        channel_type: None,
        short_channel_id: Some(1),
        outbound_scid_alias: None,
        inbound_scid_alias: None,
        channel_value_satoshis: PLENTY_MSAT / 1_000,
        unspendable_punishment_reserve: None,
        user_channel_id: 0,
        feerate_sat_per_1000_weight: None,
        outbound_capacity_msat: PLENTY_MSAT,
        next_outbound_htlc_limit_msat: PLENTY_MSAT,
        next_outbound_htlc_minimum_msat: 0,
        inbound_capacity_msat: 0,
        confirmations_required: None,
        confirmations: None,
        force_close_spend_delay: None,
        is_outbound: true,
        is_channel_ready: true,
        channel_shutdown_state: None,
        is_usable: true,
        is_announced: false,
        inbound_htlc_minimum_msat: None,
        inbound_htlc_maximum_msat: None,
        config: None,
        pending_inbound_htlcs: Vec::new(),
        pending_outbound_htlcs: Vec::new(),
        funding_redeem_script: None,
    }
}

#[cfg(test)]
mod tests;

//! LDK's side of the wire: its `PeerManager`, and the handler that puts what it reads into the intake.
//!
//! Nothing here blocks or decides: callbacks queue and return.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::anyhow;
use bitcoin::constants::ChainHash;
use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::{
    self, BaseMessageHandler, GossipTimestampFilter, Init, LightningError, MessageSendEvent, QueryChannelRange,
    RoutingMessageHandler,
};
use lightning::ln::peer_handler::{ErroringMessageHandler, IgnoringMessageHandler, MessageHandler, PeerManager};
use lightning::routing::gossip::NodeId;
use lightning::sign::{KeysManager, NodeSigner, Recipient};
use lightning::types::features::{InitFeatures, NodeFeatures};
use lightning::util::logger::{Level, Logger, Record};
use lightning_net_tokio::SocketDescriptor;

use super::UnixMs;
use super::check::{Gossip, Heard};
use super::intake::{Arrival, Intake};
use super::sync::Ask;

/// LDK's `PeerManager`, its type parameters named once.
pub(super) type Peers = PeerManager<
    SocketDescriptor,
    Arc<ErroringMessageHandler>,
    Arc<Wire>,
    Arc<IgnoringMessageHandler>,
    Arc<LogBridge>,
    IgnoringMessageHandler,
    Arc<KeysManager>,
    Arc<IgnoringMessageHandler>,
>;

/// Sets LDK's `PeerManager` up: gossip goes to `wire`, everything else is declined. Tells which node we are, too.
pub(super) fn peer_manager(wire: Arc<Wire>, secrets: &Secrets, now: UnixMs) -> anyhow::Result<(Peers, NodeId)> {
    let handlers = MessageHandler {
        chan_handler: Arc::new(ErroringMessageHandler::new()),
        route_handler: wire,
        onion_message_handler: Arc::new(IgnoringMessageHandler {}),
        custom_message_handler: IgnoringMessageHandler {},
        send_only_message_handler: Arc::new(IgnoringMessageHandler {}),
    };
    let subsec_nanos = u32::try_from(now.0 % 1000).unwrap_or(0) * 1_000_000;
    let keys = KeysManager::new(&secrets.node_key, now.0 / 1000, subsec_nanos, true);
    let own_key = keys.get_node_id(Recipient::Node).map_err(|()| anyhow!("LDK has no key for our node"))?;
    let manager = PeerManager::new(handlers, now.secs(), &secrets.ephemeral, Arc::new(LogBridge), Arc::new(keys));
    Ok((manager, NodeId::from_pubkey(&own_key)))
}

/// What makes a node itself on the wire.
pub struct Secrets {
    /// Seed of the node's key; kept in `data_dir`.
    pub node_key: [u8; 32],
    /// Fresh at every start: seeds the handshakes' ephemeral keys (BOLT 8).
    pub ephemeral: [u8; 32],
}

/// Puts what LDK reads into the intake, and hands LDK what is to be sent.
pub(super) struct Wire {
    chain: ChainHash,
    intake: Arc<Intake>,
    outbox: Mutex<Vec<MessageSendEvent>>,
}

impl Wire {
    pub fn new(chain: ChainHash, intake: Arc<Intake>) -> Self {
        Self { chain, intake, outbox: Mutex::new(Vec::new()) }
    }

    /// Queues what a newly connected peer is asked; `PeerManager::process_events` sends it.
    pub fn ask(&self, peer: &NodeId, ask: Ask, now: UnixMs) {
        let Ok(node_id) = PublicKey::from_slice(peer.as_slice()) else { return };
        // A peer takes the filter's time for its own messages' timestamps, which may be hours behind.
        let first_timestamp = match ask {
            Ask::Full => 0,
            Ask::Recent => now.secs().saturating_sub(3600),
        };
        let timestamp_range = u32::MAX - first_timestamp;
        let msg = GossipTimestampFilter { chain_hash: self.chain, first_timestamp, timestamp_range };
        let mut outbox = self.lock();
        if ask == Ask::Full {
            let msg = QueryChannelRange { chain_hash: self.chain, first_blocknum: 0, number_of_blocks: u32::MAX };
            outbox.push(MessageSendEvent::SendChannelRangeQuery { node_id, msg });
        }
        outbox.push(MessageSendEvent::SendGossipTimestampFilter { node_id, msg });
    }

    fn heard(&self, peer: Option<PublicKey>, message: Gossip) -> Result<bool, LightningError> {
        if let Some(peer) = peer {
            let peer = NodeId::from_pubkey(&peer);
            self.intake.sent(peer, Arrival::Message(Heard { peer, message }));
        }
        Ok(false) // never forwarded: this node only listens
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<MessageSendEvent>> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BaseMessageHandler for Wire {
    fn get_and_clear_pending_msg_events(&self) -> Vec<MessageSendEvent> {
        std::mem::take(&mut *self.lock())
    }

    fn peer_connected(&self, peer: PublicKey, init: &Init, _inbound: bool) -> Result<(), ()> {
        if init.networks.as_ref().is_some_and(|networks| !networks.contains(&self.chain)) {
            tracing::warn!(%peer, "the peer serves other networks only: disconnected");
            return Err(());
        }
        let queries = init.features.supports_gossip_queries();
        self.intake.event(Arrival::Connected { peer: NodeId::from_pubkey(&peer), queries });
        Ok(())
    }

    fn peer_disconnected(&self, peer: PublicKey) {
        self.intake.event(Arrival::Disconnected(NodeId::from_pubkey(&peer)));
    }

    fn provided_node_features(&self) -> NodeFeatures {
        NodeFeatures::empty()
    }

    fn provided_init_features(&self, _peer: PublicKey) -> InitFeatures {
        let mut features = InitFeatures::empty();
        features.set_gossip_queries_optional();
        features
    }
}

impl RoutingMessageHandler for Wire {
    fn handle_node_announcement(
        &self,
        peer: Option<PublicKey>,
        msg: &msgs::NodeAnnouncement,
    ) -> Result<bool, LightningError> {
        self.heard(peer, Gossip::Node(Box::new(msg.clone())))
    }

    fn handle_channel_announcement(
        &self,
        peer: Option<PublicKey>,
        msg: &msgs::ChannelAnnouncement,
    ) -> Result<bool, LightningError> {
        self.heard(peer, Gossip::Channel(Box::new(msg.clone())))
    }

    fn handle_channel_update(
        &self,
        peer: Option<PublicKey>,
        msg: &msgs::ChannelUpdate,
    ) -> Result<bool, LightningError> {
        self.heard(peer, Gossip::Update(Box::new(msg.clone())))
    }

    fn get_next_channel_announcement(
        &self,
        _starting_point: u64,
    ) -> Option<(msgs::ChannelAnnouncement, Option<msgs::ChannelUpdate>, Option<msgs::ChannelUpdate>)> {
        None // peers cannot sync from us
    }

    fn get_next_node_announcement(&self, _starting_point: Option<&NodeId>) -> Option<msgs::NodeAnnouncement> {
        None
    }

    fn handle_reply_channel_range(
        &self,
        peer: PublicKey,
        reply: msgs::ReplyChannelRange,
    ) -> Result<(), LightningError> {
        let peer = NodeId::from_pubkey(&peer);
        self.intake.sent(peer, Arrival::Inventory { peer, reply });
        Ok(())
    }

    fn handle_reply_short_channel_ids_end(
        &self,
        _peer: PublicKey,
        _msg: msgs::ReplyShortChannelIdsEnd,
    ) -> Result<(), LightningError> {
        Ok(())
    }

    /// Whoever asks is answered (BOLT 7), with nothing: this node only listens.
    fn handle_query_channel_range(
        &self,
        peer: PublicKey,
        query: msgs::QueryChannelRange,
    ) -> Result<(), LightningError> {
        let msg = msgs::ReplyChannelRange {
            chain_hash: query.chain_hash,
            first_blocknum: query.first_blocknum,
            number_of_blocks: query.number_of_blocks,
            sync_complete: false,
            short_channel_ids: Vec::new(),
        };
        self.lock().push(MessageSendEvent::SendReplyChannelRange { node_id: peer, msg });
        Ok(())
    }

    fn handle_query_short_channel_ids(
        &self,
        _peer: PublicKey,
        _msg: msgs::QueryShortChannelIds,
    ) -> Result<(), LightningError> {
        Ok(()) // of the channels in an empty reply, there is nothing to ask
    }

    fn processing_queue_high(&self) -> bool {
        self.intake.is_high()
    }
}

/// LDK's log lines, as tracing events; its "info" speaks of single peers, which is our "debug".
pub(super) struct LogBridge;

impl Logger for LogBridge {
    fn log(&self, record: Record) {
        let module = record.module_path;
        match record.level {
            Level::Gossip | Level::Trace => tracing::trace!(target: "ldk", module, "{}", record.args),
            Level::Debug | Level::Info => tracing::debug!(target: "ldk", module, "{}", record.args),
            Level::Warn => tracing::warn!(target: "ldk", module, "{}", record.args),
            Level::Error => tracing::error!(target: "ldk", module, "{}", record.args),
        }
    }
}

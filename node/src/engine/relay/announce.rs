//! New blocks on their way to peers.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use chain::{
    block::{Block, Header},
    check::CheckedBlock,
    error::SubmitError,
    ledger::Update,
    store::{Store, StoreError},
};

use super::receive::Early;
use crate::{
    engine::{
        Engine, Now,
        peers::{Asked, PeerState},
    },
    p2p::{
        Peer,
        wire::{CompactBlock, Request},
    },
};

/// Peers to which a new block is pushed, at the most.
const MAX_PUSHES: usize = 16;
/// Where more peers than that lack a block, so many get it before it is judged (Bitcoin Core's number).
const MAX_EAGER: usize = 3;

/// The block that was last made short or rebuilt.
#[derive(Clone, Debug)]
pub(super) struct Latest {
    compact: Arc<CompactBlock>,
    /// To how many peers it was pushed.
    pushes: usize,
}

impl<S: Store> Engine<S> {
    /// Peers that are not known to have a block. First those to which blocks of ours were new most lately: they
    /// are the ones that others hear of blocks from later than from us (BIP-152's high-bandwidth peers, seen from
    /// the other end).
    fn peers_without(&self, compact: &CompactBlock) -> Vec<Peer> {
        let hash = compact.hash();
        let lacks = |(peer, state): (&Peer, &PeerState)| {
            let tip = state.status.as_ref().map(|status| status.tip);
            let lacks = tip != Some(hash) && state.has != Some(hash);
            lacks.then_some((Reverse(state.pushes.welcomed_ms), *peer))
        };
        let mut peers: Vec<_> = self.peers.iter().filter_map(lacks).collect();
        peers.sort_unstable();
        peers.into_iter().map(|(_, peer)| peer).collect()
    }

    fn push_to(&mut self, peers: Vec<Peer>, compact: &Arc<CompactBlock>, now: Now) {
        self.trails.announced(&compact.hash(), peers.len());
        for peer in peers {
            if let Some(state) = self.peers.get_mut(&peer) {
                state.has = Some(compact.hash());
            }
            self.ask(peer, Asked::Compact, Request::Compact(Arc::clone(compact)), now);
        }
    }

    /// Passes a block on whose header's work is checked, and whose body is the header's and keeps the isolated rules,
    /// before its coins are looked up. In a large network to a few peers: the others get it afterwards.
    pub(super) fn push_early(&mut self, compact: &Arc<CompactBlock>, now: Now) {
        let mut peers = self.peers_without(compact);
        if peers.len() > MAX_PUSHES {
            peers.truncate(MAX_EAGER);
        }
        self.relay.latest = Some(Latest { compact: Arc::clone(compact), pushes: peers.len() });
        self.push_to(peers, compact, now);
    }

    /// Whether a block would be the tip if its rules hold: its header has more work than the tip, and all bodies
    /// below it are here.
    pub(super) fn would_lead(&self, header: &Header) -> bool {
        let tree = self.ledger.tree();
        let is_better = tree.find(&header.hash()).map(|id| tree.node(id));
        let is_better = is_better.is_some_and(|node| {
            !node.is_invalid() && !node.has_body() && node.work() > self.ledger.tip().work
        });
        is_better && tree.find(&header.previous).is_some_and(|parent| tree.node(parent).is_complete())
    }

    /// Announces a block that was mined here or submitted by a user, before its coins are looked up: peers work on
    /// it while we do. Returns it for [`Self::submit_checked`].
    ///
    /// # Errors
    /// Why it is refused already. [`SubmitError::Storage`] must stop the node.
    pub fn announce_found(&mut self, block: Block, now: Now) -> Result<CheckedBlock, SubmitError> {
        let outcome = self.check_found(block, now);
        if let Err(SubmitError::Storage(error)) = &outcome {
            self.note_storage(error);
        }
        outcome
    }

    fn check_found(&mut self, block: Block, now: Now) -> Result<CheckedBlock, SubmitError> {
        let header = block.header;
        self.trails.arrived(block.hash(), block.transactions.len());
        // Its outcome is told by the ledger below, but for a header that is refused.
        match self.ledger.submit_headers(&[header], now.wall) {
            Ok(_) => {}
            Err(error) => {
                if matches!(error, SubmitError::TooEarly { .. }) {
                    // Its maker's clock is ahead of ours.
                    self.keep_early(Early::Block(Arc::new(block)), now);
                }
                return Err(error);
            }
        }
        let (chain, verdicts) = (self.ledger.chain(), self.ledger.verdicts());
        match CheckedBlock::check_knowing(block.clone(), chain, verdicts) {
            Ok(checked) => {
                if self.would_lead(&header) {
                    let compact = self.shorten(&checked);
                    self.push_early(&compact, now);
                }
                Ok(checked)
            }
            // The ledger must hear of it, so that the header is marked if it is at fault.
            Err(error) => {
                self.take_block(Arc::new(block), now)?;
                Err(error)
            }
        }
    }

    /// Takes a block that [`Self::announce_found`] has announced.
    ///
    /// # Errors
    /// Why it was not taken. [`SubmitError::Storage`] must stop the node.
    pub fn submit_checked(&mut self, block: CheckedBlock, now: Now) -> Result<Update, SubmitError> {
        let outcome = self.take_checked(block, now);
        if let Err(SubmitError::Storage(error)) = &outcome {
            self.note_storage(error);
        }
        outcome
    }

    fn take_checked(&mut self, block: CheckedBlock, now: Now) -> Result<Update, SubmitError> {
        let update = self.connect_checked(block, now)?;
        if update.moved_tip() {
            self.announce_tip(None, now)?;
        }
        Ok(update)
    }

    /// Gives a block to the ledger that was held against the isolated rules, and sees to all that follows from it
    /// but its announcement.
    pub(super) fn connect_checked(&mut self, block: CheckedBlock, now: Now) -> Result<Update, SubmitError> {
        let hash = block.hash();
        let payments = BTreeMap::from([(hash, block.transactions().len() as u64)]);
        let update = self.ledger.submit_checked(block, now.wall)?;
        self.note_arrival(&hash);
        self.look_for_ready();
        self.follow_update(&update, &payments, now)?;
        Ok(update)
    }

    /// A block in short. What nothing was known of here before it came is carried whole: others will lack it too.
    fn shorten(&mut self, block: &CheckedBlock) -> Arc<CompactBlock> {
        // A number that was not used before: nobody has to guess it, only not to know it long before the block.
        let nonce = self.next_request_id().0;
        let verdicts = self.ledger.verdicts();
        let is_rare = |id: &_| verdicts.find(id).is_none();
        Arc::new(CompactBlock::of(block, nonce, is_rare))
    }

    pub(in crate::engine) fn take_and_announce(
        &mut self,
        block: Arc<Block>,
        now: Now,
    ) -> Result<Update, SubmitError> {
        let update = self.take_block(block, now)?;
        if update.moved_tip() {
            self.announce_tip(None, now)?;
        }
        Ok(update)
    }

    /// Pushes the tip to peers that are not known to have it.
    pub(in crate::engine) fn announce_tip(
        &mut self,
        except: Option<Peer>,
        now: Now,
    ) -> Result<(), StoreError> {
        let hash = self.ledger.tip().id.hash;
        let mut latest = match self.relay.latest.take().filter(|latest| latest.compact.hash() == hash) {
            Some(latest) => latest,
            None => match self.ledger.checked_block(&hash)? {
                Some(block) => Latest { compact: self.shorten(&block), pushes: 0 },
                None => return Ok(()),
            },
        };
        let mut peers = self.peers_without(&latest.compact);
        peers.retain(|peer| Some(*peer) != except);
        peers.truncate(MAX_PUSHES.saturating_sub(latest.pushes));
        latest.pushes += peers.len();
        self.push_to(peers, &latest.compact, now);
        self.relay.latest = Some(latest);
        Ok(())
    }
}

//! Replacement: which transaction may take the place of those that spend the same coins.
//!
//! Five rules, written for users in `docs/mempool.md`:
//!
//! - R1: whatever waits may be replaced; nobody need have said so beforehand (so that no such word can be lost or
//!   inherited wrongly, CVE-2021-31876). What returns from a block or a file replaces nothing.
//! - R2: the newcomer spends no output of what it replaces.
//! - R3: at most [`MAX_REPLACED`] transactions leave, descendants counted.
//! - R4: the newcomer pays at least all fees that are lost, and for its own bytes the relay fee on top: whoever has
//!   the network carry a transaction pays for it, each time (threat M04).
//! - R5: the fee rate diagram of all clusters that are touched is nowhere lower than before, and somewhere higher:
//!   whatever room a miner has, it earns no less. A low-paying child that somebody hangs onto a shared output makes
//!   the diagram no higher where it counts, so that it cannot pin what it spends from; it costs whoever replaces
//!   it its fee (R4), and the limit on a cluster's bytes bounds that (threat M02).

use std::collections::BTreeSet;

use chain::{amount::Amount, check::CheckedTransaction};

use super::{
    AcceptError, Mempool, ReplacementError,
    entry::{charged_bytes, weight},
    floor::{MIN_RELAY_FEE_RATE, fee_at},
    graph::{ClusterLimits, FeeRate, Slot},
};

/// The most transactions that leave for one, descendants counted (rule R3).
pub const MAX_REPLACED: usize = 100;

impl Mempool {
    /// Those that spend the same coins as a newcomer, with their descendants, if it may replace them.
    pub(super) fn find_replaced(
        &self,
        checked: &CheckedTransaction,
        fee: Amount,
        parents: &[Slot],
        limits: ClusterLimits,
    ) -> Result<BTreeSet<Slot>, AcceptError> {
        let inputs = &checked.transaction().inputs;
        let first = inputs.iter().find_map(|input| Some((*input, self.spender(input)?)));
        let Some((outpoint, by)) = first else { return Ok(BTreeSet::new()) };
        let refuse = |why: ReplacementError| AcceptError::Conflict { outpoint, by, why };
        let mut leaving = BTreeSet::new();
        for slot in inputs.iter().filter_map(|input| self.spends.get(input)) {
            if leaving.insert(*slot) {
                leaving.extend(self.graph.descendants(*slot));
            }
            if leaving.len() > MAX_REPLACED {
                return Err(refuse(ReplacementError::TooMany));
            }
        }
        if let Some(own) = parents.iter().find(|parent| leaving.contains(parent)) {
            return Err(refuse(ReplacementError::SpendsReplaced(self.id_at(*own).unwrap_or(by))));
        }
        let lost = Self::totals(self.entries_at(&leaving)).fees;
        let relay = fee_at(MIN_RELAY_FEE_RATE, charged_bytes(checked));
        let needed = lost.checked_add(relay).unwrap_or(Amount::from_pebbles(u64::MAX));
        if fee < needed {
            return Err(refuse(ReplacementError::LowFee { fee, needed }));
        }
        // Diagrams are drawn of clusters, which are small: what would make a larger one is refused first.
        self.graph
            .check_cluster(weight(checked, fee, u64::MAX), parents, &leaving, limits)
            .map_err(|_| AcceptError::ClusterFull)?;
        let rate = FeeRate { fee: fee.pebbles(), bytes: checked.size() };
        let (before, after) = self.graph.diagrams(rate, parents, &leaving);
        if !after.is_better_than(&before) {
            return Err(refuse(ReplacementError::NotBetter));
        }
        Ok(leaving)
    }

    /// Nothing is replaced by what returns.
    pub(super) fn refuse_conflict(
        &self,
        checked: &CheckedTransaction,
    ) -> Result<BTreeSet<Slot>, AcceptError> {
        let mut inputs = checked.transaction().inputs.iter();
        match inputs.find_map(|input| Some((*input, self.spender(input)?))) {
            None => Ok(BTreeSet::new()),
            Some((outpoint, by)) => {
                Err(AcceptError::Conflict { outpoint, by, why: ReplacementError::NotAllowed })
            }
        }
    }
}

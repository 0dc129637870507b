//! The fake as a [`Backend`]: reads are answered at once, commands by the simplest rules that a test needs.

use std::{
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
};

use chain::{
    address::Address,
    amount::Amount,
    genesis::Chain,
    hash::{BlockHash, TxId},
    height::Height,
    time::Time,
    transaction::{Coinbase, Output, Transaction},
};
use rpc::backend::*;

use super::{FEE, Fake, REWARD, block};

impl Fake {
    fn judge(&self, transaction: &Transaction, max_fee_rate: Option<Amount>) -> Result<Accepted, Rejection> {
        let reject = |kind, reason: &str, details: String| Rejection { kind, reason: reason.into(), details };
        let state = self.state();
        let txid = transaction.txid();
        if state.transaction(&txid).expect("the fake's store never fails").is_some() {
            let details = format!("{txid} is known already");
            return Err(reject(RejectionKind::AlreadyKnown, "txn-already-known", details));
        }
        let coins = state.coins();
        let mut spent_sum = 0;
        for spent in &transaction.inputs {
            if let Some(other) = state.spender(spent) {
                let details = format!("{spent} is spent by {other}");
                return Err(reject(RejectionKind::Refused, "txn-mempool-conflict", details));
            }
            let Some(coin) = coins.get(spent) else {
                let details = format!("{spent} does not exist or is spent");
                return Err(reject(RejectionKind::MissingInputs, "bad-txns-inputs-missingorspent", details));
            };
            spent_sum += coin.output.amount.pebbles();
        }
        let paid: u64 = transaction.outputs.iter().map(|output| output.amount.pebbles()).sum();
        let size = u32::try_from(transaction.to_bytes().len()).expect("small");
        let fee = spent_sum - paid;
        if max_fee_rate.is_some_and(|rate| fee * 1_000 > rate.pebbles() * u64::from(size)) {
            return Err(reject(RejectionKind::FeeTooHigh, "max-fee-exceeded", "the fee is too high".into()));
        }
        Ok(Accepted { fee: Amount::from_pebbles(fee), size })
    }
}

impl Fake {
    fn advise(&self, what: &'static str, hash: BlockHash) -> Result<(), CommandError> {
        self.state().header(&hash).ok_or(CommandError::UnknownBlock)?;
        self.advice.lock().expect("no panic").push((what, hash));
        Ok(())
    }
}

impl Lab for Fake {
    fn set(&self, peer: &str, conditions: Conditions) -> Result<(), CommandError> {
        self.conditions.lock().expect("no panic").push(PeerConditions { peer: peer.into(), conditions });
        Ok(())
    }
    fn list(&self) -> Vec<PeerConditions> {
        self.conditions.lock().expect("no panic").clone()
    }
    fn clear(&self, peer: Option<&str>) -> Result<(), CommandError> {
        let named = |set: &PeerConditions| peer.is_none_or(|peer| set.peer == peer);
        self.conditions.lock().expect("no panic").retain(|set| !named(set));
        Ok(())
    }
}

impl Backend for Fake {
    fn chain(&self) -> &Chain {
        &self.chain
    }
    async fn read<R: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn View) -> R + Send + 'static,
    ) -> Result<R, Unavailable> {
        if *self.stopped.borrow() {
            return Err(Unavailable);
        }
        Ok(read(&*self.state()))
    }
    async fn read_indexed<R: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn View, &dyn IndexView) -> R + Send + 'static,
    ) -> Result<R, IndexError> {
        if *self.stopped.borrow() {
            return Err(Unavailable.into());
        }
        let state = self.state();
        if let Some(error) = state.index_error.clone() {
            return Err(error);
        }
        Ok(read(&*state, &*state))
    }
    async fn submit_transaction(
        &self,
        transaction: Transaction,
        max_fee_rate: Option<Amount>,
    ) -> Result<TxId, CommandError> {
        self.judge(&transaction, max_fee_rate)?;
        let txid = transaction.txid();
        self.state().mempool.push(Arc::new(transaction));
        Ok(txid)
    }
    async fn test_transactions(
        &self,
        transactions: Vec<Transaction>,
        max_fee_rate: Option<Amount>,
    ) -> Result<Vec<MempoolVerdict>, CommandError> {
        Ok(transactions.iter().map(|transaction| self.judge(transaction, max_fee_rate)).collect())
    }
    async fn submit_block(&self, submission: BlockSubmission) -> Result<BlockVerdict, CommandError> {
        let verdict = match &submission {
            BlockSubmission::Full(block) => {
                let mut state = self.state();
                if state.header(&block.hash()).is_some() {
                    BlockVerdict::Duplicate
                } else if block.header.previous == state.tip().id.hash {
                    state.active.push(Arc::new(block.clone()));
                    BlockVerdict::Accepted
                } else {
                    BlockVerdict::Inconclusive
                }
            }
            BlockSubmission::CoinbaseOnly { .. } => BlockVerdict::Rejected("bad-txnmrklroot".into()),
        };
        self.submitted.lock().expect("no panic").push(submission);
        Ok(verdict)
    }
    async fn template(&self, payee: Option<Address>) -> Result<TemplateData, CommandError> {
        let state = self.state();
        let tip = state.tip();
        let height = tip.id.height.next().ok_or(CommandError::NotConnected)?;
        let payee = payee.unwrap_or(super::address(1));
        let transactions = state.mempool_entries().into_iter().map(|entry| TemplateTransaction {
            transaction: entry.transaction,
            txid: entry.txid,
            witness_txid: entry.witness_txid,
            fee: entry.fee,
            signatures: 1,
            depends: Vec::new(),
        });
        Ok(TemplateData {
            number: 7,
            previous: tip.id.hash,
            height,
            version: 0x2000_0000,
            time: tip.header.time.saturating_add_secs(5),
            min_time: tip.median_time_past.saturating_add_secs(1),
            bits: tip.header.bits,
            coinbase: Coinbase {
                height,
                free: [0; 96],
                outputs: vec![Output::pay(payee, Amount::from_pebbles(REWARD + FEE))],
            },
            transactions: transactions.collect(),
        })
    }
    async fn generate(
        &self,
        count: u32,
        address: Address,
        _max_tries: u64,
    ) -> Result<Vec<BlockHash>, CommandError> {
        if address != super::address(1) {
            return Err(CommandError::WrongChain("blocks are made on demand on dev chains only".into()));
        }
        let mut state = self.state();
        let mut hashes = Vec::new();
        for _ in 0..count {
            let height = state.tip_height().get() + 1;
            let next = block(state.active.last().expect("genesis"), height, 1, Vec::new());
            hashes.push(next.hash());
            state.active.push(Arc::new(next));
        }
        Ok(hashes)
    }
    async fn read_block(
        &self,
        hash: BlockHash,
        with_spent: bool,
    ) -> Result<Option<BlockWithSpent>, CommandError> {
        let state = self.state();
        let Some(block) = state.block(&hash)? else { return Ok(None) };
        let active = state.active.iter().any(|other| other.hash() == hash);
        let spent = || {
            let inputs = block.transactions.iter().flat_map(|transaction| &transaction.inputs);
            inputs.map(|input| (*input, state.made(input))).collect()
        };
        let spent = if with_spent && active { Some(spent()) } else { None };
        Ok(Some(BlockWithSpent { block: Arc::clone(&block), spent }))
    }
    async fn verify_chain(
        &self,
        level: CheckLevel,
        blocks: Option<u32>,
    ) -> Result<ChainVerdict, CommandError> {
        self.checks.lock().expect("no panic").push((level, blocks));
        Ok(self.verdict.lock().expect("no panic").clone().unwrap_or(ChainVerdict::Sound))
    }
    async fn invalidate_block(&self, hash: BlockHash) -> Result<(), CommandError> {
        if hash == self.chain.id() {
            return Err(CommandError::GenesisBlock);
        }
        self.advise("invalidate", hash)
    }
    async fn reconsider_block(&self, hash: BlockHash) -> Result<(), CommandError> {
        self.advise("reconsider", hash)
    }
    async fn make_precious(&self, hash: BlockHash) -> Result<(), CommandError> {
        self.advise("precious", hash)
    }
    async fn save_mempool(&self) -> Result<PathBuf, CommandError> {
        if self.state().mempool.is_empty() {
            return Err(CommandError::NotSaved("the disk is full".into()));
        }
        Ok("/data/mempool.dat".into())
    }
    async fn coin_set(&self) -> Result<CoinSet, CommandError> {
        let state = self.state();
        let coins = state.coins();
        let amount = coins.values().map(|coin| coin.output.amount.pebbles()).sum();
        Ok(CoinSet {
            tip: state.tip().id,
            count: coins.len() as u64,
            amount: Amount::from_pebbles(amount),
            hash: [0xab; 32],
            disk_bytes: 1_024,
        })
    }
    async fn peers(&self) -> Result<Vec<Peer>, CommandError> {
        Ok(vec![Peer {
            id: 3,
            peer_id: "12D3KooW".into(),
            address: "/ip4/127.0.0.1/tcp/4001".into(),
            inbound: true,
            connected: Time::from_secs(1_700_000_000),
            agent: "cairn/0.1.0".into(),
            starting_height: Some(Height::new(4)),
            connection_type: "inbound",
            height: Some(Height::new(12)),
            common_height: Some(Height::new(11)),
            score: 0,
            min_latency: None,
            last_block_secs: None,
            last_transaction_secs: None,
            latency: Some(std::time::Duration::from_millis(2)),
            bytes_sent: Some(10),
            bytes_received: Some(20),
        }])
    }
    async fn add_peer(&self, peer: String, action: AddPeer) -> Result<(), CommandError> {
        let mut added = self.added.lock().expect("no panic");
        if !peer.starts_with('/') {
            return Err(CommandError::InvalidPeer("a peer is a multiaddress".into()));
        }
        let known = added.iter().position(|(name, _)| *name == peer);
        match (action, known) {
            (AddPeer::Add, Some(_)) => Err(CommandError::PeerAlreadyAdded),
            (AddPeer::Remove, None) => Err(CommandError::PeerNotAdded),
            (AddPeer::Remove, Some(index)) => {
                added.remove(index);
                Ok(())
            }
            (AddPeer::Add, None) => {
                added.push((peer, action));
                Ok(())
            }
            (AddPeer::TryOnce, _) => Ok(()),
        }
    }
    async fn set_ban(&self, subject: String, action: SetBan) -> Result<(), CommandError> {
        let mut bans = self.bans.lock().expect("no panic");
        if !subject.contains('/') {
            return Err(CommandError::InvalidSubnet("no network".into()));
        }
        let known = bans.iter().position(|ban| ban.subject == subject);
        match (action, known) {
            (SetBan::Add { .. }, Some(_)) => Err(CommandError::AlreadyBanned),
            (SetBan::Add { secs }, None) => {
                bans.push(BannedPeer {
                    subject,
                    since_secs: 5,
                    until_secs: 5 + secs,
                    reason: "a test".into(),
                });
                Ok(())
            }
            (SetBan::Remove, Some(index)) => {
                bans.remove(index);
                Ok(())
            }
            (SetBan::Remove, None) => Err(CommandError::NotBanned),
        }
    }
    async fn bans(&self) -> Result<Vec<BannedPeer>, CommandError> {
        Ok(self.bans.lock().expect("no panic").clone())
    }
    async fn clear_bans(&self) -> Result<(), CommandError> {
        self.bans.lock().expect("no panic").clear();
        Ok(())
    }
    async fn disconnect_peer(&self, peer: String) -> Result<(), CommandError> {
        if peer == "3" { Ok(()) } else { Err(CommandError::PeerNotConnected) }
    }
    async fn network(&self) -> Result<NetworkState, CommandError> {
        Ok(NetworkState {
            agent: "cairn/0.1.0".into(),
            protocol_version: 1,
            peer_id: "12D3KooW".into(),
            listen: vec!["/ip4/127.0.0.1/tcp/4000".into()],
            inbound: 1,
            outbound: 0,
        })
    }
    async fn mining(&self) -> Result<MiningState, CommandError> {
        Ok(MiningState {
            address: Some(super::address(1)),
            hash_rate: 1_000.0,
            throttle: Some(1_000.0),
            threads: 2,
        })
    }
    fn lab(&self) -> Option<&dyn Lab> {
        self.has_lab.load(Ordering::SeqCst).then_some(self as &dyn Lab)
    }
    fn uptime_secs(&self) -> u64 {
        42
    }
    fn stop(&self) {
        self.stopped.send_replace(true);
    }
}

//! Whoever holds a key and pays with it, without the wallet: so that a story can also send what no wallet would.

use chain::{
    address::Address,
    amount::Amount,
    genesis::Chain,
    hash::sha256,
    policy::{Policy, PublicKey, Witness},
    signature::signature_message,
    transaction::{OutPoint, Output, Transaction},
};
use ed25519_dalek::{Signer, SigningKey};
use rpc::{client::Client, methods::Addresses};

use crate::{answers::answer, wait::until};

/// Somebody with one key.
#[derive(Debug)]
pub struct Person {
    chain: Chain,
    key: SigningKey,
}

/// A coin: where it is, and what it is worth and whose it is.
pub type Held = (OutPoint, Output);

impl Person {
    /// The person of this name, always with the same key.
    #[must_use]
    pub fn new(chain: &Chain, name: &str) -> Self {
        Self { chain: chain.clone(), key: SigningKey::from_bytes(&sha256(name.as_bytes())) }
    }

    fn public(&self) -> PublicKey {
        PublicKey(self.key.verifying_key().to_bytes())
    }

    /// The person's address.
    #[must_use]
    pub fn address(&self) -> Address {
        Address::of_policy(&Policy::Pk(self.public()))
    }

    /// The address as people write it.
    #[must_use]
    pub fn written(&self) -> String {
        self.address().encode(&self.chain.params().prefix)
    }

    /// The person's coins on a node that could be spent in the next block.
    ///
    /// # Errors
    /// Where the node does not answer.
    pub fn spendable(&self, node: &Client) -> Result<Vec<Held>, String> {
        let listed = answer(node.getaddressutxos(Addresses(vec![self.written()])))?;
        let usable = listed.utxos.into_iter().filter(|coin| coin.mature && coin.spentby.is_none());
        let held = usable.map(|coin| {
            let outpoint = OutPoint { txid: coin.txid, index: coin.vout };
            (outpoint, Output::pay(self.address(), coin.amount.0))
        });
        Ok(held.collect())
    }

    /// Mines blocks on demand that pay the person, and as many above them that the coins can be spent.
    ///
    /// # Panics
    /// Where the node refuses or the coins never show.
    #[track_caller]
    pub fn fund(&self, node: &Client, coins: u32) -> Vec<Held> {
        let nobody = Self::new(&self.chain, "nobody").written();
        let made = node.generatetoaddress(coins, self.written(), None).expect("blocks are made on demand");
        assert_eq!(made.len(), usize::try_from(coins).expect("a small number"));
        let above = self.chain.params().maturity_blocks;
        node.generatetoaddress(above, nobody, None).expect("blocks are made on demand");
        until("the coins can be spent", || {
            let held = self.spendable(node)?;
            if held.len() >= made.len() { Ok(held) } else { Err(format!("{} of {coins}", held.len())) }
        })
    }

    /// A signed transaction that spends `coins` for `outputs`, whatever becomes of it.
    #[must_use]
    pub fn spend(&self, coins: &[Held], outputs: Vec<Output>) -> Transaction {
        let inputs = coins.iter().map(|(outpoint, _)| *outpoint).collect();
        let mut transaction = Transaction { inputs, outputs, witnesses: Vec::new() };
        let spent: Vec<Output> = coins.iter().map(|(_, output)| output.clone()).collect();
        let message = signature_message(&self.chain.id(), &transaction.id_preimage(), &spent);
        let witness = || Witness::signed(self.public(), self.key.sign(&message).to_bytes());
        transaction.witnesses = coins.iter().map(|_| witness()).collect();
        transaction
    }

    /// A signed transaction that pays one coin to somebody, all but a fee in pebbles.
    ///
    /// # Panics
    /// Where the coin is worth less than the fee.
    #[must_use]
    pub fn pay(&self, coin: &Held, to: &Self, fee_pebbles: u64) -> Transaction {
        let rest =
            coin.1.amount.checked_sub(Amount::from_pebbles(fee_pebbles)).expect("the coin covers the fee");
        self.spend(std::slice::from_ref(coin), vec![Output::pay(to.address(), rest)])
    }
}

/// A transaction as `sendrawtransaction` takes it.
#[must_use]
pub fn to_hex(transaction: &Transaction) -> String {
    const_hex::encode(transaction.to_bytes())
}

//! `cairn wallet address`, `balance`, `coins` and `history`.

use anyhow::Context;
use chain::amount::Amount;
use rpc::types::Coins;
use serde_json::{Value, json};
use wallet::{Balance, Coin, CoinState};

use super::{
    super::{answer, answer_json, say},
    open, source,
    source::{Event, History, Older},
};
use crate::cli::WalletArgs;

/// Prints an address, or all that were given out.
pub fn address(args: &WalletArgs, new: bool, list: bool) -> anyhow::Result<()> {
    let mut wallet = open(args)?;
    if list {
        let all = (0..wallet.addresses_given_out()).map(|index| wallet.address(index));
        let all: Vec<String> =
            all.map(|address| address.map(|address| wallet.encode(&address))).collect::<Result<_, _>>()?;
        if args.json {
            return answer_json(&json!({ "addresses": all }));
        }
        return all.iter().try_for_each(answer);
    }
    let address = if new { wallet.new_address()? } else { wallet.latest_address()? };
    let address = wallet.encode(&address);
    if args.json { answer_json(&json!({ "address": address })) } else { answer(address) }
}

/// Prints the sums of the coins.
pub fn balance(args: &WalletArgs) -> anyhow::Result<()> {
    let mut wallet = open(args)?;
    let found = source(args, &wallet)?.coins(&mut wallet)?;
    let nonsense = "the node tells of more coins than can exist: use another one";
    let balance = Balance::of(&found.coins).context(nonsense)?;
    let total = balance.total().context(nonsense)?;
    if args.json {
        return answer_json(&json!({
            "spendable": Coins(balance.spendable),
            "immature": Coins(balance.immature),
            "pending": Coins(balance.pending),
            "total": Coins(total),
        }));
    }
    let rows = [
        ("spendable", balance.spendable, ""),
        ("immature", balance.immature, "  mined, too young to be spent"),
        ("pending", balance.pending, "  not in a block yet"),
        ("total", total, ""),
    ];
    // Amounts stand under one another, point under point.
    rows.into_iter().try_for_each(|(name, amount, note)| {
        let note = if amount == Amount::ZERO { "" } else { note };
        answer(format!("{name:<10}{:>24} CRN{note}", amount.to_string()))
    })
}

/// Prints the coins, those that are being spent too.
pub fn coins(args: &WalletArgs) -> anyhow::Result<()> {
    let mut wallet = open(args)?;
    let found = source(args, &wallet)?.coins(&mut wallet)?;
    let unspent = found.coins.iter().map(|coin| (coin, None));
    let spending = found.spending.iter().map(|(coin, by)| (coin, Some(*by)));
    let mut all: Vec<(&Coin, _)> = unspent.chain(spending).collect();
    // The oldest first, those that are in no block yet last.
    all.sort_by_key(|(coin, _)| (coin.height.is_none(), coin.height, coin.outpoint));
    if args.json {
        let rows = all.iter().map(|(coin, spent_by)| {
            json!({
                "outpoint": coin.outpoint,
                "amount": Coins(coin.amount),
                "address": wallet.encode(&coin.address),
                "height": coin.height,
                "coinbase": coin.coinbase,
                "state": if spent_by.is_some() { "spending" } else { state_name(coin.state) },
                "spendable_at": match coin.state {
                    CoinState::Immature { spendable_at } => Some(spendable_at),
                    _ => None,
                },
                "spent_by": spent_by,
            })
        });
        return answer_json(&rows.collect::<Vec<Value>>());
    }
    all.iter().try_for_each(|(coin, spent_by)| {
        let state = match (spent_by, coin.state) {
            (Some(by), _) => format!("spending by {by}"),
            (None, CoinState::Immature { spendable_at }) => format!("immature until height {spendable_at}"),
            (None, state) => state_name(state).into(),
        };
        answer(format!("{} {:>18} CRN  {state}", coin.outpoint, coin.amount.to_string()))
    })
}

fn state_name(state: CoinState) -> &'static str {
    match state {
        CoinState::Spendable => "spendable",
        CoinState::OwnChange => "change",
        CoinState::Pending => "pending",
        CoinState::Immature { .. } => "immature",
    }
}

/// Prints the wallet's transactions.
pub fn history(args: &WalletArgs, count: u32) -> anyhow::Result<()> {
    let mut wallet = open(args)?;
    let History { events, older } = source(args, &wallet)?.history(&mut wallet, count)?;
    match older {
        Older::None => {}
        Older::NotAsked => say("Older transactions are left out: --count shows up to 1000."),
        Older::NotListed => {
            say("Older transactions are left out: the node lists only the newest ones of each address.");
        }
    }
    if args.json {
        let rows = events.iter().map(|event| {
            json!({
                "txid": event.txid,
                "kind": kind(event),
                "received": Coins(Amount::from_pebbles(event.received)),
                "sent": Coins(Amount::from_pebbles(event.sent)),
                "height": event.height,
                "blockhash": event.block,
                "confirmations": event.confirmations,
                "time": event.time,
            })
        });
        return answer_json(&rows.collect::<Vec<Value>>());
    }
    events.iter().try_for_each(|event| {
        let place = match event.height {
            Some(height) => format!("height {height}, {} confirmations", event.confirmations),
            None => "in the mempool".into(),
        };
        answer(format!("{}  {:<8} {:>19} CRN  {place}", event.txid, kind(event), difference(event)))
    })
}

fn kind(event: &Event) -> &'static str {
    match (event.coinbase, event.sent > 0) {
        (true, _) => "mined",
        (false, true) => "sent",
        (false, false) => "received",
    }
}

/// What the transaction did to the balance, with its sign.
fn difference(event: &Event) -> String {
    let (sign, pebbles) = match event.received.checked_sub(event.sent) {
        Some(gain) => ('+', gain),
        None => ('-', event.sent - event.received),
    };
    format!("{sign}{}", Amount::from_pebbles(pebbles))
}

#[cfg(test)]
mod tests {
    use chain::{hash::TxId, time::Time};

    use super::*;

    #[test]
    fn a_difference_has_a_sign() {
        let event = |received, sent| Event {
            txid: TxId::ZERO,
            height: None,
            block: None,
            confirmations: 0,
            time: Time::from_secs(0),
            coinbase: false,
            received,
            sent,
        };
        assert_eq!(difference(&event(150_000_000, 0)), "+1.50000000");
        assert_eq!(difference(&event(1, 3)), "-0.00000002");
        assert_eq!(difference(&event(u64::MAX, u64::MAX)), "+0.00000000");
        assert_eq!(kind(&event(1, 3)), "sent");
        assert_eq!(kind(&event(1, 0)), "received");
    }
}

//! `cairn wallet send`: a payment planned, shown, confirmed, signed and offered to the network.

use std::fmt::Write;

use anyhow::{Context, bail};
use chain::amount::Amount;
use rpc::{client::ClientError, types::Coins};
use serde_json::json;
use wallet::{FeeRate, Payment, Plan, SendRequest, Wallet};

use super::{
    super::{answer, answer_json, explain, say},
    open, secret, source,
};
use crate::cli::{SendArgs, WalletArgs};

/// Pays somebody and prints the transaction's id.
pub fn send(args: &WalletArgs, send: &SendArgs) -> anyhow::Result<()> {
    let mut wallet = open(args)?;
    let to = wallet.decode(&send.address).with_context(|| format!("{} cannot be paid", send.address))?;
    let source = source(args, &wallet)?;
    let fee_rate = match send.fee_rate {
        Some(pebbles) => FeeRate::from_pebbles_per_kb(pebbles),
        None => source.fee_rate()?,
    };
    let request = SendRequest { payments: vec![Payment { to, amount: send.amount }], fee_rate };
    // Also where the coins are named: the search learns how far the addresses of the change are used.
    let found = source.coins(&mut wallet)?;
    let plan = if send.coins.is_empty() {
        wallet.plan(&request, &found.coins)?
    } else {
        let named = source.named(&wallet, &send.coins)?;
        wallet.plan_exactly(&request, &named)?
    };
    if !args.yes {
        say(&describe(&wallet, send, &plan));
        if !secret::confirm("Send it?")? {
            bail!("nothing was sent");
        }
    }
    let transaction = wallet.sign(&plan)?;
    let txid = source.send(&transaction).map_err(|error| match error {
        ClientError::Rpc(error) => anyhow::Error::new(error).context("the node refuses the payment"),
        error => explain(error),
    })?;
    if !args.json {
        return answer(txid);
    }
    answer_json(&json!({
        "txid": txid,
        "to": send.address,
        "amount": Coins(send.amount),
        "fee": Coins(plan.fee()),
        "change": Coins(plan.change().map_or(Amount::ZERO, |change| change.amount)),
        "size": plan.size_bytes(),
        "coins": plan.inputs().iter().map(|coin| coin.outpoint).collect::<Vec<_>>(),
    }))
}

/// The plan, for its owner to judge.
fn describe(wallet: &Wallet, send: &SendArgs, plan: &Plan) -> String {
    let row =
        |name: &str, amount: Amount, to: &str| format!("{name:<8}{:>22} CRN  {to}\n", amount.to_string());
    let mut text = String::new();
    for coin in plan.inputs() {
        text.push_str(&row("spend", coin.amount, &coin.outpoint.to_string()));
    }
    text.push_str(&row("pay", send.amount, &format!("to {}", send.address)));
    if let Some(change) = plan.change() {
        text.push_str(&row(
            "change",
            change.amount,
            &format!("to {}, yours", wallet.encode(&change.address)),
        ));
    }
    // Writing to a String cannot fail.
    let _ =
        write!(text, "{}", row("fee", plan.fee(), &format!("for {} bytes", plan.size_bytes())).trim_end());
    text
}

//! `cairn wallet new` and `restore`.

use std::fs;

use anyhow::{Context, bail};
use serde_json::json;
use wallet::{KdfCost, Mnemonic, NewWallet, Wallet, WalletChain, WordCount};

use super::{
    super::{answer, answer_json, causes, say},
    chain_spec, file,
    secret::{self, Secret},
    shown, source,
};
use crate::{cli::WalletArgs, config::default_datadir};

/// Makes a wallet and shows its words.
pub fn new(args: &WalletArgs, words: u8) -> anyhow::Result<()> {
    let words = if words == 12 { WordCount::Twelve } else { WordCount::TwentyFour };
    let mnemonic = Mnemonic::generate(words)?;
    let (mut wallet, chain) = create(args, &mnemonic)?;
    let address = wallet.latest_address()?;
    let address = wallet.encode(&address);
    say(
        "Write these words down, in this order, and keep them where nobody else can read them. Whoever has\n\
         them has the coins; without them a lost file or passphrase is lost for good. They are not shown again.",
    );
    let words = mnemonic.words();
    if args.json {
        let file = shown(wallet.path());
        return answer_json(&json!({"file": file, "chain": chain, "address": address, "words": *words}));
    }
    answer(&*words)?;
    say(&format!("\nThe wallet is {} on the chain {chain}. Its first address:", shown(wallet.path())));
    answer(address)
}

/// Makes a wallet again from its words.
pub fn restore(args: &WalletArgs) -> anyhow::Result<()> {
    // Nobody should type 24 words for a file that cannot be made.
    refuse_existing(args)?;
    let mnemonic = Mnemonic::from_words(&secret::words()?)?;
    let (mut wallet, chain) = create(args, &mnemonic)?;
    // The wallet exists; that no node answers now is no failure, since every later look searches again.
    let searched = source(args, &wallet).and_then(|source| source.rescan(&mut wallet));
    if let Err(error) = &searched {
        let cause = causes(error);
        say(&format!(
            "No node was asked about its payments; `cairn wallet history` finds them later.\n({cause})"
        ));
    }
    let address = wallet.latest_address()?;
    let address = wallet.encode(&address);
    if args.json {
        let file = shown(wallet.path());
        let used = wallet.addresses_given_out();
        return answer_json(&json!({
            "file": file, "chain": chain, "address": address, "addresses": used, "asked_node": searched.is_ok(),
        }));
    }
    say(&format!(
        "The wallet is {} on the chain {chain}, with {} addresses given out. The latest:",
        shown(wallet.path()),
        wallet.addresses_given_out()
    ));
    answer(address)
}

fn refuse_existing(args: &WalletArgs) -> anyhow::Result<()> {
    let path = file(args)?;
    if path.exists() {
        bail!("{} exists already: name another file with --wallet", shown(&path));
    }
    Ok(())
}

/// Makes the file, and says the name of the chain.
fn create(args: &WalletArgs, mnemonic: &Mnemonic) -> anyhow::Result<(Wallet, String)> {
    refuse_existing(args)?;
    let spec = chain_spec(args)?;
    let params = spec.chain.params();
    let path = file(args)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let missing = folder.filter(|folder| !folder.is_dir());
    // Any other missing folder is more likely a slip of the pen.
    if let Some(folder) = missing
        && default_datadir(&params.name).ok().as_deref() != Some(folder)
    {
        bail!("there is no folder {}: make it, or name another file with --wallet", folder.display());
    }
    let passphrase: Secret = match secret::given(args.passphrase_file.as_deref())? {
        Some(passphrase) => passphrase,
        None => secret::ask_new()?,
    };
    if let Some(folder) = missing {
        fs::create_dir_all(folder)
            .with_context(|| format!("the folder {} cannot be made", folder.display()))?;
    }
    let new = NewWallet {
        mnemonic,
        bip39_passphrase: "",
        passphrase: &passphrase,
        chain: WalletChain { id: spec.chain.id(), prefix: params.prefix.clone() },
        // Nothing has to be guessed where there is no passphrase, so guessing need not be costly.
        cost: if passphrase.is_empty() { KdfCost::LIGHT } else { KdfCost::STANDARD },
    };
    Ok((Wallet::create(&path, &new)?, params.name.clone()))
}

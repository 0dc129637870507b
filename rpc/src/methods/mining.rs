//! Mining from outside: templates and submissions (BIP-22, BIP-23), blocks on demand, the miner's state.

use chain::{
    block::{Block, HEADER_BYTES, Header},
    encode::read_compact_size,
    hash::{BlockHash, TxId},
    height::Height,
    transaction::Coinbase,
};

use super::{blockchain::tip_target, parse_address, parse_hex};
use crate::{
    backend::{Backend, BlockSubmission, BlockVerdict, HeaderEntry, TemplateData, TemplateTransaction, View},
    error::{RpcError, code},
    types::*,
};

/// The largest number of blocks that one `generatetoaddress` mines.
pub const MAX_GENERATED_BLOCKS: u32 = 10_000;

/// The nonces that `generatetoaddress` tries unless `maxtries` says otherwise, as in Bitcoin Core.
pub const DEFAULT_MAX_TRIES: u64 = 1_000_000;

/// The blocks over which the network's hash rate is estimated, as in Bitcoin Core.
const HASH_RATE_BLOCKS: u32 = 120;

pub(super) async fn getblocktemplate<B: Backend>(
    backend: &B,
    template_request: Option<TemplateRequest>,
) -> Result<BlockTemplate, RpcError> {
    let request = template_request.unwrap_or_default();
    if let Some(mode) = request.mode.filter(|mode| mode != "template") {
        let mode = crate::error::excerpt(&mode);
        return Err(RpcError::invalid_parameter(format!("Invalid mode {mode}: only \"template\" is served")));
    }
    let chain = backend.chain();
    let address = request.address.map(|text| parse_address(chain, &text)).transpose()?;
    let data = backend.template(address).await?;
    let params = chain.params();
    template_json(&data, params.max_block_signatures, params.max_block_bytes)
}

fn template_json(data: &TemplateData, sigoplimit: u32, sizelimit: u32) -> Result<BlockTemplate, RpcError> {
    let internal = |message: &str| RpcError::new(code::INTERNAL, message);
    let target = data.bits.to_target().map_err(|error| internal(&error.to_string()))?;
    let claimed =
        data.coinbase.outputs.iter().try_fold(0_u64, |sum, output| sum.checked_add(output.amount.pebbles()));
    let coinbase_id: TxId = data.coinbase.txid();
    Ok(BlockTemplate {
        capabilities: Vec::new(),
        version: data.version,
        rules: Vec::new(),
        previousblockhash: data.previous,
        transactions: data.transactions.iter().map(entry_json).collect(),
        coinbasetxn: TemplateCoinbase {
            data: const_hex::encode(data.coinbase.to_bytes()),
            txid: coinbase_id,
            hash: coinbase_id,
            depends: Vec::new(),
            sigops: 0,
        },
        coinbasevalue: claimed.ok_or_else(|| internal("the coinbase's outputs overflow"))?,
        longpollid: format!("{}{}", data.previous, data.number),
        target,
        mintime: data.min_time,
        // Never `coinbase/append`: miners then write into the coinbase where a script would be. Not
        // `transactions`: the coinbase claims the fees of all of them.
        mutable: vec!["time".into(), "submit/coinbase".into()],
        noncerange: "00000000ffffffff".into(),
        sigoplimit,
        sizelimit,
        curtime: data.time,
        bits: data.bits,
        height: data.height,
    })
}

fn entry_json(entry: &TemplateTransaction) -> TemplateEntry {
    TemplateEntry {
        data: const_hex::encode(entry.transaction.to_bytes()),
        txid: entry.txid,
        hash: entry.witness_txid,
        // BIP-22 counts from 1.
        depends: entry.depends.iter().map(|position| *position as u64 + 1).collect(),
        fee: entry.fee.pebbles(),
        sigops: entry.signatures,
    }
}

/// Reads a submission: a whole block, or header, CompactSize(1 + n) and coinbase without the n transactions,
/// which are then those of a template (`submit/coinbase`).
fn parse_submission(bytes: &[u8]) -> Result<BlockSubmission, RpcError> {
    if let Some((header, mut rest)) = bytes.split_first_chunk::<HEADER_BYTES>() {
        let count = read_compact_size(&mut rest).unwrap_or(0);
        // A coinbase is decoded strictly, so a whole block with transactions is never taken for one without.
        if let (2.., Ok(coinbase)) = (count, Coinbase::from_bytes(rest)) {
            let header = Header::from_bytes(header);
            return Ok(BlockSubmission::CoinbaseOnly { header, coinbase, transactions: count - 1 });
        }
    }
    Block::from_submission(bytes)
        .map(BlockSubmission::Full)
        .map_err(|error| RpcError::new(code::DESERIALIZATION, format!("Block decode failed: {error}")))
}

pub(super) async fn submitblock<B: Backend>(
    backend: &B,
    hexdata: String,
    _dummy: Option<String>,
) -> Result<Option<String>, RpcError> {
    let submission = parse_submission(&parse_hex(&hexdata, "Block")?)?;
    Ok(match backend.submit_block(submission).await? {
        BlockVerdict::Accepted => None,
        BlockVerdict::Duplicate => Some("duplicate".into()),
        BlockVerdict::DuplicateInvalid => Some("duplicate-invalid".into()),
        BlockVerdict::Inconclusive => Some("inconclusive".into()),
        BlockVerdict::Rejected(reason) => Some(reason),
    })
}

pub(super) async fn generatetoaddress<B: Backend>(
    backend: &B,
    nblocks: u32,
    address: String,
    maxtries: Option<u64>,
) -> Result<Vec<BlockHash>, RpcError> {
    let address = parse_address(backend.chain(), &address)?;
    if nblocks > MAX_GENERATED_BLOCKS {
        let message = format!("nblocks: at most {MAX_GENERATED_BLOCKS} in one call");
        return Err(RpcError::invalid_parameter(message));
    }
    Ok(backend.generate(nblocks, address, maxtries.unwrap_or(DEFAULT_MAX_TRIES)).await?)
}

/// Two headers of the active chain, the tip and one at most [`HASH_RATE_BLOCKS`] before it.
fn hash_rate_span(view: &dyn View) -> (HeaderEntry, Option<HeaderEntry>) {
    let tip = view.tip();
    let start = Height::new(tip.id.height.get().saturating_sub(HASH_RATE_BLOCKS));
    let start = view.active_hash(start).and_then(|hash| view.header(&hash));
    (tip, start)
}

/// Work a second between two headers, as Bitcoin Core's `getnetworkhashps` estimates it; 0 when there is no time
/// between them.
fn hash_rate(start: &HeaderEntry, tip: &HeaderEntry) -> f64 {
    let secs = f64::from(tip.header.time.secs()) - f64::from(start.header.time.secs());
    if secs <= 0.0 {
        return 0.0;
    }
    let number = |bytes: [u8; 32]| bytes.iter().fold(0.0, |sum, byte| sum * 256.0 + f64::from(*byte));
    let work = tip.work.checked_sub(start.work).map_or(0.0, |work| number(work.to_be_bytes()));
    work / secs
}

pub(super) async fn getmininginfo<B: Backend>(backend: &B) -> Result<MiningInfo, RpcError> {
    let (span, mempool) = backend.read(|view| (hash_rate_span(view), view.mempool())).await?;
    let (tip, start) = span;
    let miner = backend.mining().await?;
    let params = backend.chain().params();
    Ok(MiningInfo {
        blocks: tip.id.height,
        bits: tip.header.bits,
        difficulty: difficulty(tip.header.bits),
        target: tip_target(&tip.header)?,
        networkhashps: start.map_or(0.0, |start| hash_rate(&start, &tip)),
        pooledtx: mempool.count,
        chain: params.name.clone(),
        generate: miner.address.is_some(),
        hashespersec: miner.hash_rate,
        genproclimit: miner.threads,
        throttle: miner.throttle,
        address: miner.address.map(|address| address.encode(&params.prefix)),
        warnings: Vec::new(),
    })
}

//! The one list of methods: name, parameters, result, the function that answers, and the help text.
//!
//! `method_table!(consumer)` hands the whole list to the macro `consumer`. There are three: the dispatcher and
//! the help (`methods/mod.rs`), and the typed client (`client/typed.rs`). A method is added here and nowhere else.

/// Hands the list of methods to the macro `$consumer`.
macro_rules! method_table {
    ($consumer:ident) => {
        $consumer! {
            "Blockchain" {
                /// The state of the chain: tip, headers, work, difficulty, the chain's id and its rules.
                /// Example: `cairn rpc getblockchaininfo`
                getblockchaininfo() -> BlockchainInfo = blockchain::getblockchaininfo;

                /// The height of the active tip.
                /// Example: `cairn rpc getblockcount`
                getblockcount() -> Height = blockchain::getblockcount;

                /// The hash of the active tip.
                /// Example: `cairn rpc getbestblockhash`
                getbestblockhash() -> BlockHash = blockchain::getbestblockhash;

                /// The hash of the block at a height of the active chain.
                /// Example: `cairn rpc getblockhash 0`
                getblockhash(height: Height) -> BlockHash = blockchain::getblockhash;

                /// A header, on any branch: as an object, or with verbose = false as its 80 bytes in hexadecimal.
                /// Example: `cairn rpc getblockheader "$(cairn rpc getbestblockhash)"`
                getblockheader(blockhash: BlockHash, verbose: Option<bool>)
                    -> OneOf<String, HeaderInfo> = blockchain::getblockheader;

                /// A block, on any branch. Verbosity 0 gives the bytes in hexadecimal that submitblock takes, 1 (the
                /// default) an object with the ids of the transactions, 2 an object with the transactions.
                /// Example: `cairn rpc getblock "$(cairn rpc getbestblockhash)" 2`
                getblock(blockhash: BlockHash, verbosity: Option<Verbosity>)
                    -> OneOf<String, BlockInfo> = blockchain::getblock;

                /// The ends of all known branches with their state: active, valid-fork, valid-headers,
                /// headers-only or invalid.
                /// Example: `cairn rpc getchaintips`
                getchaintips() -> Vec<ChainTip> = blockchain::getchaintips;

                /// The difficulty of the tip: how many times harder than Bitcoin's easiest target.
                /// Example: `cairn rpc getdifficulty`
                getdifficulty() -> f64 = blockchain::getdifficulty;

                /// Figures about one block, named by height or, on any branch, by hash: fees, fee rates, sizes,
                /// inputs, outputs, subsidy. Amounts are in pebbles, fee rates in pebbles a byte, rounded down;
                /// sizes are whole bytes, since witnesses have no discount. The coinbase counts in txs, outs
                /// and utxo_*, and nowhere else. With stats only those that it names. What needs the coins that
                /// the block spent (fees, fee rates, utxo_size_inc) is refused outside the active chain.
                /// Example: `cairn rpc getblockstats 0 '["txs", "subsidy"]'`
                getblockstats(hash_or_height: BlockRef, stats: Option<StatNames>)
                    -> BlockStats = block_stats::getblockstats;

                /// An unspent output, or null when it does not exist or is spent. With include_mempool (the
                /// default) the mempool counts.
                /// Example: `cairn rpc gettxout TXID 0`
                gettxout(txid: TxId, n: u32, include_mempool: Option<bool>)
                    -> Option<CoinInfo> = blockchain::gettxout;

                /// The UTXO set: number and sum of all coins, a hash by which two nodes compare, the bytes on
                /// the disk. total_issued is what the blocks up to this height may have created;
                /// total_unspendable_amount is what of it no coin holds (miners did not claim it), and supply_ok
                /// says that the coins do not exceed it. It reads every coin and may take long.
                /// Example: `cairn rpc gettxoutsetinfo`
                gettxoutsetinfo() -> CoinSetInfo = blockchain::gettxoutsetinfo;

                /// Checks the last nblocks blocks again (6 unless given, 0 for all); true when nothing is wrong,
                /// else false, and the log says what. checklevel is 0 to 4, 3 unless given, and each level does
                /// what those below it do. 0: bodies are read, checksums and hashes compared. 1: the isolated rules
                /// hold. 2: undo data is read and fits the inputs. 3: the blocks are disconnected in memory, and
                /// the coins are what they say. 4: they are connected again under all rules, signatures too.
                /// Example: `cairn rpc verifychain 4 10`
                verifychain(checklevel: Option<u32>, nblocks: Option<u32>) -> bool = advice::verifychain;

                /// Treats a block, and all that stands on it, as invalid, as if it broke a rule: the node follows
                /// the best chain without it, until reconsiderblock.
                /// Example: `cairn rpc invalidateblock "$(cairn rpc getbestblockhash)"`
                invalidateblock(blockhash: BlockHash) -> () = advice::invalidateblock;

                /// Takes back invalidateblock: the block, those below and those above it are judged again.
                /// Example: `cairn rpc reconsiderblock "$(cairn rpc getbestblockhash)"`
                reconsiderblock(blockhash: BlockHash) -> () = advice::reconsiderblock;

                /// Treats a block as if it had come before all others whose chains have as much work. A later call
                /// overrides it, and a new start of the node forgets it.
                /// Example: `cairn rpc preciousblock "$(cairn rpc getbestblockhash)"`
                preciousblock(blockhash: BlockHash) -> () = advice::preciousblock;
            }
            "Transactions and mempool" {
                /// A transaction of the mempool or the active chain: in hexadecimal (verbosity 0, the default) or as
                /// an object (1). With blockhash only that block is searched, whichever branch it is on. For a
                /// payment that was replaced in the mempool the error names the transaction that replaced it.
                /// Example: `cairn rpc getrawtransaction TXID 1`
                getrawtransaction(txid: TxId, verbosity: Option<Verbosity>, blockhash: Option<BlockHash>)
                    -> OneOf<String, TransactionInfo> = transactions::getrawtransaction;

                /// Offers a signed transaction in hexadecimal to the mempool and the network; its id. It is refused
                /// when its fee per 1,000 bytes exceeds maxfeerate in CRN (0.10 unless given; 0 for no limit).
                /// Example: `cairn rpc sendrawtransaction HEX`
                sendrawtransaction(hexstring: String, maxfeerate: Option<Coins>)
                    -> TxId = transactions::sendrawtransaction;

                /// What sendrawtransaction would say of up to 25 transactions, each taken alone; nothing is sent.
                /// Example: `cairn rpc testmempoolaccept '["HEX"]'`
                testmempoolaccept(rawtxs: RawTransactions, maxfeerate: Option<Coins>)
                    -> Vec<TestedTransaction> = transactions::testmempoolaccept;

                /// The mempool as a whole: number, bytes, memory, the least fee rates (mempoolminfee rises while it is
                /// full), and the limits of clusters, the sets of transactions that depend on one another.
                /// Example: `cairn rpc getmempoolinfo`
                getmempoolinfo() -> MempoolInfo = mempool::getmempoolinfo;

                /// The ids of the mempool's transactions, or with verbose an object with what is known of each.
                /// mempool_sequence is not supported and may only be false.
                /// Example: `cairn rpc getrawmempool true`
                getrawmempool(verbose: Option<bool>, mempool_sequence: Option<bool>)
                    -> OneOf<Vec<TxId>, BTreeMap<TxId, MempoolEntryInfo>> = mempool::getrawmempool;

                /// What is known of one transaction of the mempool: fees, sizes, what it depends on, and the chunk
                /// with which it is mined or evicted together. One that was replaced is refused with the id of the
                /// transaction that replaced it.
                /// Example: `cairn rpc getmempoolentry TXID`
                getmempoolentry(txid: TxId) -> MempoolEntryInfo = mempool::getmempoolentry;

                /// The transactions of the mempool that one of it depends on, directly or not: their ids, or with
                /// verbose an object with what is known of each.
                /// Example: `cairn rpc getmempoolancestors TXID`
                getmempoolancestors(txid: TxId, verbose: Option<bool>)
                    -> OneOf<Vec<TxId>, BTreeMap<TxId, MempoolEntryInfo>> = mempool::getmempoolancestors;

                /// The transactions of the mempool that depend on one of it, directly or not: their ids, or with
                /// verbose an object with what is known of each.
                /// Example: `cairn rpc getmempooldescendants TXID true`
                getmempooldescendants(txid: TxId, verbose: Option<bool>)
                    -> OneOf<Vec<TxId>, BTreeMap<TxId, MempoolEntryInfo>> = mempool::getmempooldescendants;

                /// Writes the mempool, and what this node's users sent, to their files in the data folder, as an
                /// orderly exit does; the path of the mempool's.
                /// Example: `cairn rpc savemempool`
                savemempool() -> SavedMempool = mempool::savemempool;
            }
            "Addresses" {
                /// The unspent coins of one address or several, those of the mempool with 0 confirmations, as of the
                /// tip that the answer names.
                /// Example: `cairn rpc getaddressutxos ADDRESS`
                getaddressutxos(addresses: Addresses) -> AddressCoins = addresses::getaddressutxos;

                /// The balance of one address or several together: confirmed, immature, spending, unconfirmed and
                /// spendable.
                /// Example: `cairn rpc getaddressbalance ADDRESS`
                getaddressbalance(addresses: Addresses) -> AddressBalance = addresses::getaddressbalance;

                /// The transactions that touch one address or several, for each the newest first, the mempool's
                /// before all. At most count (100 unless given, 1,000 at most) for each address after skip.
                /// Example: `cairn rpc getaddresshistory ADDRESS`
                getaddresshistory(addresses: Addresses, count: Option<u32>, skip: Option<u32>)
                    -> AddressHistory = addresses::getaddresshistory;
            }
            "Mining" {
                /// A block to be mined, as BIP-22 and BIP-23 describe it, with the coinbase made (coinbasetxn). It
                /// pays the node's mining address, or the address in the request.
                /// Example: `cairn rpc getblocktemplate '{"capabilities": ["coinbasetxn"]}'`
                getblocktemplate(template_request: Option<TemplateRequest>)
                    -> BlockTemplate = mining::getblocktemplate;

                /// Hands in a block in hexadecimal: null when it was accepted, else a word that says why not. The
                /// transactions may be left out when they are those of a template. The parameter dummy is ignored.
                /// Example: `cairn rpc submitblock HEX`
                submitblock(hexdata: String, dummy: Option<String>) -> Option<String> = mining::submitblock;

                /// Mines blocks at once that pay an address, on chains for development only; their hashes. It tries
                /// at most maxtries nonces (1,000,000 unless given).
                /// Example: `cairn rpc generatetoaddress 1 ADDRESS`
                generatetoaddress(nblocks: u32, address: String, maxtries: Option<u64>)
                    -> Vec<BlockHash> = mining::generatetoaddress;

                /// The state of mining: difficulty, the network's estimated hash rate, the node's own miner.
                /// Example: `cairn rpc getmininginfo`
                getmininginfo() -> MiningInfo = mining::getmininginfo;
            }
            "Network" {
                /// The connected peers.
                /// Example: `cairn rpc getpeerinfo`
                getpeerinfo() -> Vec<PeerInfo> = network::getpeerinfo;

                /// The number of connected peers.
                /// Example: `cairn rpc getconnectioncount`
                getconnectioncount() -> u64 = network::getconnectioncount;

                /// The state of the network: software, connections, the addresses where the node listens.
                /// Example: `cairn rpc getnetworkinfo`
                getnetworkinfo() -> NetworkInfo = network::getnetworkinfo;

                /// Keeps a connection to a peer (add), ends that (remove), or tries to connect once (onetry). The
                /// peer is named as --bootstrap takes it.
                /// Example: `cairn rpc addnode /ip4/127.0.0.1/tcp/4000 add`
                addnode(node: String, command: String) -> () = network::addnode;

                /// Bans an IP address, a network or an identity (add), or ends that (remove). bantime is in seconds
                /// (a day unless given), with absolute true a Unix time.
                /// Example: `cairn rpc setban 192.0.2.0/24 add 3600`
                setban(subnet: String, command: String, bantime: Option<u64>, absolute: Option<bool>)
                    -> () = network::setban;

                /// All bans, those for misconduct too.
                /// Example: `cairn rpc listbanned`
                listbanned() -> Vec<BanInfo> = network::listbanned;

                /// Ends all bans at once, those for misconduct too.
                /// Example: `cairn rpc clearbanned`
                clearbanned() -> () = network::clearbanned;

                /// Ends the connections of a peer: by its address or identity, or by its number with an empty
                /// address. It may come back.
                /// Example: `cairn rpc disconnectnode "" 3`
                disconnectnode(address: Option<String>, nodeid: Option<u64>) -> () = network::disconnectnode;
            }
            "Lab" {
                /// Makes the network to a peer worse, on a node that was started with --lab. The peer is its identity as
                /// getpeerinfo tells it, or all, for peers without conditions of their own. What is sent to it leaves
                /// delay_ms and up to jitter_ms later; the part loss (0 to 1) never leaves: a request then fails as
                /// one that is not answered in time, an answer is never sent, a payment is passed over when it is
                /// heard. blocked: connections end, and none is made or accepted.
                /// Example: `cairn rpc setconditions all 100 20 0.01`
                setconditions(peer: String, delay_ms: Option<u32>, jitter_ms: Option<u32>, loss: Option<f64>,
                    blocked: Option<bool>) -> () = lab::setconditions;

                /// The conditions of the network that setconditions has set.
                /// Example: `cairn rpc getconditions`
                getconditions() -> Vec<PeerConditions> = lab::getconditions;

                /// Takes back what setconditions has set for a peer, or for all peers where none is named.
                /// Example: `cairn rpc clearconditions`
                clearconditions(peer: Option<String>) -> () = lab::clearconditions;
            }
            "Control" {
                /// All methods, or one with its parameters.
                /// Example: `cairn rpc help getblock`
                help(command: Option<String>) -> String = control::help;

                /// Begins an orderly exit of the node.
                /// Example: `cairn rpc stop`
                stop() -> String = control::stop;

                /// The seconds since the node was started.
                /// Example: `cairn rpc uptime`
                uptime() -> u64 = control::uptime;
            }
        }
    };
}

pub(crate) use method_table;

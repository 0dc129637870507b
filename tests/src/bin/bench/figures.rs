//! What each figure says.

/// Names and meanings, in the order of the table.
pub const MEANINGS: [(&str, &str); 46] = [
    (
        "nonce_per_digest_loop",
        "one thread's nonce search : a plain loop over the digest (x faster, best of 5)",
    ),
    ("nonce_two_threads", "two threads' nonce search : one thread's (x faster, best of 5)"),
    ("nonce_megahashes_per_sec", "one thread's nonce search, millions of hashes a second"),
    (
        "verify_strict_us",
        "one strict verification with ed25519-dalek, the key parsed before: the unit (microseconds, mean)",
    ),
    ("batch_per_verify", "a signature in large batches, each of its own key, all cores : unit"),
    (
        "connect_cold_per_verify",
        "CPU a payment to connect blocks, 200,000 over 1,000,000 coins, nothing cached, no indexes : unit",
    ),
    ("connect_cold_per_sec", "payments a second on the wall in that run, all cores"),
    (
        "merge_coins_per_verify",
        "what merging the files of coins costs a payment on top, as often as the database does it : unit",
    ),
    ("connect_cold_indexed_per_verify", "the same with indexes, until they are at the tip : unit"),
    ("merge_index_per_verify", "what merging the index's files costs a payment on top : unit"),
    (
        "connect_warm_per_verify",
        "CPU a payment of blocks whose payments all waited, one flush at the end : unit",
    ),
    ("connect_warm_each_per_verify", "the same block by block, a flush after each 5,000 : unit"),
    ("accept_per_verify", "CPU a payment to enter the mempool, one by one, coins on the disk : unit"),
    ("accept_batch_per_verify", "the same in batches of 100 : unit"),
    (
        "template_ms",
        "a template of the best 2 MB of 50,000 transactions after a tip change (ms, median of 9)",
    ),
    ("accept_10k_per_verify", "CPU a payment to enter the mempool where 10,000 wait : unit"),
    ("accept_50k_per_verify", "the same where 50,000 wait : unit"),
    ("accept_200k_per_verify", "the same where 200,000 wait : unit"),
    ("connect_1m_per_verify", "CPU a payment to connect blocks, 100,000 over 1,000,000 coins : unit"),
    ("merge_1m_per_verify", "merging on top, as above : unit"),
    ("connect_4m_per_verify", "the same over 4,000,000 coins : unit"),
    ("merge_4m_per_verify", "merging on top : unit"),
    ("connect_10m_per_verify", "the same over 10,000,000 coins : unit"),
    ("merge_10m_per_verify", "merging on top : unit"),
    ("coin_bytes", "the database's files of coins, quiet, two coins a transaction : coins (bytes)"),
    ("payment_bytes", "growth of all files but those of coins by those payments : payments (bytes)"),
    ("payment_indexed_bytes", "the same with indexes (bytes)"),
    (
        "start_ms",
        "from the start of a node with 300,000 coins, left in order, to its first RPC answer (ms, median of 5)",
    ),
    ("idle_memory_mb", "resident memory of that node, left alone for 5 seconds (MB)"),
    ("devnet_cpu_cores", "CPU seconds a second of a devnet of four nodes that mines (cores)"),
    ("devnet_ready_secs", "from `cairn devnet` to ready, four nodes, an empty folder (seconds)"),
    (
        "replay_per_sec",
        "payments a second on the wall, 500,000 imported from a file with `cairn chain import`",
    ),
    ("sync_per_sec", "the same fetched by a new node from one peer"),
    ("sync_per_replay", "sync_per_sec : replay_per_sec"),
    ("sync_hostile_per_sec", "the same from four peers of which one stalls and one lies"),
    ("sync_hostile_per_sync", "sync_hostile_per_sec : sync_per_sec"),
    (
        "relay_ms",
        "from submitblock at the first of five nodes in a line to the tip of the last, 4,000 payments that wait \
         everywhere (ms, median of 20)",
    ),
    (
        "relay_connect_ms",
        "one warm connect of such a block by a ledger alone, with its flush (ms, median of 20)",
    ),
    ("relay_per_connect", "the former : the latter"),
    ("relay_first_ms", "of it, from submitblock to the tip of the first (ms, median, as the logs tell it)"),
    ("relay_hop_1_ms", "of it, from the tip of the first to the tip of the second (ms)"),
    ("relay_hop_2_ms", "of it, to the tip of the third (ms)"),
    ("relay_hop_3_ms", "of it, to the tip of the fourth (ms)"),
    ("relay_hop_4_ms", "of it, to the tip of the fifth (ms)"),
    ("relay_unknown_ms", "as relay_ms, with payments that nobody knows (ms, median of 5)"),
    ("bench_secs", "how long these measurements took (seconds)"),
];

//! Transactions across nodes: forwarded after a verdict, and only then.

use super::{super::wire::Verdict, *};

/// The next event, which has to be this transaction; judged at once.
async fn judge_next(node: &mut Node, expected: &Transaction, verdict: Verdict) {
    match node.next().await {
        FromNet::Transaction { gossip, transaction, .. } => {
            assert_eq!(transaction.as_ref(), expected);
            node.send(ToNet::Verdict { gossip, verdict }).await;
        }
        other => panic!("instead of a transaction: {other:?}"),
    }
}

/// Three nodes, of which the outer ones are connected through the middle one alone. The middle one knows that
/// the right one listens: gossip forwards only to whom it knows to listen.
async fn line() -> [Node; 3] {
    let mut middle = start(&[]).await;
    let mut right = start(&[&middle.address]).await;
    right.connected().await;
    middle.connected().await;
    let marker = transaction(0xff);
    middle.send(ToNet::Publish(Arc::new(marker.clone()))).await;
    judge_next(&mut right, &marker, Verdict::Accept).await;
    let mut left = start(&[&middle.address]).await;
    left.connected().await;
    middle.connected().await;
    [left, middle, right]
}

#[tokio::test]
async fn p12_a_transaction_crosses_a_line_when_each_node_has_judged_it() {
    let [left, mut middle, mut right] = line().await;
    // At once: what is published while nobody listens is kept.
    for (seed, verdict) in
        [(1, Verdict::Accept), (2, Verdict::Reject), (3, Verdict::Ignore), (4, Verdict::Accept)]
    {
        let sent = transaction(seed);
        left.send(ToNet::Publish(Arc::new(sent.clone()))).await;
        judge_next(&mut middle, &sent, verdict).await;
        // The refused ones do not come: the next that comes is the next accepted one.
        if verdict == Verdict::Accept {
            judge_next(&mut right, &sent, Verdict::Accept).await;
        }
    }
    // Nobody was sent away for a verdict.
    assert_eq!(middle.view.peers().len(), 2);
}

#[tokio::test]
async fn what_is_published_alone_is_announced_to_the_first_who_listens() {
    let mut early = start(&[]).await;
    let transactions: Vec<_> = (0..70).map(transaction).collect();
    for transaction in &transactions {
        early.send(ToNet::Publish(Arc::new(transaction.clone()))).await;
    }
    let mut late = start(&[&early.address]).await;
    late.connected().await;
    early.connected().await;
    // The newest 64 are kept, and come in their order.
    for transaction in &transactions[6..] {
        judge_next(&mut late, transaction, Verdict::Accept).await;
    }
}

#[tokio::test]
async fn c22_the_largest_transaction_passes_by_gossip() {
    let [left, mut middle, mut right] = line().await;
    let largest = transaction_of(wire::MAX_TRANSACTION_BYTES);
    left.send(ToNet::Publish(Arc::new(largest.clone()))).await;
    judge_next(&mut middle, &largest, Verdict::Accept).await;
    judge_next(&mut right, &largest, Verdict::Accept).await;
}

#[tokio::test]
async fn p29_an_accepted_transaction_is_forwarded_although_its_bearer_has_left() {
    let [left, mut middle, mut right] = line().await;
    let sent = transaction(9);
    left.send(ToNet::Publish(Arc::new(sent.clone()))).await;
    let FromNet::Transaction { gossip, .. } = middle.next().await else { panic!("not a transaction") };
    left.stop().await;
    assert!(matches!(middle.next().await, FromNet::Disconnected { .. }));
    middle.send(ToNet::Verdict { gossip, verdict: Verdict::Accept }).await;
    judge_next(&mut right, &sent, Verdict::Accept).await;
}

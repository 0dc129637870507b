//! Rules T3 to T12 and M3: what a transaction must be, whoever spends what.

use chain::{
    address::Address,
    amount::Amount,
    check::CheckedTransaction,
    error::TransactionError,
    genesis::Chain,
    hash::TxId,
    params::Params,
    policy::{Policy, Satisfaction, Witness},
    transaction::{Destination, OutPoint, Output, Transaction},
};

use crate::build::{Key, coins, data, easy_params, to};

fn chain() -> Chain {
    Chain::mine(easy_params()).expect("the parameters of the tests are good")
}

fn check(transaction: &Transaction) -> Result<CheckedTransaction, TransactionError> {
    CheckedTransaction::check(transaction.clone(), &chain())
}

fn input(index: u32) -> OutPoint {
    OutPoint { txid: TxId::from_bytes([7; 32]), index }
}

/// A transaction that is good as long as nobody looks at its coins.
fn good() -> Transaction {
    let witness = Witness::signed(Key::new(1).public(), [0; 64]);
    Transaction { inputs: vec![input(0)], outputs: vec![to(&Key::new(2), 1)], witnesses: vec![witness] }
}

#[test]
fn t3_a_transaction_spends_at_least_one_coin() {
    assert!(check(&good()).is_ok());
    let none = Transaction { inputs: Vec::new(), witnesses: Vec::new(), ..good() };
    assert_eq!(check(&none), Err(TransactionError::NoInputs));
}

#[test]
fn t4_a_transaction_has_at_least_one_output() {
    let none = Transaction { outputs: Vec::new(), ..good() };
    assert_eq!(check(&none), Err(TransactionError::NoOutputs));
    let only_data = Transaction { outputs: vec![data(b"x")], ..good() };
    assert!(check(&only_data).is_ok(), "a data output is an output");
}

#[test]
fn t5_no_coin_is_spent_twice_in_one_transaction() {
    let witness = good().witnesses[0].clone();
    let two = |second| Transaction {
        inputs: vec![input(0), second],
        witnesses: vec![witness.clone(), witness.clone()],
        ..good()
    };
    assert!(check(&two(input(1))).is_ok());
    assert_eq!(check(&two(input(0))), Err(TransactionError::DuplicateInput(input(0))));
    let apart = Transaction {
        inputs: vec![input(3), input(1), input(2), input(3)],
        witnesses: vec![witness; 4],
        ..good()
    };
    assert_eq!(check(&apart), Err(TransactionError::DuplicateInput(input(3))));
}

#[test]
fn t6_each_input_has_one_witness() {
    let witness = good().witnesses[0].clone();
    for count in [0, 2] {
        let wrong = Transaction { witnesses: vec![witness.clone(); count], ..good() };
        assert_eq!(check(&wrong), Err(TransactionError::WitnessCount { inputs: 1, witnesses: count }));
    }
}

#[test]
fn t7_an_address_is_paid_more_than_nothing() {
    let pays =
        |pebbles| Transaction { outputs: vec![to(&Key::new(2), 5), to(&Key::new(2), pebbles)], ..good() };
    assert!(check(&pays(1)).is_ok());
    assert_eq!(check(&pays(0)), Err(TransactionError::ZeroOutput(1)));
}

#[test]
fn t8_data_carries_no_money() {
    let carries = |pebbles| {
        let output = Output { amount: Amount::from_pebbles(pebbles), to: Destination::Data(vec![1]) };
        Transaction { outputs: vec![output], ..good() }
    };
    assert!(check(&carries(0)).is_ok());
    assert_eq!(check(&carries(1)), Err(TransactionError::DataWithAmount(0)));
}

#[test]
fn t9_one_data_output_at_the_most() {
    let pay = to(&Key::new(2), 1);
    let one = Transaction { outputs: vec![data(b"a"), pay.clone()], ..good() };
    assert!(check(&one).is_ok());
    let two = Transaction { outputs: vec![data(b"a"), pay, data(b"b")], ..good() };
    assert_eq!(check(&two), Err(TransactionError::ManyDataOutputs));
}

#[test]
fn t10_data_has_at_most_80_bytes() {
    let carries = |length| Transaction { outputs: vec![data(&vec![9; length])], ..good() };
    for length in [0, 80] {
        assert!(check(&carries(length)).is_ok());
        assert!(Transaction::from_bytes(&carries(length).to_bytes()).is_ok());
    }
    assert_eq!(check(&carries(81)), Err(TransactionError::LongData(0)));
    let refused = Transaction::from_bytes(&carries(81).to_bytes()).expect_err("81 bytes are too many");
    assert!(refused.to_string().contains("rule T10"), "{refused}");
}

#[test]
fn t11_outputs_add_up_to_no_more_than_the_supply() {
    let supply = chain().max_supply().pebbles();
    let pays = |amounts: &[u64]| Transaction {
        outputs: amounts.iter().map(|pebbles| to(&Key::new(2), *pebbles)).collect(),
        ..good()
    };
    assert!(check(&pays(&[supply])).is_ok());
    assert!(check(&pays(&[supply - 1, 1])).is_ok());
    let above = |pebbles| Err(TransactionError::AboveSupply(Amount::from_pebbles(pebbles)));
    assert_eq!(check(&pays(&[supply + 1])), above(supply + 1));
    assert_eq!(check(&pays(&[supply, 1])), above(1));
    assert_eq!(check(&pays(&[supply - 1, 1, 1])), above(1));
}

#[test]
fn t12_a_transaction_fits_into_a_block() {
    let filled = |outputs: usize, data_bytes: usize| {
        let mut all = vec![to(&Key::new(2), 1); outputs];
        all.push(data(&vec![0; data_bytes]));
        Transaction { outputs: all, ..good() }
    };
    let params = Params { max_block_bytes: 2_000, ..easy_params() };
    let small = Chain::mine(params).expect("the smallest block limit is good");
    // 149 bytes with an input and its witness, 13 with a data output, 41 with each payment.
    let rest = 2_000 - filled(0, 0).to_bytes().len();
    let (outputs, bytes) = (rest / 41, rest % 41);
    let most = filled(outputs, bytes);
    assert_eq!(most.to_bytes().len(), 2_000);
    let checked = CheckedTransaction::check(most, &small).expect("as large as a block");
    assert_eq!(checked.size(), 2_000);
    assert_eq!(
        CheckedTransaction::check(filled(outputs, bytes + 1), &small),
        Err(TransactionError::TooLarge { bytes: 2_001, limit: 2_000 })
    );
}

#[test]
fn m3_no_transaction_has_64_bytes() {
    // The only shapes of 64 bytes break other rules as well; this one is named first, since it decides
    // whether a body may be held against its header.
    let shape = |length| Transaction {
        inputs: Vec::new(),
        outputs: vec![data(&vec![0; length])],
        witnesses: Vec::new(),
    };
    assert_eq!(shape(35).to_bytes().len(), 64);
    assert_eq!(check(&shape(35)), Err(TransactionError::SixtyFourBytes));
    assert_eq!(check(&shape(34)), Err(TransactionError::NoInputs));
    assert_eq!(check(&shape(36)), Err(TransactionError::NoInputs));
}

#[test]
fn p5_a_witness_that_breaks_its_policy_is_named_by_its_input() {
    let mut transaction = good();
    transaction.inputs.push(input(1));
    let policy = Policy::Sha256([0; 32]);
    transaction.witnesses.push(Witness { policy, satisfaction: Satisfaction::Signature([0; 64]) });
    let refused = check(&transaction).expect_err("a signature is no preimage");
    assert!(matches!(refused, TransactionError::Policy { input: 1, .. }), "{refused}");
    assert!(refused.to_string().contains("rule P5"));
}

#[test]
fn t2_what_was_checked_is_what_came() {
    let transaction = Transaction { outputs: vec![to(&Key::new(2), coins(3)), data(b"x")], ..good() };
    let checked = check(&transaction).expect("good");
    assert_eq!(checked.txid(), transaction.txid());
    assert_eq!(checked.witness_txid(), transaction.witness_txid());
    assert_eq!(checked.signatures(), 1);
    assert_eq!(checked.output_sum().pebbles(), coins(3));
    assert_eq!(**checked.transaction(), transaction);
    assert_eq!(checked.addresses(), [Address::of_policy(&transaction.witnesses[0].policy)]);
}

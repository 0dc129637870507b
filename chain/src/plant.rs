//! Bugs that are planted on purpose, to see that the simulator finds them.
//!
//! A simulator that finds nothing proves nothing until it has found what is known to be there. So one simulated node
//! may be given a ledger in which a rule is wrong in a way in which it has been wrong elsewhere. Only the
//! feature `plants` compiles that, for the simulator's own program and `cairn-failpoints`; no parameter, file or flag
//! of a node reaches it, and in the program `cairn` every question below is answered "no" by the compiler.

/// A rule that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// ASERT's division rounds down instead of toward zero (rule W4, threat C08).
    FloorDivision,
    /// A transaction may name the same coin twice (rule T6, threat C02).
    DuplicateInput,
    /// A body that is not the header's makes the header invalid (threat C12).
    BodyFaultOnHeader,
}

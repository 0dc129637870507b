//! Nothing lost: real nodes are killed at every fail point and at random moments, told to end at random
//! moments, and given torn files, and are then held to what they had promised.
//!
//! A promise is a block that a node named to somebody: as its tip, or as a block that it has just made. After
//! each round the node starts again, has every promised block, catches up with its peer, ends in good order,
//! and `cairn chain verify` says that what is stored is what a replay gives. After torn files the promises
//! are void, but the tip must be one of the chain's blocks, never an error.
//!
//! [`plan`] says what a seed means, [`stage`] holds what all rounds share, [`round`] runs one, [`tear`] cuts
//! files, [`deep`] is the reorganisation of thousands of blocks under a memory limit.

pub mod deep;
pub mod plan;
pub mod round;
pub mod stage;
pub mod tear;

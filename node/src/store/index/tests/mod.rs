//! The index held against a naive model, against faults, and against its budget.

mod following;
mod measure;

//! Conditions of the network, as the RPC sets them.

use rpc::backend::{CommandError, Conditions, Lab, PeerConditions};

use crate::p2p::conditions::{self, ConditionsError};

fn refused(error: ConditionsError) -> CommandError {
    match error {
        ConditionsError::NotAPeer(_) => CommandError::InvalidPeer(error.to_string()),
        ConditionsError::TooLong | ConditionsError::NotAPart => {
            CommandError::InvalidConditions(error.to_string())
        }
        ConditionsError::TooMany => CommandError::TooMuch(error.to_string()),
    }
}

impl Lab for conditions::Lab {
    fn set(&self, peer: &str, conditions: Conditions) -> Result<(), CommandError> {
        let Conditions { delay_ms, jitter_ms, loss, blocked } = conditions;
        let conditions = conditions::Conditions { delay_ms, jitter_ms, loss, blocked };
        Self::set(self, peer, conditions).map_err(refused)
    }

    fn list(&self) -> Vec<PeerConditions> {
        let shown = |(peer, set): (String, conditions::Conditions)| {
            let conditions::Conditions { delay_ms, jitter_ms, loss, blocked } = set;
            PeerConditions { peer, conditions: Conditions { delay_ms, jitter_ms, loss, blocked } }
        };
        Self::list(self).into_iter().map(shown).collect()
    }

    fn clear(&self, peer: Option<&str>) -> Result<(), CommandError> {
        Self::clear(self, peer).map_err(refused)
    }
}

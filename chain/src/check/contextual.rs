//! Contextual rules: what the headers below decide about the next one.

use crate::{
    block::Header,
    difficulty::{Anchor, Asert, next_bits, next_bits_rounded_down},
    error::{HeaderError, SubmitError},
    genesis::Chain,
    hash::BlockHash,
    height::Height,
    params::Params,
    plant::Plant,
    pow::{CompactTarget, Target, Work},
    time::Time,
};

/// What the headers up to the parent say.
#[derive(Clone, Copy, Debug)]
pub struct HeaderContext {
    /// The parent's height.
    pub height: Height,
    /// The parent's time.
    pub time: Time,
    /// The median time of the blocks that end at the parent, 11 at the most (rule C1).
    pub median_time_past: Time,
    /// The time of block 1 of this branch, the anchor of the schedule; none where the parent is the genesis
    /// block (rule W4).
    pub anchor_time: Option<Time>,
}

impl HeaderContext {
    /// The bits that the next header must carry (rule W4).
    #[must_use]
    pub fn expected_bits(&self, params: &Params) -> CompactTarget {
        self.bits_by(params, next_bits)
    }

    /// As [`Self::expected_bits`], on a chain in which that rule may be wrong on purpose.
    pub(crate) fn expected_bits_on(&self, chain: &Chain) -> CompactTarget {
        let is_planted = chain.has_plant(Plant::FloorDivision);
        self.bits_by(chain.params(), if is_planted { next_bits_rounded_down } else { next_bits })
    }

    fn bits_by(
        &self,
        params: &Params,
        by: fn(Anchor, Height, Time, &Asert) -> CompactTarget,
    ) -> CompactTarget {
        let Some(anchor_time) = self.anchor_time else { return params.initial_bits };
        let (Ok(anchor), Ok(limit)) = (
            Anchor::at_first_block(anchor_time, params.initial_bits, params.spacing_secs),
            params.limit_bits.to_target(),
        ) else {
            // Checked parameters hold well-formed targets; were they not, nothing could be mined on them.
            return params.initial_bits;
        };
        let schedule =
            Asert { spacing_secs: params.spacing_secs, half_life_secs: params.half_life_secs, limit };
        by(anchor, self.height, self.time, &schedule)
    }

    /// The height of the next header.
    ///
    /// # Errors
    /// Rule H2: there is a last height.
    pub fn next_height(&self) -> Result<Height, HeaderError> {
        self.height.next().ok_or(HeaderError::HeightOverflow(self.height))
    }
}

/// The proof of work alone (rules W1 and W2), which needs no context: asked before anything is stored.
/// Returns the work that the header adds.
///
/// # Errors
/// [`HeaderError`] where the bits are no target or the hash is above it.
pub fn check_work(header: &Header, hash: &BlockHash) -> Result<Work, HeaderError> {
    let target: Target = header.bits.to_target().map_err(|_| HeaderError::MalformedBits(header.bits))?;
    if !target.is_met_by(hash) {
        return Err(HeaderError::InsufficientWork { hash: *hash, bits: header.bits });
    }
    Ok(target.work())
}

/// Holds a header against the rules that need the headers below it (W4, C1, C2, H2), after its work.
/// Returns the work that it adds.
///
/// # Errors
/// [`SubmitError::Header`] for ever, or [`SubmitError::TooEarly`] for now.
pub fn check_header(
    header: &Header,
    hash: &BlockHash,
    context: &HeaderContext,
    params: &Params,
    now: Time,
) -> Result<Work, SubmitError> {
    check_against(header, hash, context, (params, context.expected_bits(params)), now)
}

/// As [`check_header`], on a chain in which a rule may be wrong on purpose.
pub(crate) fn check_header_on(
    chain: &Chain,
    header: &Header,
    hash: &BlockHash,
    context: &HeaderContext,
    now: Time,
) -> Result<Work, SubmitError> {
    check_against(header, hash, context, (chain.params(), context.expected_bits_on(chain)), now)
}

fn check_against(
    header: &Header,
    hash: &BlockHash,
    context: &HeaderContext,
    (params, expected): (&Params, CompactTarget),
    now: Time,
) -> Result<Work, SubmitError> {
    let work = check_work(header, hash)?;
    context.next_height()?;
    if header.bits != expected {
        return Err(HeaderError::WrongBits { found: header.bits, expected }.into());
    }
    if header.time <= context.median_time_past {
        let median = context.median_time_past;
        return Err(HeaderError::TooOld { time: header.time, median }.into());
    }
    let ahead_secs = params.max_future_secs();
    if header.time > now.saturating_add_secs(ahead_secs) {
        return Err(SubmitError::TooEarly { time: header.time, ahead_secs });
    }
    Ok(work)
}

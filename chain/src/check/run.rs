//! Headers that are held against all their rules without being kept: what a peer shows before its work is
//! enough to give it a place (threat P01).

use std::collections::VecDeque;

use rayon::prelude::*;

use super::{HeaderContext, check_header};
use crate::{
    block::Header,
    error::{HeaderError, SubmitError},
    hash::BlockHash,
    height::Height,
    params::Params,
    pow::Work,
    time::Time,
};

/// How many headers the median time past looks at (rule C1).
const MEDIAN_SPAN: usize = 11;

/// The end of a chain of headers of which nothing else is kept.
#[derive(Clone, Debug)]
pub struct HeaderRun {
    hash: BlockHash,
    context: HeaderContext,
    /// Of the last headers, the newest last.
    times: VecDeque<Time>,
    work: Work,
}

impl HeaderRun {
    /// A run that begins above a header: its hash, what the headers up to it say, their last times, the newest
    /// last, and the work up to it.
    #[must_use]
    pub fn new(hash: BlockHash, context: HeaderContext, times: Vec<Time>, work: Work) -> Self {
        Self { hash, context, times: times.into(), work }
    }

    /// The last header's hash.
    #[must_use]
    pub const fn hash(&self) -> BlockHash {
        self.hash
    }

    /// The last header's height.
    #[must_use]
    pub const fn height(&self) -> Height {
        self.context.height
    }

    /// The work of the last header and all below it.
    #[must_use]
    pub const fn work(&self) -> Work {
        self.work
    }

    /// Goes on over `headers`, each the child of the one before; their work is checked on all cores. Returns their
    /// hashes.
    ///
    /// # Errors
    /// [`SubmitError`] of the first header that is refused; the run then ends below it.
    pub fn extend(
        &mut self,
        headers: &[Header],
        params: &Params,
        now: Time,
    ) -> Result<Vec<BlockHash>, SubmitError> {
        let hashes: Vec<BlockHash> = headers.par_iter().map(Header::hash).collect();
        for (header, hash) in headers.iter().zip(&hashes) {
            self.push(header, hash, params, now)?;
        }
        Ok(hashes)
    }

    fn push(
        &mut self,
        header: &Header,
        hash: &BlockHash,
        params: &Params,
        now: Time,
    ) -> Result<(), SubmitError> {
        if header.previous != self.hash {
            return Err(SubmitError::UnknownParent(header.previous));
        }
        let work = check_header(header, hash, &self.context, params, now)?;
        let work = self.work.checked_add(work).ok_or(HeaderError::WorkOverflow)?;
        let height = self.context.next_height()?;
        self.times.push_back(header.time);
        if self.times.len() > MEDIAN_SPAN {
            self.times.pop_front();
        }
        let mut sorted: Vec<Time> = self.times.iter().copied().collect();
        sorted.sort_unstable();
        self.context = HeaderContext {
            height,
            time: header.time,
            median_time_past: sorted[sorted.len() / 2],
            anchor_time: self.context.anchor_time.or(Some(header.time)),
        };
        (self.hash, self.work) = (*hash, work);
        Ok(())
    }
}

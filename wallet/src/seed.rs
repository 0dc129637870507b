//! BIP-39: the words that are a wallet's backup, and the seed that its keys come from.
//!
//! English only. New words come from the operating system's randomness alone; a failure makes no wallet
//! (threat W01). Words and seeds are wiped from memory when they are dropped, and `Debug` never shows them.

use std::fmt;

use bip39::Language;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::randomness::{self, RandomnessError, Source};

/// The most bytes of a BIP-39 passphrase; longer ones are a paste gone wrong, and the key file is bounded.
pub const MAX_BIP39_PASSPHRASE_BYTES: usize = 1_024;

/// The most bytes of text that are read as words: 24 words of 8 letters, with generous spacing.
const MAX_WORDS_BYTES: usize = 1_024;

/// How many words a new wallet has. A backup of any length that BIP-39 knows can be restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WordCount {
    /// 128 bits of entropy.
    Twelve,
    /// 256 bits of entropy.
    TwentyFour,
}

impl WordCount {
    /// Bytes of entropy that this many words carry.
    #[must_use]
    pub const fn entropy_bytes(self) -> usize {
        match self {
            Self::Twelve => 16,
            Self::TwentyFour => 32,
        }
    }
}

/// Why there are no words. No variant carries a word: errors are printed and logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SeedError {
    /// New words need randomness.
    #[error(transparent)]
    Randomness(#[from] RandomnessError),
    /// BIP-39 knows 12, 15, 18, 21 and 24 words.
    #[error("a backup has 12, 15, 18, 21 or 24 words, these are {0}: count them again")]
    WordCount(usize),
    /// A word is not in the English list; the number counts from 1.
    #[error("word {0} is not in the English BIP-39 list: check its spelling")]
    UnknownWord(usize),
    /// Each word is in the list, yet together they fail their checksum.
    #[error("the words do not belong together (checksum): one of them is wrong, or their order is")]
    Checksum,
    /// Entropy of another length than 16, 20, 24, 28 or 32 bytes.
    #[error("BIP-39 entropy has 16, 20, 24, 28 or 32 bytes, not {0}")]
    EntropyLength(usize),
    /// A passphrase or a text of words beyond its limit.
    #[error("the text has {got} bytes, at most {limit} are read: is it what you meant to paste?")]
    TooLong {
        /// Bytes that were given.
        got: usize,
        /// The limit, in bytes.
        limit: usize,
    },
}

/// The words of a wallet: whoever knows them owns its coins.
#[derive(Clone)]
pub struct Mnemonic(bip39::Mnemonic);

impl Mnemonic {
    /// New words from the operating system's randomness.
    ///
    /// # Errors
    /// [`SeedError::Randomness`] when the operating system gives none; there is no weaker way.
    pub fn generate(words: WordCount) -> Result<Self, SeedError> {
        Self::generate_from(words, randomness::operating_system)
    }

    fn generate_from(words: WordCount, random: Source) -> Result<Self, SeedError> {
        let mut entropy = Zeroizing::new(vec![0; words.entropy_bytes()]);
        random(&mut entropy)?;
        Self::from_entropy(&entropy)
    }

    /// The words that stand for `entropy`.
    ///
    /// # Errors
    /// [`SeedError::EntropyLength`] unless it has 16, 20, 24, 28 or 32 bytes.
    pub fn from_entropy(entropy: &[u8]) -> Result<Self, SeedError> {
        bip39::Mnemonic::from_entropy_in(Language::English, entropy)
            .map(Self)
            .map_err(|_| SeedError::EntropyLength(entropy.len()))
    }

    /// The words of a backup, separated by any white space, in any case.
    ///
    /// # Errors
    /// What is wrong with them: their number, the first unknown word, the checksum, or the text's length.
    pub fn from_words(text: &str) -> Result<Self, SeedError> {
        if text.len() > MAX_WORDS_BYTES {
            return Err(SeedError::TooLong { got: text.len(), limit: MAX_WORDS_BYTES });
        }
        let lower = Zeroizing::new(text.to_ascii_lowercase());
        bip39::Mnemonic::parse_in_normalized(Language::English, &lower).map(Self).map_err(|error| match error
        {
            bip39::Error::BadWordCount(count) => SeedError::WordCount(count),
            bip39::Error::UnknownWord(position) => SeedError::UnknownWord(position + 1),
            bip39::Error::BadEntropyBitCount(bits) => SeedError::EntropyLength(bits / 8),
            bip39::Error::InvalidChecksum | bip39::Error::AmbiguousLanguages(_) => SeedError::Checksum,
        })
    }

    /// The words, separated by single spaces, to be shown once and written down.
    #[must_use]
    pub fn words(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(MAX_WORDS_BYTES));
        for word in self.0.words() {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(word);
        }
        text
    }

    /// How many words these are.
    #[must_use]
    pub fn word_count(&self) -> usize {
        self.0.word_count()
    }

    /// The entropy that the words stand for.
    #[must_use]
    pub fn entropy(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.0.to_entropy())
    }

    /// The seed: PBKDF2-HMAC-SHA512 of the words with the passphrase (BIP-39), 2,048 rounds. Every passphrase
    /// gives a valid seed, and another wallet; the empty one is the common one.
    ///
    /// # Errors
    /// [`SeedError::TooLong`] when the passphrase exceeds [`MAX_BIP39_PASSPHRASE_BYTES`].
    pub fn seed(&self, passphrase: &str) -> Result<Seed, SeedError> {
        if passphrase.len() > MAX_BIP39_PASSPHRASE_BYTES {
            return Err(SeedError::TooLong { got: passphrase.len(), limit: MAX_BIP39_PASSPHRASE_BYTES });
        }
        Ok(Seed(Zeroizing::new(self.0.to_seed(passphrase))))
    }
}

impl fmt::Debug for Mnemonic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mnemonic({} secret words)", self.word_count())
    }
}

/// The 64 bytes that all keys of a wallet are derived from.
#[derive(Clone)]
pub struct Seed(Zeroizing<[u8; 64]>);

impl Seed {
    /// The bytes, for derivation.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(secret)")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::randomness::broken;

    #[test]
    fn w01_without_randomness_there_are_no_words() {
        for count in [WordCount::Twelve, WordCount::TwentyFour] {
            assert!(matches!(Mnemonic::generate_from(count, broken), Err(SeedError::Randomness(_))));
        }
    }

    #[test]
    fn w01_ten_thousand_seeds_are_unique() {
        let mut seen = HashSet::new();
        for _ in 0..10_000 {
            let mnemonic = Mnemonic::generate(WordCount::Twelve).expect("the system has randomness");
            assert_eq!(mnemonic.word_count(), 12);
            assert!(seen.insert(mnemonic.entropy().to_vec()), "twice the same seed");
        }
    }

    #[test]
    fn new_words_can_be_restored() {
        for count in [WordCount::Twelve, WordCount::TwentyFour] {
            let new = Mnemonic::generate(count).expect("the system has randomness");
            assert_eq!(new.entropy().len(), count.entropy_bytes());
            let shouted = new.words().to_uppercase().replace(' ', "\n  ");
            let restored = Mnemonic::from_words(&shouted).expect("these are words");
            assert_eq!(*restored.entropy(), *new.entropy());
        }
    }

    #[test]
    fn bad_words_are_refused_by_name() {
        let good = "abandon ".repeat(11) + "about";
        assert!(Mnemonic::from_words(&good).is_ok());
        assert_eq!(Mnemonic::from_words("").err(), Some(SeedError::WordCount(0)));
        assert_eq!(Mnemonic::from_words("abandon about").err(), Some(SeedError::WordCount(2)));
        assert_eq!(
            Mnemonic::from_words(&good.replace("about", "cairns")).err(),
            Some(SeedError::UnknownWord(12))
        );
        assert_eq!(Mnemonic::from_words(&good.replace("about", "abandon")).err(), Some(SeedError::Checksum));
        assert!(matches!(Mnemonic::from_words(&"a".repeat(2_000)), Err(SeedError::TooLong { .. })));
        assert_eq!(Mnemonic::from_entropy(&[0; 15]).err(), Some(SeedError::EntropyLength(15)));
        let mnemonic = Mnemonic::from_words(&good).expect("checked above");
        assert!(matches!(mnemonic.seed(&"p".repeat(2_000)), Err(SeedError::TooLong { .. })));
    }

    #[test]
    fn w12_a_passphrase_is_normalised() {
        let mnemonic = Mnemonic::from_entropy(&[7; 16]).expect("16 bytes are a length of BIP-39");
        let seed = |text| mnemonic.seed(text).expect("short enough").as_bytes().to_vec();
        // One letter with an accent, and the letter followed by the combining accent: one NFKD.
        assert_eq!(seed("caf\u{e9}"), seed("cafe\u{301}"));
        assert_ne!(seed("cafe"), seed("caf\u{e9}"));
    }

    #[test]
    fn secrets_do_not_show_in_debug() {
        let mnemonic = Mnemonic::from_entropy(&[0; 16]).expect("16 bytes are a length of BIP-39");
        assert_eq!(format!("{mnemonic:?}"), "Mnemonic(12 secret words)");
        assert_eq!(format!("{:?}", mnemonic.seed("").expect("short enough")), "Seed(secret)");
    }
}

//! Chains by name or by file: the built-in ones, and those that people make for themselves.
//!
//! A chain file is TOML: the consensus parameters, the genesis nonce, and the genesis hash, which is
//! redundant on purpose: a file in which anything was changed does not match it and is refused (rule G3).

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use chain::{
    genesis::{Chain, GenesisError},
    hash::BlockHash,
    params::Params,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The most bytes of a chain file.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// A chain, and what it may be used for.
#[derive(Clone, Debug)]
pub struct ChainSpec {
    /// The chain.
    pub chain: Chain,
    /// Whether it is for development alone, so that blocks may be made on demand.
    pub lab: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChainFile {
    genesis_hash: BlockHash,
    genesis_nonce: u32,
    #[serde(default)]
    lab: bool,
    params: Params,
}

/// Why a chain cannot be loaded or written.
#[derive(Debug, Error)]
pub enum ChainFileError {
    /// Neither a built-in name nor a file.
    #[error("{0:?} is no chain: name main, test or dev, or a chain file that `cairn chain new` has made")]
    Unknown(String),
    /// The path of a file that does not exist.
    #[error("there is no file {0}: name the file that `cairn chain new` has made, or main, test or dev")]
    Missing(String),
    /// The file cannot be read or written.
    #[error("{path}: {error}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// The system's words.
        error: std::io::Error,
    },
    /// The file is not a chain file.
    #[error("{path} is no chain file: {error}")]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Where and why.
        error: String,
    },
    /// The parameters make no chain.
    #[error("{path}: {error}; get the original file again, or make a new chain with `cairn chain new`")]
    Genesis {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: GenesisError,
    },
    /// Parameters and genesis hash do not belong together.
    #[error(
        "{path} was changed: its parameters make the chain {found}, but it names {named}; get the original file \
         again, or make a new chain with `cairn chain new`"
    )]
    Mismatch {
        /// Which file.
        path: PathBuf,
        /// The chain that the parameters make.
        found: BlockHash,
        /// The chain that the file names.
        named: BlockHash,
    },
}

impl ChainSpec {
    /// The chain of this name, or of the file at this path.
    ///
    /// # Errors
    /// [`ChainFileError`].
    pub fn load(name_or_path: &str) -> Result<Self, ChainFileError> {
        match name_or_path {
            "main" => Ok(Self { chain: Chain::main(), lab: false }),
            "test" => Ok(Self { chain: Chain::test(), lab: false }),
            "dev" => Ok(Self { chain: Chain::dev(), lab: true }),
            path if Path::new(path).is_file() => Self::read(Path::new(path)),
            other if other.contains('/') || other.ends_with(".toml") => Err(missing(Path::new(other))),
            other => Err(ChainFileError::Unknown(other.into())),
        }
    }

    fn read(path: &Path) -> Result<Self, ChainFileError> {
        let io = |error| ChainFileError::Io { path: path.into(), error };
        let malformed = |error: String| ChainFileError::Malformed { path: path.into(), error };
        if fs::metadata(path).map_err(io)?.len() > MAX_FILE_BYTES {
            return Err(malformed(format!("it has more than {MAX_FILE_BYTES} bytes")));
        }
        let text = fs::read_to_string(path).map_err(io)?;
        let file: ChainFile = toml::from_str(&text).map_err(|error| malformed(error.to_string()))?;
        let chain = Chain::new(file.params, file.genesis_nonce)
            .map_err(|error| ChainFileError::Genesis { path: path.into(), error })?;
        if chain.id() != file.genesis_hash {
            let (found, named) = (chain.id(), file.genesis_hash);
            return Err(ChainFileError::Mismatch { path: path.into(), found, named });
        }
        Ok(Self { chain, lab: file.lab })
    }

    /// Writes a chain file where there is none yet.
    ///
    /// # Errors
    /// [`ChainFileError`]; an existing file is left as it is.
    pub fn write(&self, path: &Path) -> Result<(), ChainFileError> {
        let io = |error| ChainFileError::Io { path: path.into(), error };
        let file = ChainFile {
            genesis_hash: self.chain.id(),
            genesis_nonce: self.chain.genesis_nonce(),
            lab: self.lab,
            params: self.chain.params().clone(),
        };
        let text = toml::to_string(&file)
            .map_err(|error| ChainFileError::Malformed { path: path.into(), error: error.to_string() })?;
        let header = "# A chain of your own. Every node of it needs this file, unchanged.\n";
        let mut file = fs::OpenOptions::new().write(true).create_new(true).open(path).map_err(io)?;
        file.write_all(header.as_bytes()).and_then(|()| file.write_all(text.as_bytes())).map_err(io)?;
        file.sync_all().map_err(io)
    }
}

/// Says where a file was looked for.
fn missing(path: &Path) -> ChainFileError {
    ChainFileError::Missing(match std::env::current_dir() {
        Ok(folder) if path.is_relative() => format!("{} in {}", path.display(), folder.display()),
        _ => path.display().to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("chain.toml");
        ChainSpec { chain: Chain::dev(), lab: true }.write(&path).expect("written");
        (folder, path)
    }

    #[test]
    fn a_chain_is_read_back() {
        let (_folder, path) = written();
        let text = path.to_str().expect("a plain path");
        let spec = ChainSpec::load(text).expect("a chain file");
        assert_eq!(spec.chain.id(), Chain::dev().id());
        assert!(spec.lab);
        let again = ChainSpec { chain: Chain::dev(), lab: true }.write(&path);
        assert!(matches!(again, Err(ChainFileError::Io { .. })), "an existing file is left alone");
    }

    #[test]
    fn g3_a_changed_chain_file_is_refused() {
        let (_folder, path) = written();
        let text = fs::read_to_string(&path).expect("readable");
        for (from, to) in [
            ("spacing_secs = 5", "spacing_secs = 6"),
            ("genesis_nonce = ", "genesis_nonce = 1"),
            ("lab = true", "lab = true\nsurprise = 1"),
            ("name = \"dev\"", "name = \"DEV\""),
        ] {
            assert!(text.contains(from), "{from} in {text}");
            fs::write(&path, text.replacen(from, to, 1)).expect("writable");
            let said = ChainSpec::read(&path).expect_err(to).to_string();
            let told = said.contains("`cairn chain new`") || said.contains("is no chain file");
            assert!(told, "{to}: {said}");
        }
        fs::write(&path, &text).expect("writable");
        assert!(ChainSpec::read(&path).is_ok());
    }

    #[test]
    fn unknown_names_are_explained() {
        let error = ChainSpec::load("mian").expect_err("no such chain").to_string();
        assert!(error.contains("main, test or dev"), "{error}");
        let error = ChainSpec::load("class.toml").expect_err("no such file").to_string();
        let cwd = std::env::current_dir().expect("a folder");
        assert!(error.contains(&format!("there is no file class.toml in {}", cwd.display())), "{error}");
        let error = ChainSpec::load("/nowhere/class").expect_err("no such file").to_string();
        assert!(error.contains("there is no file /nowhere/class:"), "{error}");
    }
}

//! Torn files: what a power loss leaves of the newest files, which were written and not yet on the disk.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    path::{Path, PathBuf},
};

use crate::chance::Chance;

/// The lengths of the files of a data folder, in bytes.
#[derive(Clone, Debug, Default)]
pub struct Lengths(BTreeMap<PathBuf, u64>);

impl Lengths {
    /// As they are now.
    ///
    /// # Panics
    /// Where the folder cannot be read.
    #[must_use]
    pub fn of(datadir: &Path) -> Self {
        let mut lengths = BTreeMap::new();
        let mut folders = vec![datadir.to_path_buf()];
        while let Some(folder) = folders.pop() {
            // A folder that is not there yet holds nothing.
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let metadata = entry.metadata().expect("nobody else uses the folder");
                if metadata.is_dir() {
                    folders.push(entry.path());
                } else {
                    lengths.insert(entry.path(), metadata.len());
                }
            }
        }
        Self(lengths)
    }
}

/// What is to be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The newest block file, undo file and write-ahead log, each or not, but at least one.
    Some,
    /// The newest block file alone, so that the database names blocks that are gone.
    Blocks,
}

/// Cuts newest files at random lengths: never below what they had when they were last synchronised. What was cut, for people.
///
/// # Panics
/// Where a file cannot be cut.
#[must_use]
pub fn tear(datadir: &Path, synced: &Lengths, cut: Cut, chance: &mut Chance) -> Vec<String> {
    let now = Lengths::of(datadir);
    let newest = |fits: &dyn Fn(&str) -> bool| {
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        now.0.iter().rfind(|(path, _)| fits(&name(path)))
    };
    let kinds = [
        newest(&|name| name.starts_with("blocks-") && name.ends_with(".dat")),
        newest(&|name| name.starts_with("undo-") && name.ends_with(".dat")),
        newest(&|name| {
            name.strip_suffix(".log").is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
        }),
    ];
    let wanted = if cut == Cut::Blocks { 1 } else { kinds.len() };
    let files: Vec<_> = kinds.into_iter().take(wanted).flatten().collect();
    let certain = chance.below(files.len().max(1));
    let mut told = Vec::new();
    for (index, (path, length)) in files.into_iter().enumerate() {
        let least = synced.0.get(path).copied().unwrap_or(0).min(*length);
        let room = usize::try_from(length - least).expect("the files of tests are small");
        if index != certain && chance.below(2) == 0 {
            continue;
        }
        let cut = least + chance.below(room.max(1)) as u64;
        let file = OpenOptions::new().write(true).open(path);
        let cutting = file.and_then(|file| file.set_len(cut));
        cutting.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        told.push(format!("{name} from {length} to {cut}"));
    }
    told
}

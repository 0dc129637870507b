//! Holds the rule book against the code: every rule of `docs/protocol.md` is named by an error or a definition
//! in the code and by a test, and no error names a rule that the book does not have.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// A row of the book: `| rule | kind | says | error |`.
struct Rule {
    id: String,
    kind: String,
    errors: Vec<String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn book() -> Vec<Rule> {
    let text = fs::read_to_string(root().join("../docs/protocol.md")).expect("docs/protocol.md is there");
    let rows = text.lines().filter_map(|line| {
        let cells: Vec<&str> = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").collect();
        let [id, kind, _says, errors] = cells[..] else { return None };
        let digits = id.get(1..).filter(|digits| !digits.is_empty())?;
        let named = id.as_bytes()[0].is_ascii_uppercase() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let errors = errors.split(", ").map(|error| error.trim_matches('`').to_owned()).collect();
        named.then(|| Rule { id: id.to_owned(), kind: kind.to_owned(), errors })
    });
    rows.collect()
}

/// All Rust files below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

fn read(folder: &str) -> String {
    let files = sources(&root().join(folder));
    assert!(!files.is_empty());
    files.iter().map(|file| fs::read_to_string(file).expect("a readable file")).collect()
}

/// Whether `text` names the rule: `rule T1`, but not `rule T10` when T1 is asked for. Comments speak of
/// several at once, such as `rules S7 to S9`, which does not count.
fn names(text: &str, id: &str) -> bool {
    let wanted = format!("rule {id}");
    text.match_indices(&wanted)
        .any(|(at, _)| !text[at + wanted.len()..].starts_with(|next: char| next.is_ascii_digit()))
}

/// Every error variant with the message above it: `TransactionError::NoInputs` and the text of `#[error(...)]`.
fn variants(source: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut current: Option<&str> = None;
    let mut message: Option<String> = None;
    for line in source.lines() {
        let code = line.trim();
        if let Some(rest) = code.strip_prefix("pub enum ") {
            current = rest.split(|end: char| !end.is_alphanumeric()).next();
        } else if line == "}" {
            (current, message) = (None, None);
        } else if let Some(rest) = code.strip_prefix("#[error(") {
            message = Some(rest.to_owned());
        } else if line.starts_with("    ") && code.starts_with(|first: char| first.is_ascii_uppercase()) {
            let name = code.split(|end: char| !end.is_alphanumeric()).next().unwrap_or_default();
            if let (Some(current), Some(message)) = (current, message.take()) {
                found.insert(format!("{current}::{name}"), message);
            }
        } else if let Some(message) = &mut message {
            message.push_str(code);
        }
    }
    found
}

#[test]
fn the_reader_of_variants_reads_them() {
    let source = "pub enum Fault {\n    /// Rule Q1.\n    #[error(\"one (rule Q1)\")]\n    One,\n    #[error(\n        \
                  \"two words \\\n         (rule Q2)\"\n    )]\n    Two(usize),\n    Silent,\n}\n";
    let found = variants(source);
    assert_eq!(found.keys().collect::<Vec<_>>(), ["Fault::One", "Fault::Two"]);
    assert!(names(&found["Fault::One"], "Q1") && names(&found["Fault::Two"], "Q2"));
    assert!(!names("(rule Q10)", "Q1") && !names("(rule Q2)", "Q1") && names("(rule Q10, rule Q1)", "Q1"));
}

#[test]
fn every_rule_stands_once_in_the_book_without_gaps() {
    let book = book();
    let ids: BTreeSet<&str> = book.iter().map(|rule| rule.id.as_str()).collect();
    assert_eq!(ids.len(), book.len(), "a rule stands twice");
    assert!(book.len() > 50, "{} rules were read", book.len());
    for letter in ["A", "B", "C", "E", "G", "H", "K", "L", "M", "P", "S", "T", "W", "X"] {
        let count = ids.iter().filter(|id| id.starts_with(letter)).count();
        assert!(count > 0, "no rule {letter}");
        for number in 1..=count {
            assert!(ids.contains(format!("{letter}{number}").as_str()), "a gap at {letter}{number}");
        }
    }
    for rule in &book {
        let kinds = ["definition", "chain", "isolated", "contextual", "spending", "choice"];
        assert!(kinds.contains(&rule.kind.as_str()), "{}: {}", rule.id, rule.kind);
    }
}

#[test]
fn every_rule_is_named_by_the_code_and_by_its_error() {
    let source = read("src");
    let variants = variants(&source);
    for rule in book() {
        assert!(names(&source, &rule.id), "no line of chain/src names rule {}", rule.id);
        for error in rule.errors.iter().filter(|error| *error != "-") {
            if error.contains("::") {
                let message =
                    variants.get(error).unwrap_or_else(|| panic!("{}: no variant {error}", rule.id));
                assert!(names(message, &rule.id), "{error} does not name rule {}: {message}", rule.id);
            } else {
                // One error for all that cannot be read: its text says which rule.
                assert!(
                    source.contains(&format!("pub struct {error}"))
                        || source.contains(&format!("pub enum {error}")),
                    "{error}"
                );
            }
        }
    }
}

#[test]
fn every_error_that_names_a_rule_stands_in_the_book() {
    let book = book();
    for (variant, message) in variants(&read("src")) {
        let Some((_, rest)) = message.split_once("(rule ") else { continue };
        let id: String = rest.chars().take_while(char::is_ascii_alphanumeric).collect();
        let rule =
            book.iter().find(|rule| rule.id == id).unwrap_or_else(|| panic!("{variant}: no rule {id}"));
        assert!(rule.errors.contains(&variant), "the book's rule {id} does not list {variant}");
    }
}

#[test]
fn every_rule_has_a_test_that_begins_with_its_name() {
    let tests = read("src") + &read("tests");
    for rule in book() {
        let name = format!("fn {}_", rule.id.to_lowercase());
        assert!(tests.contains(&name), "no test begins with {}_", rule.id.to_lowercase());
    }
}

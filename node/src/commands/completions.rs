//! `cairn completions`: what a shell needs to complete our commands and flags.

use clap::CommandFactory;
use clap_complete::Shell;

use super::answer;
use crate::cli::Cli;

/// Prints the completions for `shell`.
///
/// # Errors
/// When stdout takes nothing more.
pub fn run(shell: Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "cairn", &mut script);
    answer(String::from_utf8_lossy(&script).trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_has_completions() {
        for shell in [Shell::Bash, Shell::Elvish, Shell::Fish, Shell::PowerShell, Shell::Zsh] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "cairn", &mut script);
            assert!(String::from_utf8_lossy(&script).contains("benchmark"), "{shell}");
        }
    }
}

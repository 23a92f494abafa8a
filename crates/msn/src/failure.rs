//! Exit codes: 0, 1 for a failure that is explained, 2 for wrong arguments, 128 + the signal's number for work that a
//! signal stopped.

use std::env;
use std::fmt;
use std::io::ErrorKind;
use std::process::ExitCode;

use anyhow::Error;
use clap::error::{ContextKind, ContextValue};
use msn_train::Config;

use crate::progress::say;
use crate::settings::DATA_PATH;
use crate::signals;

/// A failure that other arguments would avoid. Looks like the error that it holds.
#[derive(Debug)]
struct WrongArguments(Error);

impl fmt::Display for WrongArguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for WrongArguments {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

/// Work that a signal stopped, of which everything has been said. The shell's convention: 130 for Ctrl-C, 143 for
/// SIGTERM, whether or not there was something to save first.
#[derive(Debug)]
struct Stopped {
    signal: i32,
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stopped by signal {}", self.signal)
    }
}

impl std::error::Error for Stopped {}

/// The end of work that a signal stopped, after telling how to go on.
pub(crate) fn stopped(signal: i32) -> Error {
    Error::new(Stopped { signal })
}

/// For `map_err`: the arguments are to blame.
pub(crate) fn wrong_arguments(error: impl Into<Error>) -> Error {
    Error::new(WrongArguments(error.into()))
}

/// The setting that somebody means who writes it as an option of a command that takes settings: `--epochs` is
/// `optim.epochs`.
fn setting_called(argument: &str) -> Option<String> {
    let mut command = env::args_os().skip(1);
    let takes_settings = match command.next()?.to_str()? {
        "data" => command.next().is_some_and(|of_data| of_data == "views"),
        command => ["pretrain", "demo"].contains(&command),
    };
    let name = argument.strip_prefix("--").filter(|_| takes_settings)?.replace('-', "_");
    let is_meant =
        |field: &String| *field == name || field.rsplit_once('.').is_some_and(|(_, last)| last == name);
    Config::field_names().into_iter().filter(|field| field != DATA_PATH).find(is_meant)
}

/// Prints what clap has to say: the help that was asked for, or what is wrong with the arguments.
pub(crate) fn exit_code_of_usage(usage: &clap::Error) -> ExitCode {
    let printed = usage.print();
    if let Some(ContextValue::String(argument)) = usage.get(ContextKind::InvalidArg)
        && usage.kind() == clap::error::ErrorKind::UnknownArgument
        && let Some(field) = setting_called(argument)
    {
        say(&format!("  settings are given by name: {field}=VALUE"));
    }
    match printed {
        Err(error) if !usage.use_stderr() => exit_code(Err(Error::new(error).context(NO_STDOUT))),
        _ => ExitCode::from(if usage.use_stderr() { 2 } else { 0 }),
    }
}

/// For `context`: what could not be done with stdout.
pub(crate) const NO_STDOUT: &str = "standard output: cannot write";

/// Whether the reader of a pipe has gone, as `head` does once it has its lines.
fn is_broken_pipe(error: &Error) -> bool {
    let of_kind = |io: &std::io::Error| io.kind() == ErrorKind::BrokenPipe;
    error.chain().any(|cause| cause.downcast_ref().is_some_and(of_kind))
}

/// Explains a failure on stderr; a reader who has seen enough is none.
pub(crate) fn exit_code(result: Result<(), Error>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            if let Some(&Stopped { signal }) = error.downcast_ref() {
                return ExitCode::from(signals::exit_code(signal) as u8);
            }
            say(&format!("error: {}", chain(&error)));
            ExitCode::from(if error.is::<WrongArguments>() { 2 } else { 1 })
        }
    }
}

/// The message with its causes. Most messages quote their cause already, which is then not said twice.
fn chain(error: &Error) -> String {
    error.chain().skip(1).fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        if text.contains(&cause) { text } else { format!("{text}: {cause}") }
    })
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn causes_are_told_once() {
        let error = anyhow!("disk full").context("cannot write: disk full").context("no checkpoint");
        assert_eq!(chain(&error), "no checkpoint: cannot write: disk full");
    }

    #[test]
    fn wrong_arguments_keep_their_message() {
        let error = wrong_arguments(anyhow!("expected a number").context("optim.lr"));
        assert_eq!(chain(&error), "optim.lr: expected a number");
        assert!(error.is::<WrongArguments>());
    }
}

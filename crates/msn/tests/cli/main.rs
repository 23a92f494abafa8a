//! The program as its users meet it: arguments in, files, output and exit codes out.

mod arguments;
mod bad_input;
mod evaluation;
mod happy_path;
mod resume;
#[cfg(unix)]
mod stopping;
mod support;

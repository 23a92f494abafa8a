//! The program as its users meet it: arguments in, files, output and exit codes out.

#![allow(clippy::disallowed_methods, reason = "tests write files to see what the program makes of them")]

mod arguments;
mod bad_input;
mod data;
mod evaluation;
mod exchange;
mod finetune;
mod happy_path;
mod init;
mod odd_images;
mod output;
mod resume;
#[cfg(unix)]
mod stopping;
mod support;

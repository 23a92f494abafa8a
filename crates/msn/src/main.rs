//! Pre-trains vision transformers on unlabelled images, and classifies from a handful of labels.

// These panic where nobody reads any more; see `progress::say` and `report::print`.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod classes;
mod cli;
mod commands;
mod device;
mod failure;
mod features;
mod labels;
mod levels;
mod memory;
mod output;
mod progress;
mod report;
mod settings;
mod signals;
mod starting;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command, Evaluation};

#[global_allocator]
static ALLOCATOR: msn_model::LineAligned = msn_model::LineAligned;

fn main() -> ExitCode {
    msn_model::keep_freed_memory();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => return failure::exit_code_of_usage(&usage),
    };
    progress::show_warnings();
    failure::exit_code(run(cli.command))
}

fn run(command: Command) -> anyhow::Result<()> {
    // Kernels panic on an instruction set that they do not have.
    msn_model::selected_isa().map_err(failure::wrong_arguments)?;
    match command {
        Command::Demo(arguments) => commands::demo::run(&arguments),
        Command::Pretrain(arguments) => commands::pretrain::run(&arguments),
        Command::Data(command) => commands::data::run(&command),
        Command::Eval(Evaluation::Lowshot(arguments)) => commands::lowshot::run(&arguments),
        Command::Eval(Evaluation::Knn(arguments)) => commands::knn::run(&arguments),
        Command::Eval(Evaluation::Linear(arguments)) => commands::linear::run(&arguments),
        Command::Eval(Evaluation::FineTune(arguments)) => commands::finetune::run(&arguments),
        Command::Eval(Evaluation::Report(arguments)) => commands::report::run(&arguments),
        Command::Eval(Evaluation::Robust(arguments)) => commands::robust::run(&arguments),
        Command::Eval(Evaluation::Select(arguments)) => commands::selection::run(&arguments),
        Command::Select(arguments) => commands::select::run(&arguments),
        Command::Compare(arguments) => commands::compare::run(&arguments),
        Command::Embed(arguments) => commands::embed::run(&arguments),
        Command::Predict(arguments) => commands::predict::run(&arguments),
        Command::Import(arguments) => commands::import::run(&arguments),
        Command::Export(arguments) => commands::export::run(&arguments),
        Command::Settings(arguments) => commands::settings::run(&arguments),
        Command::Synth(arguments) => commands::synth::run(&arguments),
    }
}

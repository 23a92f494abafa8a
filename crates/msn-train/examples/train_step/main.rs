//! Seconds of a whole training step on random images, which are made beforehand: `ours` in docs/performance.md.
//!
//! `cargo run --release -p msn-train --example train_step -- --config vit-s16-224` prints one JSON line. A round
//! goes from pixels in memory to updated parameters: cutting into patches, targets by the momentum encoder,
//! anchors, head with batch norm, prototypes, Sinkhorn, me-max, backward, clipping, AdamW, momentum encoder. The
//! program measures one configuration, since the largest memory that a process had cannot be forgotten.
//!
//! With `--serve` a round runs whenever a line arrives on standard input, so that `bench/run.py` can let this
//! program and its peer take turns.

mod case;

use std::io::{BufRead, Write};
use std::time::Instant;

use burn::module::Module;
use burn::tensor::Device;
use case::{Case, Images, Task, Tokens};
use clap::{Parser, ValueEnum};
use msn_kernels::LineAligned;
use msn_model::{Encoder, Features, Path};
use msn_ssl::Schedule;
use msn_train::config::PrecisionSetting;
use msn_train::{StepReport, Trainer};
use serde::Serialize;

#[global_allocator]
static ALLOCATOR: LineAligned = LineAligned;

#[derive(Parser)]
struct Arguments {
    /// Which configuration, such as vit-s16-224
    #[arg(long, value_parser = Case::find)]
    config: Case,
    /// Measured rounds
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Rounds before the measured ones
    #[arg(long, default_value_t = 1)]
    warmup: usize,
    /// Precision of the products
    #[arg(long, value_enum, default_value_t = Precision::Bf16)]
    precision: Precision,
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Compute activations anew in the backward pass instead of keeping them
    #[arg(long)]
    grad_checkpointing: bool,
    /// Run a round for each line on standard input
    #[arg(long)]
    serve: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Precision {
    Bf16,
    F32,
}

/// The line that the program ends with.
#[derive(Serialize)]
struct Report {
    config: &'static str,
    precision: &'static str,
    threads: usize,
    grad_checkpointing: bool,
    /// Instruction set of the kernels.
    isa: &'static str,
    /// Parameters and running statistics of the encoder and its head.
    parameters: usize,
    /// Elements of the prototypes.
    prototypes: usize,
    target_tokens: usize,
    anchor_tokens: usize,
    /// Floating-point operations that a round needs.
    flop: u64,
    /// Of each measured round.
    seconds: Vec<f64>,
    /// Largest resident memory of the process, MiB.
    peak_mib: Option<f64>,
    /// Loss terms of the very first round.
    first: Option<StepReport>,
}

/// Learning rate and the like: as early in a training.
const SCHEDULE: Schedule = Schedule { lr: 2e-4, weight_decay: 0.04, momentum: 0.996, sharpen: 0.25 };

enum Work {
    Train(Box<Trainer>),
    Embed(Box<Encoder>),
}

impl Work {
    /// One round; training reports its loss terms.
    fn round(&mut self, images: &Images) -> Option<StepReport> {
        match self {
            Self::Train(trainer) => {
                let views = images.views(&trainer.device());
                Some(trainer.step(views, SCHEDULE, &[], false).0)
            }
            Self::Embed(encoder) => {
                let view = images.target(&encoder.device());
                std::hint::black_box(encoder.features(&[view], Features::BeforeNorm).into_data());
                None
            }
        }
    }
}

fn main() {
    msn_kernels::keep_freed_memory();
    let arguments = Arguments::parse();
    let (case, threads) = (arguments.config, arguments.threads);
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().expect("nothing has run yet");
    let (setting, precision) = match arguments.precision {
        Precision::Bf16 => (PrecisionSetting::Bf16, "bf16"),
        Precision::F32 => (PrecisionSetting::F32, "f32"),
    };
    let mut config = case.config(setting);
    config.train.grad_checkpointing = arguments.grad_checkpointing;
    let device = Device::flex();
    let (mut work, parameters, prototypes) = match case.task {
        Task::Train { .. } => {
            let trainer = Trainer::new(&config, &device).expect("valid");
            let sizes = (trainer.encoder().num_params(), trainer.prototypes().num_params());
            (Work::Train(Box::new(trainer)), sizes.0, sizes.1)
        }
        Task::Embed => {
            let mut encoder = config.encoder.init(None, config.seed, &device).expect("valid");
            encoder.path = Path::Kernels(setting.precision());
            let parameters = encoder.num_params();
            (Work::Embed(Box::new(encoder)), parameters, 0)
        }
    };
    let images = case.images(config.encoder.patch_size);

    let mut first = None;
    for _ in 0..arguments.warmup {
        let terms = work.round(&images);
        first = first.or(terms);
    }
    let mut seconds = Vec::new();
    let mut round = || {
        let start = Instant::now();
        let terms = work.round(&images);
        let elapsed = start.elapsed().as_secs_f64();
        first = first.or(terms);
        seconds.push(elapsed);
        elapsed
    };
    if arguments.serve {
        say("{\"ready\": true}");
        for line in std::io::stdin().lock().lines() {
            line.expect("standard input is text");
            say(&format!("{{\"seconds\": {}}}", round()));
        }
    } else {
        (0..arguments.rounds).for_each(|_| {
            round();
        });
    }

    let Tokens { targets, anchors } = case.tokens(&config.encoder);
    let tokens = |groups: &[(usize, usize)]| groups.iter().map(|(count, tokens)| count * tokens).sum();
    let report = Report {
        config: case.name,
        precision,
        threads,
        grad_checkpointing: arguments.grad_checkpointing,
        isa: msn_kernels::selected_isa().expect("kernels ran").name(),
        parameters,
        prototypes,
        target_tokens: tokens(&targets),
        anchor_tokens: tokens(&anchors),
        flop: case.flop(&config),
        seconds,
        peak_mib: peak_mib(),
        first,
    };
    say(&serde_json::to_string(&report).expect("numbers and names"));
}

/// Prints a line at once, also into a pipe.
fn say(line: &str) {
    println!("{line}");
    std::io::stdout().flush().expect("standard output is open");
}

/// Largest resident memory of this process so far, MiB; `None` where the system does not tell.
fn peak_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024.0)
}

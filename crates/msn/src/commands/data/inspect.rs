//! `msn data inspect`

use std::fmt::Write as _;
use std::path::Path;
use std::thread::available_parallelism;

use anyhow::bail;
use msn_data::{InspectConfig, Inspection, Normalization, Spread, contact_sheet, inspect};
use msn_train::Config;
use serde::Serialize;

use super::{check_picture, write_picture};
use crate::classes::warn_of_shared_names;
use crate::cli::Inspect;
use crate::levels::warn_of_few_levels;
use crate::output;
use crate::progress::{ImageProgress, counted, say, warn};
use crate::report::{self, Table};

/// Classes that are all shown; of more, the smallest and the largest.
const SHOWN_CLASSES: usize = 20;
/// Broken files that are shown; the JSON has more.
const SHOWN_BROKEN: usize = 20;

/// The results as JSON.
#[derive(Serialize)]
struct Results<'a> {
    path: &'a Path,
    #[serde(flatten)]
    found: &'a Inspection,
}

pub(crate) fn run(arguments: &Inspect) -> anyhow::Result<()> {
    let path = &arguments.path;
    output::check_json(arguments.json.as_deref(), &[path])?;
    if let Some(sheet) = &arguments.sheet {
        check_picture("--sheet", sheet, path)?;
    }
    let dataset = msn_data::open(path)?;
    warn_of_shared_names(&*dataset);
    let config = InspectConfig {
        sample: arguments.sample,
        seed: arguments.seed,
        workers: available_parallelism().map_or(1, usize::from),
        limits: arguments.limits.with_levels(arguments.levels),
    };
    let wanted = arguments.sample.unwrap_or(usize::MAX).min(dataset.len());
    let mut progress = ImageProgress::new("images", wanted);
    let found = inspect(&*dataset, &config, |done| progress.set(done))?;
    drop(progress);
    let sheet = match &arguments.sheet {
        Some(_) if found.usable.is_empty() => {
            warn("no contact sheet: not one image can be used");
            Ok(())
        }
        Some(sheet) => write_picture(sheet, &contact_sheet(&*dataset, &found.usable, &config.limits))
            .map(|()| say(&format!("contact sheet: {}", sheet.display()))),
        None => Ok(()),
    };
    let results = Results { path, found: &found };
    warn_of_few_levels(&found);
    if found.with_more_pages > 0 {
        let stacks = counted(found.with_more_pages, "TIFF file");
        warn(&format!("more than one page: {stacks}, of which the first page alone is read"));
    }
    report::show_json(&text(path, &found), "inspect", arguments.json.as_deref(), &results)?;
    if found.usable.is_empty() {
        bail!("{}: not one of {} can be used", path.display(), counted(found.looked_at, "image"));
    }
    sheet
}

fn text(path: &Path, found: &Inspection) -> String {
    let mut text = format!("{}: {}", path.display(), counted(found.images, "image"));
    if found.looked_at < found.images {
        write!(text, ", {} looked at", found.looked_at).expect(MEMORY);
    }
    text.push_str("\n\n");
    if let (Some(width), Some(height), Some(bytes)) = (found.width, found.height, found.bytes) {
        let mut table = Table::new(["", "smallest", "median", "largest"]);
        let mut row = |name: &str, cells: [String; 3]| table.row([name.to_owned()].into_iter().chain(cells));
        row("width, px", cells(width));
        row("height, px", cells(height));
        row(
            "file size",
            cells(Spread { min: Size(bytes.min), median: Size(bytes.median), max: Size(bytes.max) }),
        );
        text.push_str(&table.text());
        let formats: Vec<String> =
            found.formats.iter().map(|(name, count)| format!("{name} {count}")).collect();
        writeln!(text, "\nformats: {}\nall together: {}", formats.join(", "), Size(found.total_bytes))
            .expect(MEMORY);
    }
    text.push_str(&classes(found));
    text.push_str(&broken(found));
    if let Some(channels) = &found.channels {
        text.push_str(&settings(channels));
    }
    text
}

const MEMORY: &str = "a String takes everything";

fn cells<T: ToString>(spread: Spread<T>) -> [String; 3] {
    [spread.min, spread.median, spread.max].map(|value| value.to_string())
}

/// A number of bytes, for people.
struct Size(u64);

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            0..10_000 => write!(f, "{} B", self.0),
            10_000..1_000_000 => write!(f, "{:.1} kB", self.0 as f64 / 1e3),
            1_000_000..1_000_000_000 => write!(f, "{:.1} MB", self.0 as f64 / 1e6),
            _ => write!(f, "{:.1} GB", self.0 as f64 / 1e9),
        }
    }
}

fn classes(found: &Inspection) -> String {
    if found.classes.is_empty() {
        return "classes: none\n".to_owned();
    }
    let mut by_size: Vec<(&String, usize)> =
        found.classes.iter().map(|(name, &count)| (name, count)).collect();
    by_size.sort_by_key(|&(_, count)| count);
    let (smallest, largest) = (by_size[0], by_size[by_size.len() - 1]);
    let mut text = format!("classes: {}", by_size.len());
    if found.unlabelled > 0 {
        write!(text, ", and {} without one", counted(found.unlabelled, "image")).expect(MEMORY);
    }
    if smallest.1 == largest.1 {
        text.push_str(&format!("; {} each\n", counted(largest.1, "image")));
    } else {
        text.push_str(&format!(
            "; smallest {} ({}), largest {} ({})\n",
            smallest.0, smallest.1, largest.0, largest.1
        ));
    }
    let mut line = |(name, count): (&String, usize)| writeln!(text, "  {count:>8}  {name}").expect(MEMORY);
    if by_size.len() <= SHOWN_CLASSES {
        found.classes.iter().for_each(|(name, &count)| line((name, count)));
    } else if smallest.1 < largest.1 {
        by_size[..SHOWN_CLASSES / 2].iter().copied().for_each(&mut line);
        by_size[by_size.len() - SHOWN_CLASSES / 2..].iter().copied().for_each(&mut line);
        writeln!(text, "  the {} others: with --json", by_size.len() - SHOWN_CLASSES).expect(MEMORY);
    }
    text
}

fn broken(found: &Inspection) -> String {
    let mut text = format!("broken: {} of {}\n", found.broken, found.looked_at);
    for skipped in found.broken_images.iter().take(SHOWN_BROKEN) {
        writeln!(text, "  {skipped}").expect(MEMORY);
    }
    if found.broken > SHOWN_BROKEN {
        writeln!(text, "  and {} others, with --json", found.broken - SHOWN_BROKEN).expect(MEMORY);
    }
    // Of a sample, by its share.
    let in_all = found.broken as f64 * found.images as f64 / found.looked_at.max(1) as f64;
    let allowed = Config::default().loader().allowed_broken(found.images);
    if in_all > allowed as f64 {
        let about = if found.looked_at < found.images { "by that share, " } else { "" };
        writeln!(
            text,
            "{about}more than the {allowed} of {} that pretrain skips: repair or remove them, or set data.max_skipped={:.2}",
            found.images,
            (100.0 * in_all / found.images as f64).ceil() / 100.0
        )
        .expect(MEMORY);
    }
    text
}

/// The channels as a part of a configuration.
fn settings(channels: &Normalization) -> String {
    let list = |[red, green, blue]: [f32; 3]| format!("[{red:.4}, {green:.4}, {blue:.4}]");
    format!(
        "\nchannels, for a configuration:\n[data]\nmean = {}\nstd = {}\n",
        list(channels.mean),
        list(channels.std)
    )
}

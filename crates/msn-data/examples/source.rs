//! How long a source takes to open and how fast it is read in random order, without decoding:
//!
//! ```sh
//! cargo run --release -p msn-data --example source -- PATH [IMAGES_TO_READ]
//! ```

use std::path::Path;
use std::time::Instant;

use msn_data::rng::Rng;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("expected a path")?;
    let started = Instant::now();
    let dataset = msn_data::open(Path::new(&path))?;
    println!("{} images, opened in {:.2} s", dataset.len(), started.elapsed().as_secs_f64());
    let count: usize = arguments.next().map_or(Ok(0), |count| count.parse())?;
    let mut order: Vec<usize> = (0..dataset.len()).collect();
    Rng::for_order(0, 0).shuffle_front(&mut order, dataset.len());
    let (mut bytes, mut total) = (Vec::new(), 0);
    let started = Instant::now();
    for &index in order.iter().cycle().take(count) {
        dataset.read_into(index, usize::MAX, &mut bytes)?;
        total += bytes.len();
    }
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{count} read: {:.0} images/s, {:.1} MB/s",
        count as f64 / seconds,
        total as f64 / seconds / 1e6
    );
    Ok(())
}

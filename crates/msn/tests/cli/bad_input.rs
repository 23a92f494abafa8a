//! Images that are missing, broken or too many.

use std::fs;

use image::{ImageFormat, RgbImage};

use crate::support::{Scratch, names};

/// Puts a JPEG that lacks its second half among the images.
fn add_truncated_jpeg(scratch: &Scratch) -> String {
    let class = names(&scratch.path("images")).remove(0);
    let mut bytes = std::io::Cursor::new(Vec::new());
    RgbImage::from_fn(64, 64, |x, y| image::Rgb([x as u8, y as u8, (x * y) as u8]))
        .write_to(&mut bytes, ImageFormat::Jpeg)
        .unwrap();
    let bytes = bytes.into_inner();
    let name = format!("{class}/torn.jpg");
    fs::write(scratch.path("images").join(&name), &bytes[..bytes.len() / 2]).unwrap();
    name
}

#[test]
fn a_truncated_image_among_good_ones_is_skipped_counted_and_listed() {
    let scratch = Scratch::new();
    let torn = add_truncated_jpeg(&scratch);
    let finished = scratch.pretrain("run", &[]).success();
    assert!(
        finished.stderr.contains("skipped images: 1, listed in run/skipped.jsonl"),
        "{}",
        finished.stderr
    );
    let skipped = scratch.lines_of_json("run/skipped.jsonl");
    assert_eq!(skipped.len(), 1, "{skipped:?}");
    assert_eq!(skipped[0]["path"], torn.as_str());
    assert!(skipped[0]["reason"].as_str().unwrap().contains("truncated"), "{}", skipped[0]);
}

#[test]
fn too_many_broken_images_stop_the_run_and_are_listed() {
    let scratch = Scratch::new();
    let torn = add_truncated_jpeg(&scratch);
    scratch.pretrain("run", &["data.max_skipped=0"]).fails_with(&[
        "images: 1 of 25 images",
        "data.max_skipped = 0",
        &torn,
        "set data.max_skipped higher",
    ]);
    let skipped = scratch.lines_of_json("run/skipped.jsonl");
    assert_eq!(skipped.len(), 1, "{skipped:?}");
    assert_eq!(skipped[0]["path"], torn.as_str());
}

#[test]
fn features_leave_broken_images_out_and_say_so() {
    let scratch = Scratch::new();
    let torn = add_truncated_jpeg(&scratch);
    let finished = scratch
        .msn(&["embed", "--checkpoint", "raw-pixels", "--data", "images", "--out", "rows.npy"])
        .success();
    assert!(finished.stderr.contains(&torn), "{}", finished.stderr);
    assert!(finished.stderr.contains("1 of 25 images could not be read"), "{}", finished.stderr);
    let paths = scratch.read("rows.txt");
    assert_eq!(paths.lines().count(), 24);
    assert!(!paths.contains(&torn));
}

#[test]
#[cfg(unix)]
fn a_line_feed_in_a_name_stops_embed_before_the_work_and_nothing_else() {
    let scratch = Scratch::new();
    let class = names(&scratch.path("images")).remove(0);
    let folder = scratch.path("images").join(class);
    fs::copy(folder.join("0001.png"), folder.join("two\nlines\u{7}.png")).unwrap();
    let embed = ["embed", "--checkpoint", "raw-pixels", "--data", "images", "--out", "rows.npy"];
    scratch.msn(&embed).fails_with(&["without line feeds", r"two\nlines", "rows.txt"]);
    assert!(!scratch.path("rows.npy").exists());
    fs::write(folder.join("two\nlines\u{7}.png"), "no image").unwrap();
    let finished = scratch.pretrain("run", &[]).success();
    assert!(
        finished.stderr.contains(r"lines\u{7}.png") && !finished.stderr.contains('\u{7}'),
        "{}",
        finished.stderr
    );
}

#[test]
fn a_path_without_images_is_an_explained_failure() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("empty")).unwrap();
    fs::write(scratch.path("empty/notes.md"), "no image").unwrap();
    let pretrain = |data: &str| scratch.msn(&["pretrain", "--data", data, "--out", "run"]);
    pretrain("empty").fails_with(&["empty", "no image found", ".jpg"]);
    pretrain("nowhere").fails_with(&["nowhere", "cannot read"]);
    pretrain("tiny.toml").fails_with(&["tiny.toml", "a folder of images"]);
    let embed = ["embed", "--checkpoint", "raw-pixels", "--data", "empty", "--out", "rows.npy"];
    scratch.msn(&embed).fails_with(&["empty", "no image found"]);
    assert!(!scratch.path("run").exists() && !scratch.path("rows.npy").exists());
}

#[test]
fn images_that_are_all_broken_are_an_explained_failure() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("broken")).unwrap();
    for index in 0..8 {
        fs::write(scratch.path(&format!("broken/{index}.jpg")), "not an image").unwrap();
    }
    let first = "0.jpg: expected JPEG, PNG";
    scratch.msn(&["pretrain", "--data", "broken", "--out", "run"]).fails_with(&[
        "broken",
        "none among 8",
        first,
    ]);
    let with_config = ["pretrain", "--data", "broken", "--out", "run", "--config", "tiny.toml"];
    scratch.msn(&with_config).fails_with(&["broken: ", "8 images could not be read", "data.max_skipped"]);
    let with_config = ["pretrain", "--data", "broken", "--out", "all", "--config", "tiny.toml"];
    let any_number = ["data.max_skipped=1"];
    scratch
        .msn(&[&with_config[..], &any_number].concat())
        .fails_with(&["broken: only 0 of 8 images", "train.batch_size = 4"]);
    assert_eq!(scratch.lines_of_json("all/skipped.jsonl").len(), 8, "every broken image is listed");
    let embed = ["embed", "--checkpoint", "raw-pixels", "--data", "broken", "--out", "rows.npy"];
    scratch.msn(&embed).fails_with(&["broken", "none among 8", first]);
}

#[test]
fn settings_are_picked_from_images_within_the_limits_that_are_set() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("large")).unwrap();
    // 1.01 million pixels.
    RgbImage::new(1010, 1000).save(scratch.path("large/1.png")).unwrap();
    let pretrain = |limit: &str| {
        scratch.msn(&["pretrain", "--data", "large", "--out", "run", "data.max_skipped=1", limit])
    };
    pretrain("data.max_megapixels=1").fails_with(&["none among 1", "1.png", "1000000 pixels"]);
    pretrain("data.max_megapixels=0").refused_with(&["data.max_megapixels", "found 0"]);
    assert!(!scratch.path("run").exists());
}

#[test]
fn a_batch_larger_than_the_data_fails_before_a_run_folder_is_made() {
    let scratch = Scratch::new();
    scratch.pretrain("run", &["train.batch_size=25"]).fails_with(&[
        "train.batch_size",
        "at most 24",
        "found 25",
    ]);
    assert!(!scratch.path("run").exists());
    scratch.pretrain("run", &["train.batch_size=24"]).success();
}

#[test]
fn a_checkpoint_that_is_none_is_an_explained_failure() {
    let scratch = Scratch::new();
    let embed = |checkpoint: &str| {
        scratch.msn(&["embed", "--checkpoint", checkpoint, "--data", "images", "--out", "rows.npy"])
    };
    embed("nowhere").fails_with(&["nowhere", "not a run folder"]);
    embed("images").fails_with(&["images", "not a run folder", "config.toml"]);
    embed("raw-pixel").fails_with(&["raw-pixel", "untrained:RUN or raw-pixels"]);
    embed("untrained:nowhere").fails_with(&["nowhere", "not a run folder"]);
    embed("nowhere/checkpoints/step-7").fails_with(&["step-7"]);
}

#[test]
fn results_that_could_not_be_written_are_refused_before_the_work() {
    let scratch = Scratch::new();
    let data =
        ["--checkpoint", "raw-pixels", "--train", "images", "--test", "images", "--json", "no/such.json"];
    scratch.msn(&[&["eval", "knn"], &data[..]].concat()).fails_with(&["no/such.json", "found no folder no"]);
    scratch
        .msn(&[&["eval", "lowshot"], &data[..]].concat())
        .fails_with(&["no/such.json", "found no folder no"]);
    // The images are no matter yet.
    let embed = ["embed", "--checkpoint", "raw-pixels", "--data", "nowhere", "--out", "no/such.npy"];
    scratch.msn(&embed).fails_with(&["no/such.npy", "found no folder no"]);
}

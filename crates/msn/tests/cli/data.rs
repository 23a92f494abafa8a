//! `msn data`

use std::fs;

use crate::support::{Scratch, names};

#[test]
fn inspect_tells_what_is_there_as_text_and_as_json() {
    let scratch = Scratch::new();
    let class = names(&scratch.path("images")).remove(0);
    fs::write(scratch.path("images").join(&class).join("broken.jpg"), "no image").unwrap();
    let text = scratch.msn(&["data", "inspect", "images", "--sheet", "sheet.png"]).success();
    for part in [
        "images: 25 images",
        "width, px",
        "PNG 24",
        "classes: 3",
        &format!("{class} (9)"),
        "broken: 1 of 25",
        "[data]\nmean = [",
    ] {
        assert!(text.stdout.contains(part), "expected `{part}` in: {}", text.stdout);
    }
    assert!(text.stdout.contains(&format!("{class}/broken.jpg: expected JPEG")), "{}", text.stdout);
    image::open(scratch.path("sheet.png")).unwrap();

    let json = scratch.msn(&["data", "inspect", "images", "--json", "-"]).success().stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["images"], &json["broken"]), (&25.into(), &1.into()), "{json}");
    assert_eq!(json["classes"][&class], 9);
    assert_eq!(json["broken_images"][0]["path"], format!("{class}/broken.jpg"));
    assert_eq!(json["width"]["median"], 16);

    // The part of a configuration is one.
    let settings = text.stdout.split("for a configuration:\n").nth(1).unwrap();
    let both = format!("{settings}\n{}", scratch.read("tiny.toml"));
    fs::write(scratch.path("with.toml"), both).unwrap();
    scratch.msn(&["data", "views", "images", "--out", "views.png", "--config", "with.toml"]).success();
}

#[test]
fn inspect_warns_of_what_is_left_out_of_shared_class_names_and_of_few_levels() {
    let scratch = Scratch::new();
    for folder in ["dogs/left", "cats/left"] {
        fs::create_dir_all(scratch.path("odd").join(folder)).unwrap();
        // 12 bits in a file of 16.
        let samples = (0..16).map(|i| 273 * i).collect();
        let image = image::ImageBuffer::<image::Luma<u16>, Vec<u16>>::from_raw(4, 4, samples).unwrap();
        image.save(scratch.path("odd").join(folder).join("1.png")).unwrap();
    }
    fs::write(scratch.path("odd/scan.DCM"), "a format that is not read").unwrap();
    fs::write(scratch.path("odd/notes.txt"), "no image").unwrap();
    let finished = scratch.msn(&["data", "inspect", "odd"]).success();
    for part in ["left out: 1 .dcm", "`left` is one class", "cats/left, dogs/left", "brighter than 16 of 255"]
    {
        assert!(finished.stderr.contains(part), "expected `{part}` in: {}", finished.stderr);
    }
    let finished = scratch.msn(&["data", "inspect", "odd", "--levels", "0,4095"]).success();
    assert!(!finished.stderr.contains("brighter"), "{}", finished.stderr);
    // A bright image of 8 bits beside them changes nothing, and a training says so, too.
    let white = image::RgbImage::from_pixel(4, 4, image::Rgb([255; 3]));
    white.save(scratch.path("odd/dogs/left/2.png")).unwrap();
    let small = ["--out", "run", "train.batch_size=2", "optim.epochs=1", "encoder.dim=48", "encoder.depth=1"];
    for said in [
        scratch.msn(&["data", "inspect", "odd"]).success().stderr,
        scratch.msn(&[&["pretrain", "--data", "odd"], &small[..]].concat()).stderr,
    ] {
        assert!(said.contains("no sample of 2 16-bit images looked at is brighter than 16 of 255"), "{said}");
    }
    scratch
        .msn(&["data", "inspect", "odd", "--levels", "9,5"])
        .refused_with(&["--levels", "lower one first"]);
}

#[test]
fn classes_of_a_tar_that_cannot_be_read_are_warned_of_once() {
    let scratch = Scratch::new();
    let mut archive = tar::Builder::new(fs::File::create(scratch.path("odd.tar")).unwrap());
    let mut png = std::io::Cursor::new(Vec::new());
    image::GrayImage::new(8, 8).write_to(&mut png, image::ImageFormat::Png).unwrap();
    for (name, bytes) in [("0.png", png.get_ref()), ("1.png", png.get_ref())]
        .into_iter()
        .chain([("0.json", &b"{\"label\": NaN}".to_vec()), ("1.cls", &b"caf\xE9".to_vec())])
    {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, name, &bytes[..]).unwrap();
    }
    archive.finish().unwrap();
    let finished = scratch.msn(&["data", "inspect", "odd.tar"]).success();
    let warning = "odd.tar: the classes of 2 images cannot be read, the first from `0.json`: expected JSON";
    assert!(finished.stderr.contains(warning), "{}", finished.stderr);
}

#[test]
fn images_that_are_too_large_stop_packing_and_the_limit_can_be_raised() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("large")).unwrap();
    image::GrayImage::new(1200, 1000).save(scratch.path("large/a.png")).unwrap();
    image::GrayImage::new(10, 10).save(scratch.path("large/b.png")).unwrap();
    let pack = ["data", "pack", "large", "--out", "shards", "--max-megapixels"];
    let stopped = scratch.msn(&[&pack[..], &["1"]].concat());
    stopped.fails_with(&["a.png", "at most 1000000 pixels (max_megapixels)", "--resume"]);
    let whole = scratch.msn(&[&pack[..], &["2", "--resume"]].concat()).success();
    assert!(whole.stderr.contains("2 images of"), "{}", whole.stderr);
}

#[test]
fn inspect_can_look_at_a_sample() {
    let scratch = Scratch::new();
    let text = scratch.msn(&["data", "inspect", "images", "--sample", "10"]).success().stdout;
    assert!(text.contains("images: 24 images, 10 looked at") && text.contains("broken: 0 of 10"), "{text}");
    scratch.msn(&["data", "inspect", "images", "--sample", "0"]).refused_with(&["--sample", "at least 1"]);
}

#[test]
fn inspect_of_nothing_usable_fails_after_telling_why() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("broken")).unwrap();
    fs::write(scratch.path("broken/a.jpg"), "no image").unwrap();
    let finished = scratch.msn(&["data", "inspect", "broken", "--sheet", "sheet.png"]);
    assert!(finished.stdout.contains("broken: 1 of 1\n  a.jpg: expected JPEG"), "{}", finished.stdout);
    finished.fails_with(&["not one of 1 image can be used"]);
    assert!(!scratch.path("sheet.png").exists());
}

#[test]
fn pictures_are_written_over_pictures_of_ours_alone_and_never_among_the_images() {
    let scratch = Scratch::new();
    let views = |out: &str| scratch.msn(&["data", "views", "images", "--out", out, "--config", "tiny.toml"]);
    views("views.png").success();
    views("views.png").success();
    let class = names(&scratch.path("images")).remove(0);
    let own = scratch.path("images").join(&class).join("0001.png");
    let before = fs::read(&own).unwrap();
    fs::copy(&own, scratch.path("mine.png")).unwrap();
    views("mine.png").fails_with(&["mine.png", "earlier output"]);
    views("images/new.png").fails_with(&["images/new.png", "outside of images"]);
    views("views.jpg").refused_with(&["--out", ".png", "views.jpg"]);
    let sheet = format!("images/{class}/0001.png");
    scratch
        .msn(&["data", "inspect", "images", "--sheet", &sheet])
        .fails_with(&["0001.png", "earlier output"]);
    assert!(fs::read(own).unwrap() == before && fs::read(scratch.path("mine.png")).unwrap() == before);
}

#[test]
fn views_follow_the_settings_and_show_the_images_asked_for() {
    let scratch = Scratch::new();
    let views = |out: &str, more: &[&str]| {
        let common = ["data", "views", "images", "--out", out, "--config", "tiny.toml"];
        scratch.msn(&[&common[..], more].concat())
    };
    views("one.png", &[]).success();
    views("three.png", &["--images", "3"]).success();
    views("seed.png", &["seed=1"]).success();
    views("epoch.png", &["--epoch", "1"]).success();
    let size = |name: &str| image::image_dimensions(scratch.path(name)).unwrap();
    assert_eq!(size("one.png").0, size("three.png").0);
    assert!(size("three.png").1 > 2 * size("one.png").1);
    let bytes = |name: &str| fs::read(scratch.path(name)).unwrap();
    assert!(bytes("one.png") != bytes("seed.png") && bytes("one.png") != bytes("epoch.png"));
    let class = names(&scratch.path("images")).remove(0);
    views("named.png", &["--image", &format!("{class}/0002.png"), "--image", &format!("{class}/0001.png")])
        .success();
    views("x.png", &["--image", "nothing.png"]).refused_with(&[
        "--image",
        "nothing.png",
        &format!("{class}/0001.png"),
    ]);
    views("x.png", &["--images", "25"]).refused_with(&["--images", "at most 24", "found 25"]);
    views("x.png", &["mask.patch_drop=1"]).refused_with(&["mask.patch_drop"]);
    views("x.png", &["data.path=other"]).refused_with(&["data.path"]);
    fs::write(scratch.path("images").join(&class).join("broken.jpg"), "no image").unwrap();
    views("x.png", &["--image", &format!("{class}/broken.jpg")]).fails_with(&["broken.jpg: expected JPEG"]);
    assert!(!scratch.path("x.png").exists());
    // Without a configuration the settings are picked.
    let picked = scratch.msn(&["data", "views", "images", "--out", "picked.png"]).success();
    assert!(picked.stderr.contains("settings picked from the images"), "{}", picked.stderr);
}

#[test]
fn packed_images_train_and_evaluate_as_the_source_does() {
    let scratch = Scratch::new();
    let class = names(&scratch.path("images")).remove(0);
    fs::write(scratch.path("images").join(&class).join("broken.jpg"), "no image").unwrap();
    let pack = ["data", "pack", "images", "--out", "shards", "--shard-size", "10"];
    let packed = scratch.msn(&pack).success();
    for part in [
        "left out",
        "broken.jpg",
        "1 broken image, listed in shards/shards.json",
        "24 images of 3 classes in 3 shards",
        "'shards/shards-{000000..000002}.tar'",
    ] {
        assert!(packed.stderr.contains(part), "expected `{part}` in: {}", packed.stderr);
    }
    assert_eq!(
        names(&scratch.path("shards")),
        [".lock", "shards-000000.tar", "shards-000001.tar", "shards-000002.tar", "shards.json"]
    );
    scratch.msn(&["pretrain", "--data", "shards", "--out", "run", "--config", "tiny.toml"]).success();
    let knn = |train: &str| {
        let test = ["--test", "images", "--k", "1", "--json", "-"];
        let printed = scratch
            .msn(&[&["eval", "knn", "--checkpoint", "raw-pixels", "--train", train], &test[..]].concat())
            .success()
            .stdout;
        serde_json::from_str::<serde_json::Value>(&printed).unwrap()["k"].clone()
    };
    assert_eq!(knn("shards")["1"], 100.0, "every image is its own nearest neighbour, with its class");
}

#[test]
fn inspect_tells_of_stacks_and_of_more_broken_images_than_a_training_skips() {
    let scratch = Scratch::new();
    let class = names(&scratch.path("images")).remove(0);
    let quiet = scratch.msn(&["data", "inspect", "images"]).success();
    assert!(!quiet.stdout.contains("data.max_skipped") && !quiet.stderr.contains("page"), "{}", quiet.stderr);
    for number in 0..4 {
        let told = scratch.msn(&["data", "inspect", "images"]).success();
        assert!(
            !told.stdout.contains("data.max_skipped"),
            "{number} are skipped in any case: {}",
            told.stdout
        );
        let broken = format!("broken-{number}.jpg");
        fs::write(scratch.path("images").join(&class).join(broken), "no image").unwrap();
    }
    let mut stack = fs::File::create(scratch.path("images").join(&class).join("stack.tif")).unwrap();
    let mut encoder = tiff::encoder::TiffEncoder::new(&mut stack).unwrap();
    for _ in 0..3 {
        encoder.write_image::<tiff::encoder::colortype::Gray8>(2, 2, &[1, 2, 3, 4]).unwrap();
    }
    let told = scratch.msn(&["data", "inspect", "images"]).success();
    assert!(told.stderr.contains("more than one page: 1 TIFF file"), "{}", told.stderr);
    // 4 of 29 is 13.8%.
    let words =
        "more than the 3 of 29 that pretrain skips: repair or remove them, or set data.max_skipped=0.14";
    assert!(told.stdout.contains(words), "{}", told.stdout);
}

#[test]
fn large_images_are_packed_smaller_where_asked_for() {
    let scratch = Scratch::new();
    let pack = |more: &[&str]| scratch.msn(&[&["data", "pack", "images", "--out", "shards"], more].concat());
    pack(&["--shorter-side", "0"]).refused_with(&["--shorter-side"]);
    pack(&["--levels", "0,4095"]).refused_with(&["--shorter-side"]);
    let packed = pack(&["--shorter-side", "8"]).success();
    assert!(packed.stderr.contains("shrunk to a shorter side of 8 px: 24 images"), "{}", packed.stderr);
    pack(&["--resume"]).fails_with(&["another size of the images", "8 px", "any"]);
    let json = scratch.msn(&["data", "inspect", "shards", "--json", "-"]).success().stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["images"], &json["width"]["median"]), (&24.into(), &8.into()), "{json}");
}

#[test]
fn packing_never_writes_over_anything_and_resumes_its_own_job_alone() {
    let scratch = Scratch::new();
    let pack = |more: &[&str]| {
        let common = ["data", "pack", "images", "--out", "shards", "--shard-size", "10"];
        scratch.msn(&[&common[..], more].concat())
    };
    pack(&["--resume"]).fails_with(&["shards", "begun before", "shards.json"]);
    pack(&["--shard-size", "ten"]).refused_with(&["--shard-size"]);
    pack(&[]).success();
    let before = fs::read(scratch.path("shards/shards-000001.tar")).unwrap();
    pack(&[]).fails_with(&["shards", "expected a new or an empty folder"]);
    pack(&["--resume", "--seed", "1"]).fails_with(&["another order", "seed 0", "seed 1", "--out"]);
    let whole = scratch.msn(&["data", "inspect", "shards"]).success();
    assert!(!whole.stderr.contains("not finished"), "{}", whole.stderr);
    // As after a kill.
    let record = scratch.read("shards/shards.json").replace("\"complete\": true", "\"complete\": false");
    fs::write(scratch.path("shards/shards.json"), record).unwrap();
    let unfinished = scratch.msn(&["data", "inspect", "shards"]).success();
    let words = "shards: packing is not finished: 24 of 24 images; `msn data pack` with --resume goes on";
    assert!(unfinished.stderr.contains(words), "{}", unfinished.stderr);
    let resumed = pack(&["--resume"]).success();
    assert!(resumed.stderr.contains("going on after 24 images of 24"), "{}", resumed.stderr);
    assert!(fs::read(scratch.path("shards/shards-000001.tar")).unwrap() == before);
}

//! From images and a run folder to rows of features.

use std::path::Path;

use burn::tensor::Device;
use image::{Rgb, RgbImage};
use msn_data::{Dataset, EvalTransform, Normalization, Scratch};
use msn_eval::{
    Error, ExtractError, Extractor, FeatureRows, Labelled, Lambda, Predictor, Probabilities, SavedEncoder,
};
use msn_model::{
    Encoder, EncoderConfig, Features, HeadConfig, LinearHead, Precision, View, encoder_seed, state_dict,
};
use msn_store::{Array, Checkpoint, KeepPolicy, RunDir, StateDict, TARGET_PART};
use serde_json::{Value, json};

const SIZE: usize = 16;
const DIM: usize = 32;
const MEAN: [f32; 3] = [0.4, 0.5, 0.6];
const STD: [f32; 3] = [0.2, 0.3, 0.25];

fn config() -> EncoderConfig {
    let sizes =
        EncoderConfig { image_size: SIZE, patch_size: 4, dim: DIM, depth: 2, ..EncoderConfig::default() };
    EncoderConfig { variant: String::new(), heads: 2, ..sizes }
}

pub(crate) fn encoder(seed: u64) -> Encoder {
    let head = HeadConfig { hidden_dim: 8, output_dim: 8, batch_norm: true };
    config().init(Some(&head), seed, &Device::flex()).unwrap()
}

pub(crate) fn state() -> Value {
    let data =
        json!({ "path": "somewhere", "mean": MEAN, "std": STD, "max_file_mib": 1, "max_megapixels": 1 });
    json!({ "cursor": { "epoch": 3 }, "config": { "seed": 5, "encoder": config(), "data": data, "optim": {} } })
}

pub(crate) fn tensors(encoder: &Encoder) -> StateDict {
    let arrays = state_dict(encoder).into_iter();
    arrays.map(|(name, array)| (name, Array::new(array.shape, array.data))).collect()
}

/// A run whose checkpoint of step `step` holds `target`, beside parts that evaluation does not read.
fn save(run: &RunDir, step: u64, target: StateDict, state: Value) {
    let other = StateDict::from([("weight".to_owned(), Array::new(vec![1], vec![0.0]))]);
    let parts = [(TARGET_PART.to_owned(), target), ("optimizer-encoder".to_owned(), other)];
    let checkpoint = Checkpoint { step, parts: parts.into(), state };
    run.checkpoints().save(&checkpoint, &KeepPolicy::default()).unwrap();
}

pub(crate) fn run_with(folder: &Path, target: StateDict, state: Value) {
    let run = RunDir::create(folder).unwrap();
    run.write_config("seed = 5\n").unwrap();
    save(&run, 1, target, state);
}

/// Images of `width` x `height` px, each different.
pub(crate) fn images(folder: &Path, count: usize, (width, height): (u32, u32)) -> Vec<RgbImage> {
    std::fs::create_dir(folder).unwrap();
    let image = |index: usize| {
        let level = |x: u32| (x * 11 + index as u32 * 17) as u8;
        let image = RgbImage::from_fn(width, height, |x, y| Rgb([level(x), level(y), level(x + y)]));
        image.save(folder.join(format!("{index:02}.png"))).unwrap();
        image
    };
    (0..count).map(image).collect()
}

pub(crate) fn pretrained(checkpoint: &Path, features: Features) -> Result<Extractor, ExtractError> {
    Extractor::pretrained(checkpoint, features, Precision::F32, &Device::flex())
}

fn untrained(checkpoint: &Path) -> Result<Extractor, ExtractError> {
    Extractor::untrained(checkpoint, Features::BeforeNorm, Precision::F32, &Device::flex())
}

fn extract(extractor: &Extractor, folder: &Path) -> Vec<f32> {
    let dataset = msn_data::open(folder).unwrap();
    let all: Vec<usize> = (0..dataset.len()).collect();
    extractor.rows(&*dataset, &all, |_| ()).unwrap().features.data().to_vec()
}

/// [B, D] of images that are already as large as the encoder wants them, without the loader.
fn expected(encoder: &Encoder, images: &[RgbImage], features: Features) -> Vec<f32> {
    let normalization = Normalization { mean: MEAN, std: STD };
    let transform = EvalTransform { resize: None, crop: SIZE, normalization };
    let mut pixels = vec![0.0; images.len() * 3 * SIZE * SIZE];
    for (image, place) in images.iter().zip(pixels.chunks_exact_mut(3 * SIZE * SIZE)) {
        let image = msn_data::Image::new(image.width(), image.height(), image.as_raw().clone());
        transform.apply(&image, &mut Scratch::default(), place);
    }
    let view = View::new(&pixels, images.len(), SIZE, 4, None, &encoder.device());
    encoder.features(&[view], features).into_data().convert::<f32>().try_into_vec().unwrap()
}

#[test]
fn rows_are_the_features_of_the_momentum_encoder_in_the_order_asked_for() {
    let scratch = tempfile::tempdir().unwrap();
    let (run, folder) = (scratch.path().join("run"), scratch.path().join("images"));
    let encoder = encoder(9);
    run_with(&run, tensors(&encoder), state());
    // More than one batch.
    let images = images(&folder, 40, (SIZE as u32, SIZE as u32));
    for features in [Features::BeforeNorm, Features::AfterNorm] {
        let extractor = pretrained(&run, features).unwrap();
        assert_eq!(extractor.dim(), DIM);
        let expected = expected(&encoder, &images, features);
        let found = extract(&extractor, &folder);
        let largest = expected.iter().fold(0f32, |m, x| m.max(x.abs()));
        let error = expected.iter().zip(&found).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
        // Batches of other sizes sum their products in another order: some units in the last place.
        assert!(error <= 1e-5 * largest, "{features:?}: off by {error} of {largest}");

        let dataset = msn_data::open(&folder).unwrap();
        let mut reports = Vec::new();
        let some = extractor.rows(&*dataset, &[7, 3], |done| reports.push(done)).unwrap();
        assert_eq!((some.images, reports), (vec![7, 3], vec![2]));
        let row = |row: usize| &found[row * DIM..][..DIM];
        let error = |a: &[f32], b: &[f32]| a.iter().zip(b).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
        assert!(error(some.features.row(0), row(7)) <= 1e-5 * largest);
        assert!(error(some.features.row(1), row(3)) <= 1e-5 * largest);
    }
}

#[test]
fn features_in_bf16_are_close_to_those_in_f32_and_others() {
    let scratch = tempfile::tempdir().unwrap();
    let (run, folder) = (scratch.path().join("run"), scratch.path().join("images"));
    // About 1 / sqrt(dim), so that the blocks do something.
    let encoder = EncoderConfig { init_std: 0.18, ..config() }.init(None, 9, &Device::flex()).unwrap();
    run_with(&run, tensors(&encoder), state());
    let images = images(&folder, 5, (SIZE as u32, SIZE as u32));
    for features in [Features::BeforeNorm, Features::AfterNorm] {
        let [single, half] = [Precision::F32, Precision::Bf16].map(|precision| {
            let extractor = Extractor::pretrained(&run, features, precision, &Device::flex()).unwrap();
            assert_eq!(extractor.precision(), Some(precision));
            extract(&extractor, &folder)
        });
        assert_eq!(single, expected(&encoder, &images, features), "{features:?}");
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
        for (a, b) in single.chunks(DIM).zip(half.chunks(DIM)) {
            assert_ne!(a, b, "{features:?}");
            let cosine = dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
            assert!(cosine > 0.99, "{features:?}: {cosine}");
        }
    }
    assert_eq!(Extractor::raw_pixels(8).precision(), None);
}

#[test]
fn images_of_any_shape_are_resized_to_the_shorter_side_and_cut_to_the_centre() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("wide");
    let wide = images(&folder, 1, (96, 32)).remove(0);
    let square = image::imageops::crop_imm(&wide, 32, 0, 32, 32).to_image();
    let cut = scratch.path().join("cut");
    std::fs::create_dir(&cut).unwrap();
    square.save(cut.join("00.png")).unwrap();
    let extractor = Extractor::raw_pixels(32);
    assert_eq!(extractor.dim(), 3 * 32 * 32);
    assert_eq!(extract(&extractor, &folder), extract(&extractor, &cut));
    // Raw pixels of a 32 px image are its own, normalised: the first is red at the top left.
    assert_eq!([64, 65, 500].map(|side| Extractor::raw_pixels(side).dim()), [3 * 64 * 64; 3]);
    let mean = Normalization::default();
    let red = (f32::from(square.get_pixel(0, 0).0[0]) / 255.0 - mean.mean[0]) / mean.std[0];
    assert!((extract(&extractor, &cut)[0] - red).abs() < 1e-5);
}

#[test]
fn an_untrained_encoder_depends_on_the_seed_of_the_run_alone() {
    let scratch = tempfile::tempdir().unwrap();
    let (one, other) = (scratch.path().join("one"), scratch.path().join("other"));
    run_with(&one, tensors(&encoder(9)), state());
    run_with(&other, tensors(&encoder(10)), state());
    let folder = scratch.path().join("images");
    images(&folder, 3, (16, 16));
    let open = |run: &Path, trained: bool| {
        let opened = if trained { pretrained(run, Features::BeforeNorm) } else { untrained(run) };
        extract(&opened.unwrap(), &folder)
    };
    assert_eq!(open(&one, false), open(&other, false));
    assert_ne!(open(&one, true), open(&other, true));
    assert_ne!(open(&one, true), open(&one, false));
}

#[test]
fn an_untrained_encoder_is_the_one_that_training_starts_from() {
    let scratch = tempfile::tempdir().unwrap();
    let (run, folder) = (scratch.path().join("run"), scratch.path().join("images"));
    let mut state = state();
    state["config"]["seed"] = json!(3);
    run_with(&run, tensors(&encoder(9)), state);
    let images = images(&folder, 3, (SIZE as u32, SIZE as u32));
    let untrained = untrained(&run).unwrap();
    // With its projection head, as training draws it.
    let expected = expected(&encoder(encoder_seed(3)), &images, Features::BeforeNorm);
    assert_eq!(extract(&untrained, &folder), expected);
}

#[test]
fn a_checkpoint_folder_is_opened_by_itself_and_a_run_by_its_newest_whole_checkpoint() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("run");
    let run = RunDir::create(&path).unwrap();
    run.write_config("seed = 5\n").unwrap();
    save(&run, 1, tensors(&encoder(9)), state());
    save(&run, 2, tensors(&encoder(10)), state());
    let folder = scratch.path().join("images");
    images(&folder, 2, (16, 16));
    let open = |path: &Path| pretrained(path, Features::BeforeNorm).unwrap();
    let (first, second) = (path.join("checkpoints/step-1"), path.join("checkpoints/step-2"));
    let (of_first, of_second) = (extract(&open(&first), &folder), extract(&open(&second), &folder));
    assert_ne!(of_first, of_second);
    assert_eq!(extract(&open(&path), &folder), of_second);
    let passed_over = || SavedEncoder::read(&path, None).unwrap().rejected.len();
    assert_eq!(passed_over(), 0);

    std::fs::write(second.join("target.safetensors"), "torn").unwrap();
    assert_eq!(passed_over(), 1);
    assert_eq!(extract(&open(&path), &folder), of_first);
    assert!(pretrained(&second, Features::BeforeNorm).is_err());
}

#[test]
fn broken_images_have_no_row_and_are_named() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("images");
    images(&folder, 3, (32, 32));
    std::fs::write(folder.join("01.png"), "torn").unwrap();
    let dataset = msn_data::open(&folder).unwrap();
    let rows = Extractor::raw_pixels(32).rows(&*dataset, &[0, 1, 2], |_| ()).unwrap();
    assert_eq!((rows.images, rows.features.rows()), (vec![0, 2], 2));
    assert_eq!(rows.skipped.len(), 1);
    assert_eq!(rows.skipped[0].path, "01.png");
    let error = Extractor::raw_pixels(32).rows(&*dataset, &[1], |_| ()).unwrap_err();
    let expected = format!("{}: none of 1 images can be read; the first: 01.png", folder.display());
    assert!(error.to_string().contains(&expected), "{error}");
    assert_eq!(Extractor::raw_pixels(32).check(&*dataset, 0).unwrap(), None);
    assert_eq!(Extractor::raw_pixels(32).check(&*dataset, 1).unwrap().as_ref(), rows.skipped.first());
}

#[test]
fn features_that_are_no_numbers_name_their_image() {
    let scratch = tempfile::tempdir().unwrap();
    let (run, folder) = (scratch.path().join("run"), scratch.path().join("images"));
    let mut diverged = tensors(&encoder(9));
    diverged.get_mut("cls_token").unwrap().data[0] = f32::NAN;
    run_with(&run, diverged, state());
    images(&folder, 2, (16, 16));
    let extractor = pretrained(&run, Features::BeforeNorm).unwrap();
    let dataset = msn_data::open(&folder).unwrap();
    let error = extractor.rows(&*dataset, &[1, 0], |_| ()).unwrap_err();
    let expected = format!("{}: 01.png: expected finite features, found NaN", folder.display());
    assert!(error.to_string().starts_with(&expected), "{error}");
}

#[test]
fn checkpoints_that_do_not_fit_are_explained() {
    let scratch = tempfile::tempdir().unwrap();
    let failure = |name: &str, target: StateDict, state: Value| {
        let run = scratch.path().join(name);
        run_with(&run, target, state);
        let error = pretrained(&run, Features::BeforeNorm).unwrap_err();
        assert!(error.to_string().contains("step-1"), "{error}");
        error
    };
    let mut wider = state();
    wider["config"]["encoder"]["dim"] = json!(48);
    let error = failure("wider", tensors(&encoder(9)), wider);
    assert!(matches!(&error, ExtractError::Architecture { .. }), "{error}");
    assert!(error.to_string().contains("[1, 1, 48]") && error.to_string().contains("[1, 1, 32]"), "{error}");

    let mut extra = tensors(&encoder(9));
    extra.insert("blocks.7.norm1.weight".to_owned(), Array::new(vec![DIM], vec![0.0; DIM]));
    let error = failure("deeper", extra, state());
    assert!(error.to_string().contains("blocks.7.norm1.weight"), "{error}");

    let error = failure("stateless", tensors(&encoder(9)), json!({ "step": 1 }));
    assert!(matches!(&error, ExtractError::State { .. }) && error.to_string().contains("config"), "{error}");

    let run = scratch.path().join("headless");
    let made = RunDir::create(&run).unwrap();
    made.write_config("seed = 5\n").unwrap();
    let checkpoint = Checkpoint { step: 1, parts: Default::default(), state: state() };
    made.checkpoints().save(&checkpoint, &KeepPolicy::default()).unwrap();
    let error = pretrained(&run, Features::BeforeNorm).unwrap_err();
    assert!(error.to_string().contains("target.safetensors"), "{error}");
}

/// More images than are classified at a time, of 2 x 2 px, each a little different. The sixth is none.
#[derive(Debug)]
struct ManyImages(Vec<String>);

impl Dataset for ManyImages {
    fn path(&self) -> &Path {
        Path::new("many")
    }
    fn len(&self) -> usize {
        self.0.len()
    }
    fn name(&self, index: usize) -> &str {
        &self.0[index]
    }
    fn is_reachable(&self) -> bool {
        true
    }
    fn read_into(&self, index: usize, _: usize, bytes: &mut Vec<u8>) -> Result<(), msn_data::Error> {
        bytes.clear();
        bytes.extend_from_slice(if index == 5 { b"no image" } else { b"P6 2 2 255\n" });
        bytes.extend((0..12).map(|i| (index * 31 + index / 256 * 7 + i * 53) as u8));
        Ok(())
    }
}

#[test]
fn images_are_predicted_as_they_come_to_the_bits_of_all_their_rows_at_once() {
    let dataset = ManyImages((0..4200).map(|number| format!("{number}.ppm")).collect());
    let extractor = Extractor::raw_pixels(2);
    let all: Vec<usize> = (0..4200).rev().collect();
    let FeatureRows { images, features, skipped, .. } = extractor.rows(&dataset, &all, |_| ()).unwrap();
    assert_eq!((images.len(), skipped.len(), features.dim()), (4199, 1, 12));
    let few = features.select(&[0, 20, 40, 60]);
    let few = Labelled::new(few, ["a", "b", "a", "b"].map(str::to_owned).to_vec()).unwrap();
    let weight = (0..24).map(|i| (i * 7 % 11) as f32 / 5.0 - 1.0).collect();
    let head = LinearHead {
        classes: vec!["a".to_owned(), "b".to_owned()],
        weight: Array::new(vec![2, 12], weight),
        bias: Array::new(vec![2], vec![0.5, -0.5]),
    };
    for predictor in [Predictor::of_labels(&few, Lambda::Default).unwrap(), Predictor::of_head(head)] {
        for probabilities in [Probabilities::Best, Probabilities::All] {
            let mut done = 0;
            let found = predictor.images(&extractor, &dataset, &all, probabilities, |images| done = images);
            let found = found.unwrap();
            assert_eq!(found.predictions, predictor.rows(&features, probabilities).unwrap());
            assert_eq!((&found.images, &found.skipped, found.recalled), (&images, &skipped, 0));
            assert_eq!(done, 4199);
        }
    }
    let few = Predictor::of_labels(&few, Lambda::Default).unwrap();
    let narrow = Extractor::raw_pixels(1);
    let refused = few.images(&narrow, &dataset, &all, Probabilities::Best, |_| panic!("work was done"));
    let dimension = Error::Dimension { expected: 12, found: 3 };
    assert_eq!(refused.unwrap_err().to_string(), dimension.to_string());
}

use std::collections::BTreeMap;

use super::*;

/// Shapes of a ViT of width 48 with 3 blocks, 4 x 4 patches of 8 px, under timm's names.
fn vit() -> Shapes {
    let config = EncoderConfig {
        variant: String::new(),
        image_size: 32,
        patch_size: 8,
        dim: 48,
        depth: 3,
        heads: 3,
        ..Default::default()
    };
    encoder_tensors(&config).into_iter().collect()
}

fn flat(shapes: Shapes) -> BTreeMap<String, Shapes> {
    BTreeMap::from([(String::new(), shapes)])
}

fn renamed(shapes: Shapes, prefix: &str) -> Shapes {
    shapes.into_iter().map(|(name, shape)| (format!("{prefix}{name}"), shape)).collect()
}

#[test]
fn the_architecture_is_read_off_the_shapes() {
    let found = find_encoder(&flat(vit()), Some(3)).expect("a ViT");
    let EncoderConfig { image_size, patch_size, dim, depth, heads, mlp_ratio, .. } = found.config;
    assert_eq!((image_size, patch_size, dim, depth, heads, mlp_ratio), (32, 8, 48, 3, 3, 4));
    assert!(found.unused.is_empty() && found.zeros.is_empty());
}

#[test]
fn heads_are_known_for_the_variants_and_asked_for_else() {
    let message = find_encoder(&flat(vit()), None).expect_err("no variant").to_string();
    assert!(message.contains("--heads") && message.contains("48 wide and 3 blocks deep"), "{message}");
    let small = EncoderConfig::default();
    let shapes: Shapes = encoder_tensors(&small).into_iter().collect();
    assert_eq!(find_encoder(&flat(shapes), None).expect("ViT-S/16").config.heads, 6);
    let message = find_encoder(&flat(vit()), Some(5)).expect_err("5 does not divide 48").to_string();
    assert!(message.contains("encoder.dim") && message.contains("heads"), "{message}");
}

#[test]
fn averaged_weights_are_taken_before_those_that_they_average() {
    let sections = BTreeMap::from([
        ("student".to_owned(), renamed(vit(), "module.backbone.")),
        ("teacher".to_owned(), renamed(vit(), "backbone.")),
    ]);
    let found = find_encoder(&sections, Some(3)).expect("DINO");
    assert_eq!((found.program, found.section.as_str()), ("DINO", "teacher"));
    assert!(found.wanted().all(|name| name.starts_with("backbone.")));
}

#[test]
fn averaged_weights_are_taken_before_others_of_the_same_section() {
    for (others, averaged) in [
        ("student_backbone.", "teacher_backbone."),
        ("online_encoder.", "target_encoder."),
        ("backbone.", "momentum_backbone."),
        ("", "model_ema.module."),
    ] {
        let both = [renamed(vit(), others), renamed(vit(), averaged)].into_iter().flatten().collect();
        let found = find_encoder(&flat(both), Some(3)).expect("two encoders");
        assert!(found.wanted().all(|name| name.starts_with(averaged)), "{averaged}");
    }
}

#[test]
fn what_is_no_part_of_the_encoder_is_listed() {
    let mut shapes = vit();
    shapes.insert("head.weight".to_owned(), vec![5, 48]);
    shapes.insert("decoder_blocks.0.norm1.weight".to_owned(), vec![16]);
    let found = find_encoder(&flat(shapes), Some(3)).expect("a ViT");
    assert_eq!(found.unused, ["decoder_blocks.0.norm1.weight", "head.weight"]);
}

#[test]
fn parts_that_change_the_features_are_refused_by_name() {
    for part in ["blocks.0.ls1.gamma", "blocks.2.attn.q_norm.weight", "reg_token", "norm_pre.bias"] {
        let mut shapes = vit();
        shapes.insert(part.to_owned(), vec![48]);
        let message = find_encoder(&flat(shapes), Some(3)).expect_err("another encoder").to_string();
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn missing_tensors_are_listed_and_missing_biases_of_the_attention_are_zero() {
    let mut shapes = vit();
    shapes.remove("blocks.1.mlp.fc2.bias");
    shapes.remove("norm.weight");
    let message = find_encoder(&flat(shapes), Some(3)).expect_err("incomplete").to_string();
    assert!(message.contains("blocks.1.mlp.fc2.bias") && message.contains("norm.weight"), "{message}");

    let mut shapes = vit();
    shapes.remove("blocks.1.attn.qkv.bias");
    let found = find_encoder(&flat(shapes.clone()), Some(3)).expect("a ViT without that bias");
    assert_eq!(found.zeros, ["blocks.1.attn.qkv.bias"]);
    let tensors = |name: &str| {
        (name.to_owned(), Array::new(shapes[name].clone(), vec![1.0; shapes[name].iter().product()]))
    };
    let weights = found.weights(found.wanted().map(tensors).collect());
    assert_eq!(weights["blocks.1.attn.qkv.bias"], Array::new(vec![144], vec![0.0; 144]));
}

#[test]
fn shapes_that_no_such_encoder_has_are_explained() {
    let with = |name: &str, shape: &[usize]| {
        let mut shapes = vit();
        shapes.insert(name.to_owned(), shape.to_vec());
        find_encoder(&flat(shapes), Some(3)).expect_err("another shape").to_string()
    };
    for (name, shape, expected) in [
        ("cls_token", &[1, 2, 48][..], "[1, 1, dim]"),
        ("pos_embed", &[1, 18, 48], "no token besides [CLS]"),
        ("patch_embed.proj.weight", &[48, 1, 8, 8], "square patches in colour"),
        ("blocks.0.mlp.fc1.weight", &[100, 48], "a multiple of 48"),
        ("blocks.2.attn.qkv.weight", &[96, 48], "[144, 48]"),
        // A width that would need terabytes.
        ("cls_token", &[1, 1, 1 << 40], "multiple"),
    ] {
        let message = with(name, shape);
        assert!(message.contains(expected), "{name}: {message}");
    }
}

#[test]
fn other_models_are_refused_by_what_they_hold() {
    let shapes = Shapes::from([("layer1.0.conv1.weight".to_owned(), vec![64, 64, 3, 3])]);
    let message = find_encoder(&flat(shapes), None).expect_err("a ResNet").to_string();
    assert!(message.contains("layer1.0.conv1.weight"), "{message}");
    assert!(find_encoder(&BTreeMap::new(), None).expect_err("nothing").to_string().contains("no tensor"));
}

#[test]
fn hugging_face_keeps_queries_keys_and_values_apart() {
    let named = |prefix: &str| {
        let mut shapes = Shapes::new();
        for (name, shape) in vit() {
            let parts = Naming::HuggingFace.parts(&name);
            let rows = shape[0] / parts.len();
            for part in parts {
                shapes.insert(format!("{prefix}{part}"), [&[rows], &shape[1..]].concat());
            }
        }
        shapes
    };
    for shapes in [named(""), named("vit.")] {
        let found = find_encoder(&flat(shapes.clone()), Some(3)).expect("a ViT");
        assert_eq!(found.program, "Hugging Face");
        // Query, key and value of the rows 1, 2, 3.
        let value = |name: &str| {
            [("query", 1.0), ("key", 2.0)].iter().find(|(part, _)| name.contains(part)).map_or(3.0, |v| v.1)
        };
        let tensors = |name: &str| {
            (
                name.to_owned(),
                Array::new(shapes[name].clone(), vec![value(name); shapes[name].iter().product()]),
            )
        };
        let weights = found.weights(found.wanted().map(tensors).collect());
        let expected: Vec<f32> = [1.0, 2.0, 3.0].iter().flat_map(|&value| vec![value; 48]).collect();
        assert_eq!(weights["blocks.1.attn.qkv.bias"].data, expected);
    }
}

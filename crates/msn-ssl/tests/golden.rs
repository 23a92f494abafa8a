//! The objective and the schedules against reference values.

use burn::tensor::{Device, Tensor, TensorData};
use msn_golden::{Array, relative_error};
use msn_model::device_named;
use msn_ssl::{MsnConfig, ScheduleConfig, Steps, msn_loss};

/// Terms, probabilities and gradients, relative to the largest element: f32 rounds at 6e-8, softmax at a
/// temperature of 0.1 / 4 multiplies the rounding of a cosine by 40.
const TOLERANCE: f64 = 1e-5;

fn tensor(array: &Array, device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(array.data.clone(), [array.shape[0], array.shape[1]]), device)
}

fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().expect("f32")
}

#[test]
fn golden_objective_agrees() {
    let device = device_named(&msn_golden::device_name()).expect("compiled in").autodiff();
    for case in msn_golden::cases("objective") {
        let config = MsnConfig {
            temperature: case.f64("temperature"),
            sinkhorn: case.bool("sinkhorn"),
            memax_weight: case.f64("memax_weight"),
            entropy_weight: case.f64("entropy_weight"),
            ..Default::default()
        };
        let anchors = tensor(case.tensor("anchors"), &device).require_grad();
        let prototypes = tensor(case.tensor("prototypes"), &device).require_grad();
        let targets = tensor(case.tensor("targets"), &device);
        let loss = msn_loss(anchors.clone(), targets, prototypes.clone(), &config, case.f64("sharpen"));
        let gradients = loss.total.backward();
        let terms = [loss.total, loss.cross_entropy, loss.memax, loss.entropy].map(|term| host(term)[0]);
        for (name, found) in [
            ("loss", terms.to_vec()),
            ("probs", host(loss.assignments)),
            ("target_probs", host(loss.targets)),
            ("grad.anchors", host(anchors.grad(&gradients).expect("tracked"))),
            ("grad.prototypes", host(prototypes.grad(&gradients).expect("tracked"))),
        ] {
            let error = relative_error(&found, &case.tensor(name).data);
            assert!(error < TOLERANCE, "{}: {name}: relative error {error:.1e}", case.name);
        }
    }
}

#[test]
fn golden_schedules_agree() {
    let Some(folder) = msn_golden::folder() else { return };
    let file = std::fs::read(folder.join("schedules.json")).expect("the folder has schedules.json");
    let case: serde_json::Value = serde_json::from_slice(&file).expect("JSON");
    let number = |field: &str| case[field].as_f64().unwrap_or_else(|| panic!("{field} is a number"));
    let pair = |field: &str| [0, 1].map(|i| case[field][i].as_f64().expect("a pair of numbers"));
    let [momentum, final_momentum] = pair("momentum");
    let [sharpen, sharpen_end] = pair("sharpen");
    let whole = |field: &str| case[field].as_u64().unwrap_or_else(|| panic!("{field} is a whole number"));
    let config = ScheduleConfig {
        epochs: whole("epochs"),
        warmup_epochs: number("warmup_epochs"),
        start_lr: number("start_lr"),
        lr: number("lr"),
        final_lr: number("final_lr"),
        weight_decay: number("weight_decay"),
        final_weight_decay: number("final_weight_decay"),
        momentum,
        final_momentum,
        ..Default::default()
    };
    let warmup = (number("warmup_epochs") * number("iterations_per_epoch")) as u64;
    let steps = Steps::over(&config, (sharpen, sharpen_end), warmup, whole("t_max"));
    let from_epochs = Steps::new(&config, (sharpen, sharpen_end), whole("iterations_per_epoch"));
    let values = case["values"].as_object().expect("an object");
    let mut names: Vec<_> = values.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["lr", "momentum", "sharpen", "weight_decay"]);
    for (name, expected) in values {
        for (done, expected) in expected.as_array().expect("a list").iter().enumerate() {
            let now = steps.after(done as u64);
            if whole("t_max") == whole("epochs") * whole("iterations_per_epoch") * 5 / 4 {
                assert_eq!(now, from_epochs.after(done as u64), "the default extension is 1.25");
            }
            let found = match name.as_str() {
                "lr" => now.lr,
                "weight_decay" => now.weight_decay,
                "momentum" => now.momentum,
                "sharpen" => now.sharpen,
                other => panic!("no schedule called {other}"),
            };
            let expected = expected.as_f64().expect("a number");
            // Both sides are computed in f64.
            assert!(
                (found - expected).abs() < 1e-9,
                "{name} after {done} steps: {found}, expected {expected}"
            );
        }
    }
}

#[test]
fn no_gradient_flows_through_the_targets() {
    let device = Device::flex().autodiff();
    let values = |shift: f32| [[0.3 + shift, -0.2, 0.9], [-0.5, 0.1 - shift, 0.4]];
    let anchors = Tensor::<2>::from_data(values(0.1), &device).require_grad();
    let targets = Tensor::<2>::from_data(values(0.0), &device).require_grad();
    let prototypes = Tensor::<2>::from_data(values(-0.7), &device).require_grad();
    for sinkhorn in [false, true] {
        let config = MsnConfig { sinkhorn, ..Default::default() };
        let gradient = |targets: Tensor<2>| {
            let loss = msn_loss(anchors.clone(), targets.clone(), prototypes.clone(), &config, 0.25);
            let gradients = loss.total.backward();
            assert!(targets.grad(&gradients).is_none(), "the projections of the targets have a gradient");
            [&anchors, &prototypes].map(|x| host(x.grad(&gradients).expect("tracked")))
        };
        // Targets are numbers to the loss: inside or outside the graph they give the same gradients.
        assert_eq!(gradient(targets.clone()), gradient(Tensor::from_data(values(0.0), &device)));
    }
}

#[test]
fn no_finite_input_gives_nan() {
    let device = Device::flex().autodiff();
    let config =
        MsnConfig { temperature: 1e-3, memax_weight: 5.0, entropy_weight: 1.0, ..Default::default() };
    for scale in [0.0, 1e-38, 1e-20, 1.0, 1e20, 1e38] {
        for sinkhorn in [false, true] {
            let values = |sign: f32| [[scale, -scale, 0.0], [sign * scale, scale, scale]];
            let anchors = Tensor::<2>::from_data(values(1.0), &device).require_grad();
            let prototypes = Tensor::<2>::from_data(values(-1.0), &device).require_grad();
            let config = MsnConfig { sinkhorn, ..config.clone() };
            let loss = msn_loss(anchors.clone(), anchors.clone(), prototypes.clone(), &config, 0.01);
            let gradients = loss.total.backward();
            assert!(host(loss.total)[0].is_finite(), "scale {scale}");
            for parameter in [anchors, prototypes] {
                let gradient = host(parameter.grad(&gradients).expect("tracked"));
                // At 1e-38 the gradient of a direction is beyond f32: infinite is right, NaN would not be.
                assert!(gradient.iter().all(|g| !g.is_nan()), "scale {scale}: {gradient:?}");
            }
        }
    }
}

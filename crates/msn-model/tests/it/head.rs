//! The projection head: its kernels against plain tensor operations.

use crate::common::{gradients_of, host};
use burn::tensor::{Device, Tensor, TensorData};
use msn_golden::relative_error;
use msn_model::{Encoder, EncoderConfig, HeadConfig, Path, Precision, state_dict};

/// Some hundred roundings of 6e-8 each.
const F32: f64 = 2e-5;
/// Products round their operands to 8 bits, an error of 1.1e-3 in the root mean square each. Forward there are three
/// products of two operands, backward twice as many more; batch norm divides small differences. Measured: 6.4e-3 and 2.5e-2;
/// the bounds are twice that.
const BF16: [f64; 2] = [1.5e-2, 5e-2];

/// Rows of the batch norm's groups.
const GROUPS: [usize; 2] = [3, 8];

fn encoder(device: &Device, path: Path) -> Encoder {
    let config = EncoderConfig {
        variant: String::new(),
        image_size: 8,
        patch_size: 4,
        dim: 24,
        depth: 1,
        heads: 2,
        ..Default::default()
    };
    let head = HeadConfig { hidden_dim: 40, output_dim: 12, batch_norm: true };
    let mut encoder = config.init(Some(&head), 3, device).expect("valid");
    encoder.path = path;
    encoder
}

fn cls(device: &Device) -> Tensor<2> {
    let rows: usize = GROUPS.iter().sum();
    let data: Vec<f32> = (0..rows * 24).map(|i| (i * 7919 % 1013) as f32 / 506.5 - 1.0).collect();
    Tensor::from_data(TensorData::new(data, [rows, 24]), device)
}

#[test]
fn kernels_and_plain_operations_agree() {
    for device in [Device::flex().autodiff(), Device::flex().autodiff().gradient_checkpointing()] {
        let compute = |path| {
            let mut encoder = encoder(&device, path);
            let x = cls(&device).require_grad();
            let y = encoder.project(x.clone(), &GROUPS);
            let mut all = (y.clone().powi_scalar(3).sum() + y.clone().sum()).backward();
            let dx = host(x.grad_remove(&mut all).expect("asked for"));
            let state = state_dict(&encoder);
            let running: Vec<f32> = state
                .iter()
                .filter(|(name, _)| name.contains("running"))
                .flat_map(|(_, array)| array.data.clone())
                .collect();
            (host(y), running, dx, gradients_of(&encoder, all))
        };
        let (y, running, dx, expected) = compute(Path::Plain);
        // Two batch norms with mean and variance each, of which none is what it started as.
        assert_eq!(running.len(), 4 * 40);
        assert!(running.iter().all(|x| *x != 0.0 && *x != 1.0));
        assert!(expected.contains_key("fc.bn2.weight"));
        for (path, [outputs, slopes]) in
            [(Path::Kernels(Precision::F32), [F32, F32]), (Path::Kernels(Precision::Bf16), BF16)]
        {
            let (found_y, found_running, found_dx, found) = compute(path);
            let pairs =
                [(&found_y, &y, outputs), (&found_running, &running, outputs), (&found_dx, &dx, slopes)];
            for (i, (found, expected, bound)) in pairs.into_iter().enumerate() {
                let error = relative_error(found, expected);
                assert!(error < bound, "{path:?} {i}: {error:.1e}");
            }
            assert_eq!(found.len(), expected.len());
            for (name, expected) in &expected {
                let error = relative_error(&found[name].data, &expected.data);
                assert!(error < slopes, "{path:?} {name}: {error:.1e}");
            }
        }
    }
}

//! What tells the weights of one encoder from those of another.

use msn_model::{Encoder, for_each_tensor};
use twox_hash::XxHash3_128;

/// The digest of all weights with their names and shapes.
pub(crate) fn digest(encoder: &Encoder) -> u128 {
    let mut digest = XxHash3_128::new();
    let mut buffer = [[0; size_of::<f32>()]; 1 << 12];
    for_each_tensor(encoder, |name, array| {
        digest.write(format!("{name} {:?}", array.shape).as_bytes());
        for numbers in array.data.chunks(buffer.len()) {
            for (bytes, number) in buffer.iter_mut().zip(numbers) {
                *bytes = number.to_le_bytes();
            }
            digest.write(buffer[..numbers.len()].as_flattened());
        }
    });
    digest.finish_128()
}

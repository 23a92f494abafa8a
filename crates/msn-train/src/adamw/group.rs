//! What sets a parameter apart from the others.

/// How one parameter is treated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Group {
    /// Factor of the learning rate, at least 0.
    pub lr_scale: f64,
    /// Whether weight decay applies.
    pub decay: bool,
}

impl Group {
    /// Of a parameter of so many dimensions: the whole learning rate, and weight decay unless it is a vector.
    pub fn of_rank(rank: usize) -> Self {
        Self { lr_scale: 1.0, decay: rank > 1 }
    }
}

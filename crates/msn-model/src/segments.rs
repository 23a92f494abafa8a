use std::sync::Arc;

/// How the rows of a packed token matrix [N, D] split into sequences.
///
/// Sequences of one view follow each other and are equally long, so runs of equal length are kept together:
/// `groups = [(count, length), ..]`. The first token of every sequence is its [CLS].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segments {
    groups: Arc<[(usize, usize)]>,
}

impl Segments {
    /// From pairs of the number of sequences and the tokens in each.
    ///
    /// # Panics
    /// If a group has no sequence or an empty one.
    pub fn new(groups: impl Into<Arc<[(usize, usize)]>>) -> Self {
        let groups = groups.into();
        assert!(groups.iter().all(|&(count, length)| count > 0 && length > 0), "empty group in {groups:?}");
        Self { groups }
    }

    /// Pairs of the number of sequences and the tokens in each, in the order of the rows.
    pub fn groups(&self) -> &[(usize, usize)] {
        &self.groups
    }

    /// Number of sequences S.
    pub fn sequences(&self) -> usize {
        self.groups.iter().map(|(count, _)| count).sum()
    }

    /// Number of tokens N over all sequences.
    pub fn tokens(&self) -> usize {
        self.groups.iter().map(|(count, length)| count * length).sum()
    }

    /// Length of every sequence, in order.
    pub fn lengths(&self) -> impl Iterator<Item = usize> + '_ {
        self.groups.iter().flat_map(|&(count, length)| std::iter::repeat_n(length, count))
    }

    /// One number a token, from one a sequence: [S] -> [N]
    pub fn per_token(&self, of_sequences: &[f32]) -> Vec<f32> {
        let repeat = |(number, length): (&f32, usize)| std::iter::repeat_n(*number, length);
        of_sequences.iter().zip(self.lengths()).flat_map(repeat).collect()
    }

    /// Row of every sequence's [CLS] token.
    pub fn cls_rows(&self) -> impl Iterator<Item = usize> + '_ {
        self.lengths().scan(0, |next, length| {
            let row = *next;
            *next += length;
            Some(row)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cls_rows_are_the_first_rows_of_the_sequences() {
        let segments = Segments::new([(2, 3), (1, 5), (2, 1)]);
        assert_eq!(segments.cls_rows().collect::<Vec<_>>(), [0, 3, 6, 11, 12]);
        assert_eq!((segments.sequences(), segments.tokens()), (5, 13));
        let per_token = Segments::new([(2, 2), (1, 3)]).per_token(&[0.5, 2.0, 0.0]);
        assert_eq!(per_token, [0.5, 0.5, 2.0, 2.0, 0.0, 0.0, 0.0]);
    }
}

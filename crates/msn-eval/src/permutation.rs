//! Random orders.

use msn_data::rng::Rng;

/// The items of a uniform permutation one after the other (Fisher-Yates), each drawn when it is asked for. Splits that
/// people have published depend on the draws.
pub(crate) fn permuted(mut items: Vec<usize>, rng: &mut Rng) -> impl Iterator<Item = usize> {
    let count = items.len();
    (0..count).map(move |i| {
        items.swap(i, i + rng.index_below(count - i));
        items[i]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_item_comes_once_and_the_first_ones_do_not_depend_on_how_many_are_asked_for() {
        let items: Vec<usize> = (10..30).collect();
        let order: Vec<usize> = permuted(items.clone(), &mut Rng::for_labels(1, 2, 3)).collect();
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, items);
        assert_ne!(order, items);
        let few: Vec<usize> = permuted(items, &mut Rng::for_labels(1, 2, 3)).take(5).collect();
        assert_eq!(few, order[..5]);
    }
}

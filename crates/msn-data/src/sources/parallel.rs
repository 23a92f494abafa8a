//! The same for many files at a time.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::Error;

/// Results of `each` in the order of the items, `at_a_time` made at a time; the first error.
pub(super) fn in_parallel<T: Sync, R: Send>(
    at_a_time: usize,
    items: &[T],
    each: impl Fn(&T) -> Result<R, Error> + Sync,
) -> Result<Vec<R>, Error> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some((index, item)) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|index| Some((index, items.get(index)?)))
        {
            let result = each(item);
            let failed = result.is_err();
            done.push((index, result));
            if failed {
                // The others need not begin anything new.
                next.store(items.len(), Ordering::Relaxed);
            }
        }
        done
    };
    let mut done = thread::scope(|scope| {
        let threads: Vec<_> = (0..at_a_time.min(items.len())).map(|_| scope.spawn(work)).collect();
        let joined =
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        joined.flatten().collect::<Vec<_>>()
    });
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn so_many_are_made_at_a_time_and_their_results_are_in_order() {
        // Each waits for the others: fewer at a time would wait for ever.
        let together = Barrier::new(8);
        let items: Vec<usize> = (0..16).collect();
        let each = |&item: &usize| {
            together.wait();
            Ok(10 * item)
        };
        let expected: Vec<usize> = (0..16).map(|item| 10 * item).collect();
        assert_eq!(in_parallel(8, &items, each).unwrap(), expected);
    }

    #[test]
    fn of_several_errors_the_first_in_order_is_told() {
        let items: Vec<usize> = (0..100).collect();
        let each = |&item: &usize| match item {
            0..7 => Ok(item),
            _ => Err(Error::no_files(Path::new(&item.to_string()))),
        };
        for at_a_time in [1, 16] {
            let error = in_parallel(at_a_time, &items, each).unwrap_err();
            assert!(error.to_string().starts_with("7:"), "{error}");
        }
    }
}

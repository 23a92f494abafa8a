//! Names of many files in one: `shards-{000000..000099}.tar`, `{train,extra}.parquet`.

use crate::Error;
use std::path::Path;

/// More files than anyone has.
const MAX_FILES: usize = 1_000_000;

/// All names that a pattern stands for, in its order; braces that hold neither `..` nor a comma stand for themselves.
pub(super) fn expand(pattern: &str) -> Result<Vec<String>, Error> {
    let mut names = vec![String::new()];
    let mut rest = pattern;
    while let Some((before, choices, after)) = next_braces(rest) {
        let choices = choices.map_err(|found| {
            Error::expected(Path::new(pattern), "a range such as {000..099} in braces", found)
        })?;
        if names.len().saturating_mul(choices.len()) > MAX_FILES {
            let expected = format!("a pattern of at most {MAX_FILES} files");
            return Err(Error::expected(Path::new(pattern), expected, "more"));
        }
        names = names
            .iter()
            .flat_map(|name| choices.iter().map(move |choice| format!("{name}{before}{choice}")))
            .collect();
        rest = after;
    }
    names.iter_mut().for_each(|name| name.push_str(rest));
    Ok(names)
}

/// What stands before the first braces with choices, the choices or what is wrong with them, and what stands after.
type Braces<'a> = (&'a str, Result<Vec<String>, String>, &'a str);

fn next_braces(text: &str) -> Option<Braces<'_>> {
    let mut from = 0;
    loop {
        let open = from + text[from..].find('{')?;
        let close = open + text[open..].find('}')?;
        let inside = &text[open + 1..close];
        if let Some((first, last)) = inside.split_once("..") {
            return Some((&text[..open], range(first, last), &text[close + 1..]));
        }
        if inside.contains(',') {
            let choices = inside.split(',').map(ToOwned::to_owned).collect();
            return Some((&text[..open], Ok(choices), &text[close + 1..]));
        }
        from = close + 1;
    }
}

/// The numbers from `first` to `last`, filled up with zeros to the length of `first`.
fn range(first: &str, last: &str) -> Result<Vec<String>, String> {
    let wrong = || format!("{{{first}..{last}}}");
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<usize>().ok().filter(|_| digits).ok_or_else(wrong)
    };
    let (start, end) = (number(first)?, number(last)?);
    if start > end || end - start >= MAX_FILES {
        return Err(wrong());
    }
    let width = first.len();
    Ok((start..=end).map(|number| format!("{number:0width$}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_choices_are_expanded_in_order() {
        for (pattern, expected) in [
            ("a.tar", vec!["a.tar"]),
            ("s-{008..011}.tar", vec!["s-008.tar", "s-009.tar", "s-010.tar", "s-011.tar"]),
            ("{b,a}/{9..10}", vec!["b/9", "b/10", "a/9", "a/10"]),
            ("{x}-{1..1}", vec!["{x}-1"]),
            ("{", vec!["{"]),
        ] {
            assert_eq!(expand(pattern).unwrap(), expected, "{pattern}");
        }
    }

    #[test]
    fn impossible_ranges_are_named() {
        for pattern in ["{3..1}", "{a..b}", "{0..99999999}", "{1..}", "{0..9999}{0..9999}", "{-1..2}"] {
            let message = expand(pattern).unwrap_err().to_string();
            assert!(message.starts_with(pattern), "{message}");
        }
    }
}

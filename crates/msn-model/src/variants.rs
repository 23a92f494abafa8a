//! The table of encoder variants.

use crate::Error;

/// Width, depth and heads of a size of vision transformer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variant {
    /// Letters of the name: `ti`, `s`, `b`, `l` or `h`.
    pub name: &'static str,
    /// Embedding dimension D.
    pub dim: usize,
    /// Number of transformer blocks.
    pub depth: usize,
    /// Number of attention heads; divides `dim`.
    pub heads: usize,
}

/// ViT-Ti and -S as in DeiT (Touvron et al., 2021), -B, -L and -H as in ViT (Dosovitskiy et al., 2021).
pub const VARIANTS: [Variant; 5] = [
    Variant { name: "ti", dim: 192, depth: 12, heads: 3 },
    Variant { name: "s", dim: 384, depth: 12, heads: 6 },
    Variant { name: "b", dim: 768, depth: 12, heads: 12 },
    Variant { name: "l", dim: 1024, depth: 24, heads: 16 },
    Variant { name: "h", dim: 1280, depth: 32, heads: 16 },
];

/// Patch sizes that the variants are offered with, in pixels.
const PATCH_SIZES: [usize; 6] = [4, 7, 8, 14, 16, 32];

impl Variant {
    /// Reads a name such as `vit-s16`: a size of [`VARIANTS`] and a patch size in pixels.
    ///
    /// # Errors
    /// [`Error::UnknownVariant`] for any other name.
    pub fn parse(name: &str) -> Result<(Self, usize), Error> {
        let parsed = name.strip_prefix("vit-").and_then(|rest| {
            let digits = rest.find(|c: char| c.is_ascii_digit())?;
            let (size, patch) = rest.split_at(digits);
            let variant = VARIANTS.into_iter().find(|variant| variant.name == size)?;
            let patch = patch.parse().ok().filter(|patch| PATCH_SIZES.contains(patch))?;
            Some((variant, patch))
        });
        parsed.ok_or_else(|| Error::UnknownVariant {
            expected: format!(
                "vit-SIZEPATCH with SIZE one of {} and PATCH one of {} (as `vit-s16`)",
                VARIANTS.map(|variant| variant.name).join(", "),
                PATCH_SIZES.map(|patch| patch.to_string()).join(", "),
            ),
            found: name.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_parses_with_every_patch_size() {
        for variant in VARIANTS {
            for patch in PATCH_SIZES {
                let name = format!("vit-{}{patch}", variant.name);
                assert_eq!(Variant::parse(&name).expect("a name of the table"), (variant, patch));
            }
            assert_eq!(variant.dim % variant.heads, 0);
        }
    }

    #[test]
    fn other_names_are_refused_with_the_names_that_exist() {
        for name in ["vit-x16", "vit-s15", "vit-s", "s16", "vit-16", ""] {
            let message = Variant::parse(name).expect_err("not in the table").to_string();
            assert!(message.contains("ti, s, b, l, h"), "{message}");
        }
    }
}

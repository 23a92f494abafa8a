//! One body of code, compiled for each instruction set, chosen when it runs.

/// Defines a function whose body is compiled for baseline, AVX2 and AVX-512 (`pulp`'s levels) and auto-vectorised;
/// the best one that the CPU has runs. All levels give the same bits: Rust neither fuses nor reorders
/// floating-point operations. Functions called in the body must be `#[inline(always)]` to be part of it.
macro_rules! vectorized {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $out:ty)? $body:block) => {
        $(#[$meta])*
        $vis fn $name($($arg: $ty),*) $(-> $out)? {
            struct Call<T>(T);
            impl pulp::WithSimd for Call<($($ty,)*)> {
                type Output = vectorized!(@output $($out)?);
                #[inline(always)]
                fn with_simd<S: pulp::Simd>(self, _: S) -> Self::Output {
                    let Call(($($arg,)*)) = self;
                    $body
                }
            }
            pulp::Arch::new().dispatch(Call(($($arg,)*)))
        }
    };
    (@output) => { () };
    (@output $out:ty) => { $out };
}

pub(crate) use vectorized;

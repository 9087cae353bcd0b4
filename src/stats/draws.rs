//! Random series with a known truth, for tests. The same at every call.

use std::f64::consts::{LN_2, PI, TAU};

use rand_core::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

pub(crate) struct Draws(Pcg64Mcg);

impl Draws {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Pcg64Mcg::seed_from_u64(seed))
    }

    /// In (0, 1).
    pub(crate) fn uniform(&mut self) -> f64 {
        ((self.0.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Box and Muller.
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        radius * (TAU * self.uniform()).cos()
    }

    /// Without mean or variance; median 0.
    pub(crate) fn cauchy(&mut self) -> f64 {
        (PI * (self.uniform() - 0.5)).tan()
    }

    /// A long tail on one side; median 0.
    pub(crate) fn exponential(&mut self) -> f64 {
        -self.uniform().ln() - LN_2
    }

    /// Normal values of variance 1 of which neighbours have the correlation `phi`, and
    /// others its power.
    pub(crate) fn autoregressive(&mut self, phi: f64) -> impl Iterator<Item = f64> {
        let mut state = self.normal();
        std::iter::from_fn(move || {
            state = phi * state + (1.0 - phi * phi).sqrt() * self.normal();
            Some(state)
        })
    }
}

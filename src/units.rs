//! Quantities with their unit in the type, so that no bare `f64` has to be
//! guessed at.
//!
//! Each is a transparent newtype over `f64` (or `u64` where fractions make no
//! sense) and serialises as the plain number; field names carry the unit as a
//! suffix (`_s`, `_w`, `_j`).

use std::fmt;
use std::ops::{Div, Mul};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident, $unit:literal) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize, Deserialize, JsonSchema,
        )]
        #[serde(transparent)]
        pub struct $name(pub f64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)?;
                f.write_str(concat!(" ", $unit))
            }
        }

        impl Mul<f64> for $name {
            type Output = Self;

            fn mul(self, factor: f64) -> Self {
                Self(self.0 * factor)
            }
        }

        impl Div<f64> for $name {
            type Output = Self;

            fn div(self, divisor: f64) -> Self {
                Self(self.0 / divisor)
            }
        }

        impl Div for $name {
            type Output = f64;

            fn div(self, other: Self) -> f64 {
                self.0 / other.0
            }
        }
    };
}

/// `$left * $right = $product`, and the two divisions that undo it.
macro_rules! product {
    ($left:ident * $right:ident = $product:ident) => {
        impl Mul<$right> for $left {
            type Output = $product;

            fn mul(self, other: $right) -> $product {
                $product(self.0 * other.0)
            }
        }

        impl Div<$left> for $product {
            type Output = $right;

            fn div(self, other: $left) -> $right {
                $right(self.0 / other.0)
            }
        }

        impl Div<$right> for $product {
            type Output = $left;

            fn div(self, other: $right) -> $left {
                $left(self.0 / other.0)
            }
        }
    };
}

quantity!(
    /// Seconds.
    Seconds, "s"
);
quantity!(
    /// Watts.
    Watts, "W"
);
quantity!(
    /// Joules.
    Joules, "J"
);
quantity!(
    /// Kilowatt-hours, of 3.6·10⁶ J.
    KilowattHours, "kWh"
);
quantity!(
    /// Floating-point operations: work, whatever time it takes.
    Flop, "FLOP"
);
quantity!(
    /// Floating-point operations per second: a rate, whatever work it does.
    FlopPerSecond, "FLOP/s"
);
quantity!(
    /// 10⁹ floating-point (or integer) operations per second.
    Gflops, "GFLOP/s"
);
quantity!(
    /// 10⁹ bytes per second.
    GbytesPerSecond, "GB/s"
);
quantity!(
    /// 10¹² operations per second, the unit in which datasheets state peaks.
    Tflops, "TFLOP/s"
);

product!(FlopPerSecond * Seconds = Flop);
product!(Watts * Seconds = Joules);

impl From<Joules> for KilowattHours {
    fn from(energy: Joules) -> Self {
        KilowattHours(energy.0 / 3.6e6)
    }
}

impl From<KilowattHours> for Joules {
    fn from(energy: KilowattHours) -> Self {
        Joules(energy.0 * 3.6e6)
    }
}

impl From<Gflops> for FlopPerSecond {
    fn from(rate: Gflops) -> Self {
        FlopPerSecond(rate.0 * 1e9)
    }
}

impl From<Tflops> for FlopPerSecond {
    fn from(rate: Tflops) -> Self {
        FlopPerSecond(rate.0 * 1e12)
    }
}

impl From<Tflops> for Gflops {
    fn from(t: Tflops) -> Self {
        Gflops(t.0 * 1e3)
    }
}

/// A number of bytes, printed in binary units.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(transparent)]
pub struct Bytes(pub u64);

impl Bytes {
    /// Whole mebibytes, rounded up, as error messages state them.
    pub fn mebibytes_ceil(self) -> u64 {
        self.0.div_ceil(1 << 20)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
            if self.0 >= 1 << shift {
                let value = self.0 as f64 / (1u64 << shift) as f64;
                return if value.fract() == 0.0 {
                    write!(f, "{value} {unit}")
                } else {
                    write!(f, "{value:.1} {unit}")
                };
            }
        }
        write!(f, "{} B", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_print_in_the_largest_binary_unit_that_fits() {
        assert_eq!(Bytes(512).to_string(), "512 B");
        assert_eq!(Bytes(128 << 20).to_string(), "128 MiB");
        assert_eq!(Bytes(3 << 29).to_string(), "1.5 GiB");
        assert_eq!(Bytes((128 << 20) + 1).mebibytes_ceil(), 129);
    }

    #[test]
    fn datasheet_teraflops_convert_to_gigaflops() {
        assert_eq!(Gflops::from(Tflops(19.5)), Gflops(19_500.0));
    }

    /// By hand: 6·10¹⁵ FLOP at 2·10¹² FLOP/s take 3000 s; at 1200 W these are
    /// 3.6·10⁶ J, which is one kilowatt-hour.
    #[test]
    fn work_over_rate_is_time_and_power_over_time_is_energy() {
        let time = Flop(6e15) / FlopPerSecond::from(Tflops(2.0));
        assert_eq!(time, Seconds(3000.0));
        assert_eq!(FlopPerSecond(2e12) * time, Flop(6e15));
        let energy = Watts(1200.0) * time;
        assert_eq!(KilowattHours::from(energy), KilowattHours(1.0));
        assert_eq!(energy / time, Watts(1200.0));
        assert_eq!(Joules::from(KilowattHours(0.5)) / energy, 0.5);
    }
}

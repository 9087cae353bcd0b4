//! What numbers can be: outside of it, figures that follow from them would be none.

use std::fmt;
use std::ops::RangeInclusive;

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A figure of a datasheet, in TFLOP/s, GB/s, GB, MHz or W: the fastest computer in the
/// world does 10⁶ TFLOP/s.
const STATED: RangeInclusive<f64> = 1e-6..=1e9;
/// What a sensor says in W: a power station supplies 10⁹ W, and no sensor tells a
/// milliwatt from another, but its mean over many readings of 0 may be as small as one
/// likes.
const READ_W: RangeInclusive<f64> = 0.0..=1e9;
/// What others are divided by, in W, J, s, GB/s, GFLOP/s or GFLOP/s per W: above 0, and
/// further from 1 than physics is.
const DIVISOR: RangeInclusive<f64> = 1e-24..=1e18;
/// A difference, which may be negative.
const ANY: RangeInclusive<f64> = -1e24..=1e24;
/// Nothing but 0 is closer to 0: its fourth power is a number still.
const CLOSEST: f64 = 1e-60;

/// What fields can be, by their names.
const RANGES: [(&[&str], RangeInclusive<f64>); 3] = [
    (&["value", "clock_mhz", "memory_gb"], STATED),
    (
        &[
            "power_w",
            "power_limit_w",
            "enforced_limit_w",
            "default_limit_w",
        ],
        READ_W,
    ),
    (
        &[
            "median_s",
            "samples_s",
            "spread_s",
            "p5_s",
            "p95_s",
            "low",
            "high",
            "gflops",
            "gross",
            "gbytes_per_s",
            "median_w",
            "mean_w",
            "j_per_dispatch",
            "j_per_tflop",
            "energy_delay_js",
        ],
        DIVISOR,
    ),
];

/// What is wrong with the value of a field; nothing where it can be that.
pub(crate) fn fault(field: &str, value: f64) -> Option<String> {
    let known = RANGES.iter().find(|(names, _)| names.contains(&field));
    let range = known.map_or(ANY, |(_, range)| range.clone());
    let is_close = value != 0.0 && value.abs() < CLOSEST;
    if range.contains(&value) && !is_close {
        return None;
    }
    let (least, most) = range.into_inner();
    Some(match value <= 0.0 && least > 0.0 {
        true => format!("{value} is not above zero"),
        false => format!("{value:e} is not from {least:e} to {most:e}, as this has to be"),
    })
}

/// A JSON document of any kind, in which every number can be what its field is.
pub(crate) struct InRange;

impl<'de> Deserialize<'de> for InRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Of("").deserialize(deserializer).map(|()| Self)
    }
}

/// The value of a field, or of the items of its array. Nothing of it is kept.
struct Of<'f>(&'f str);

impl<'de> DeserializeSeed<'de> for Of<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Of<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        fault(self.0, value).map_or(Ok(()), |fault| Err(E::custom(fault)))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.visit_f64(value as f64)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.visit_f64(value as f64)
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Of(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(name) = members.next_key::<String>()? {
            members.next_value_seed(Of(&name))?;
        }
        Ok(())
    }
}

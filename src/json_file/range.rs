//! What numbers can be: outside of it, figures that follow from them would be none.

use std::fmt;

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// The least and the most that a number can be, and how close to 0 it can be without
/// being 0.
type Range = (f64, f64, f64);

/// A figure of a datasheet, in TFLOP/s, GB/s, GB, MHz or W: the fastest computer in the
/// world does 10⁶ TFLOP/s.
const STATED: Range = (1e-6, 1e9, 0.0);
/// What a sensor says, in W: a power station supplies 10⁹ W, and none tells a microwatt.
const READ_W: Range = (0.0, 1e9, 1e-9);
/// What an energy counter says, in J: those of a power station in 30 years.
const READ_J: Range = (0.0, 1e18, 1e-9);
/// What other numbers are divided by, in W, J, s, GB/s, GFLOP/s or one over another: above
/// 0, and no closer to it than means of readings and counts of dispatches make it.
const DIVISOR: Range = (1e-30, 1e18, 0.0);
/// All else, such as differences: so that no figure made of them is infinite, nor its
/// fourth power.
const ANY: Range = (-1e24, 1e24, 1e-60);

/// What fields can be, by their names.
const RANGES: [(&str, Range); 4] = [
    ("value clock_mhz memory_gb", STATED),
    (
        "power_w power_limit_w enforced_limit_w default_limit_w",
        READ_W,
    ),
    ("counter_j", READ_J),
    (
        "median_s samples_s spread_s p5_s p95_s low high gflops gross gbytes_per_s median_w \
         mean_w j_per_dispatch j_per_tflop energy_delay_js",
        DIVISOR,
    ),
];

fn range_of(field: &str) -> Range {
    let is_named = |(names, _): &&(&str, Range)| names.split(' ').any(|name| name == field);
    RANGES
        .iter()
        .find(is_named)
        .map_or(ANY, |(_, range)| *range)
}

/// What is wrong with the value of a field; nothing where it can be that.
pub(crate) fn fault(field: &str, value: f64) -> Option<String> {
    fault_in(range_of(field), value)
}

fn fault_in((least, most, closest): Range, value: f64) -> Option<String> {
    let is_far = value == 0.0 || value.abs() >= closest;
    match (least..=most).contains(&value) {
        true if is_far => None,
        true => Some(format!("{value:e} is closer to zero than {closest:e}")),
        false if value <= 0.0 && least > 0.0 => Some(format!("{value} is not above zero")),
        false => Some(format!("{value:e} is not from {least:e} to {most:e}")),
    }
}

/// A JSON document of any kind, in which every number can be what its field is.
pub(crate) struct InRange;

impl<'de> Deserialize<'de> for InRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Of(ANY).deserialize(deserializer).map(|()| Self)
    }
}

/// The value of a field of that range, or of the items of its array. Nothing of it is
/// kept.
struct Of(Range);

impl<'de> DeserializeSeed<'de> for Of {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Of {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        fault_in(self.0, value).map_or(Ok(()), |fault| Err(E::custom(fault)))
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
            members.next_value_seed(Of(range_of(&name)))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_beyond_its_field_is_told_apart_from_one_within() {
        let said = |field, value| fault(field, value).unwrap_or_default();
        assert_eq!(said("value", 989.4), "");
        assert_eq!(said("value", -0.0), "-0 is not above zero");
        assert_eq!(said("value", 1e308), "1e308 is not from 1e-6 to 1e9");
        assert_eq!(said("median_w", 5e-324), "5e-324 is not from 1e-30 to 1e18");
        assert_eq!(said("power_w", -1.0), "-1e0 is not from 0e0 to 1e9");
        assert_eq!(
            said("power_w", 1e-310),
            "1e-310 is closer to zero than 1e-9"
        );
        assert_eq!(said("net_j", -3.0) + &said("idle_w", 0.0), "");
        for none in [f64::NAN, f64::INFINITY, -f64::INFINITY] {
            assert_ne!(said("percent", none), "");
        }
    }

    #[test]
    fn a_document_is_sound_if_all_its_numbers_are() {
        let sound = |text| serde_json::from_str::<InRange>(text);
        assert!(sound(r#"{"a": [null, true, "x", {"samples_s": [1.0, 2]}, -7]}"#).is_ok());
        let error = sound(r#"{"a": [{"samples_s": [1.0, 0]}]}"#).err().unwrap();
        assert_eq!(error.to_string(), "0 is not above zero at line 1 column 28");
    }
}

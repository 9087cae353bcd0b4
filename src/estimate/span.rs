//! A value, or the range that a source leaves it in.

use std::fmt;
use std::ops::{Div, Mul};

use schemars::JsonSchema;
use serde::de::{self, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// From `low` to `high`, both of them included; the same where a value is
/// known. A source that says "at least" leaves `high` infinite, "at most" leaves
/// `low` at zero.
///
/// Arithmetic assumes that no value is negative, and carries both ends through.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span<T> {
    /// The lower end.
    pub low: T,
    /// The upper end.
    pub high: T,
}

impl<T: Copy> Span<T> {
    /// A known value.
    pub const fn of(value: T) -> Self {
        Self {
            low: value,
            high: value,
        }
    }

    /// Both ends through a function that does not fall.
    pub fn map<U>(self, f: impl Fn(T) -> U) -> Span<U> {
        Span {
            low: f(self.low),
            high: f(self.high),
        }
    }
}

impl Span<f64> {
    /// At least `low`.
    pub const fn at_least(low: f64) -> Self {
        let high = f64::INFINITY;
        Self { low, high }
    }

    /// At most `high`.
    pub const fn at_most(high: f64) -> Self {
        Self { low: 0.0, high }
    }

    /// The value, unless there are several.
    pub fn exact(self) -> Option<f64> {
        (self.low == self.high).then_some(self.low)
    }

    /// The one end that a source states, or the lower of two.
    pub fn stated(self) -> f64 {
        if self.low == 0.0 { self.high } else { self.low }
    }

    /// Whether the values can be those of a quantity: above zero, in order.
    fn check(self) -> Result<Self, String> {
        let Self { low, high } = self;
        if !(low >= 0.0 && low.is_finite() && high > 0.0) {
            return Err(format!("{} is not above zero", low.min(high)));
        }
        if low > high {
            return Err(format!("{low} is above {high}"));
        }
        Ok(self)
    }

    /// From two ends that somebody wrote.
    ///
    /// # Errors
    /// Unless both are above zero, finite and in order.
    pub fn written(low: f64, high: f64) -> Result<Self, String> {
        if low <= 0.0 || !high.is_finite() {
            return Err("a number above zero is needed".to_owned());
        }
        Self { low, high }.check()
    }
}

impl<T: Mul<U>, U> Mul<Span<U>> for Span<T> {
    type Output = Span<T::Output>;

    fn mul(self, other: Span<U>) -> Self::Output {
        Span {
            low: self.low * other.low,
            high: self.high * other.high,
        }
    }
}

impl<T: Div<U>, U> Div<Span<U>> for Span<T> {
    type Output = Span<T::Output>;

    fn div(self, other: Span<U>) -> Self::Output {
        Span {
            low: self.low / other.high,
            high: self.high / other.low,
        }
    }
}

/// The number itself, or whichever of `low`, `high`, `at_least` and `at_most`
/// say what is known.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Ends {
    #[serde(skip_serializing_if = "Option::is_none")]
    low: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    high: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_least: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_most: Option<f64>,
}

impl Ends {
    fn span(&self) -> Result<Span<f64>, String> {
        let span = match (self.low, self.high, self.at_least, self.at_most) {
            (Some(low), Some(high), None, None) => Span { low, high },
            (None, None, Some(low), None) => Span::at_least(low),
            (None, None, None, Some(high)) => Span::at_most(high),
            _ => return Err("a range is `low` and `high`, `at_least`, or `at_most`".to_owned()),
        };
        span.check()
    }
}

impl Serialize for Span<f64> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { low, high } = *self;
        let mut ends = Ends {
            low: None,
            high: None,
            at_least: None,
            at_most: None,
        };
        match self.exact() {
            Some(value) => return serializer.serialize_f64(value),
            None if high.is_infinite() => ends.at_least = Some(low),
            None if low == 0.0 => ends.at_most = Some(high),
            None => (ends.low, ends.high) = (Some(low), Some(high)),
        }
        ends.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Span<f64> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberOrEnds;

        impl<'de> Visitor<'de> for NumberOrEnds {
            type Value = Span<f64>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, or an object with low and high, at_least, or at_most")
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Self::Value, E> {
                Span::of(value).check().map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
                self.visit_f64(value as f64)
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
                self.visit_f64(value as f64)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let ends = Ends::deserialize(MapAccessDeserializer::new(map))?;
                ends.span().map_err(de::Error::custom)
            }
        }

        deserializer.deserialize_any(NumberOrEnds)
    }
}

impl JsonSchema for Span<f64> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let ends = generator.subschema_for::<Ends>();
        schemars::json_schema!({
            "description": "A number, or the range that a source leaves it in.",
            "anyOf": [{"type": "number"}, ends],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{Flop, FlopPerSecond, Seconds};

    /// By hand: 10 to 20 FLOP at 2 to 5 FLOP/s take 10/5 to 20/2 seconds.
    #[test]
    fn ends_go_through_arithmetic() {
        let work = Span {
            low: Flop(10.0),
            high: Flop(20.0),
        };
        let rate = Span {
            low: FlopPerSecond(2.0),
            high: FlopPerSecond(5.0),
        };
        let time = work / rate;
        assert_eq!((time.low, time.high), (Seconds(2.0), Seconds(10.0)));
        let back = rate * time;
        assert_eq!((back.low, back.high), (Flop(4.0), Flop(50.0)));
        let doubled = Span::at_least(3.0).map(|x| x * 2.0);
        assert_eq!(doubled, Span::at_least(6.0));
    }

    #[test]
    fn json_says_what_is_known() {
        for text in [
            "5.0",
            r#"{"low":1.0,"high":2.0}"#,
            r#"{"at_least":3.0}"#,
            r#"{"at_most":1.25}"#,
        ] {
            let span: Span<f64> = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&span).unwrap(), text);
        }
        for wrong in [
            "0",
            "-1",
            r#"{"low":3,"high":2}"#,
            r#"{"low":3}"#,
            "{}",
            r#""3""#,
        ] {
            assert!(serde_json::from_str::<Span<f64>>(wrong).is_err(), "{wrong}");
        }
    }
}

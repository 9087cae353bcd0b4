//! Quantities as people write them: a number or a range, then a unit.

use std::fmt;
use std::str::FromStr;

use super::span::Span;
use crate::units::{Flop, FlopPerSecond, Joules, KilowattHours, Seconds};

/// A text that is not the quantity that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}`: {problem}")]
pub struct QuantityError {
    text: String,
    problem: String,
}

impl QuantityError {
    /// What is wrong with `text`.
    pub(super) fn new(text: &str, problem: impl fmt::Display) -> Self {
        Self {
            text: text.to_owned(),
            problem: problem.to_string(),
        }
    }
}

const DAY: Seconds = Seconds(86_400.0);
/// 365 days, the year of electricity statistics.
pub(super) const YEAR: Seconds = Seconds(365.0 * 86_400.0);

/// Splits `30-50%` into the range and the unit.
///
/// # Errors
/// When there is no number, or not one above zero.
pub(super) fn number_and_unit(text: &str) -> Result<(Span<f64>, &str), QuantityError> {
    let wrong = |problem: String| QuantityError::new(text, problem);
    let (low, rest) = leading_number(text.trim())
        .ok_or_else(|| wrong("a number is expected first".to_owned()))?;
    let second = rest
        .trim_start()
        .strip_prefix(['-', '–'])
        .and_then(|rest| leading_number(rest.trim_start()));
    let (high, rest) = second.unwrap_or((low, rest));
    let span = Span::written(low, high).map_err(wrong)?;
    Ok((span, rest.trim()))
}

/// The number at the start of a text, and what follows it. An `e` belongs to the
/// number only if digits follow.
fn leading_number(text: &str) -> Option<(f64, &str)> {
    let bytes = text.as_bytes();
    let digits = |from: usize| {
        bytes[from..]
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count()
    };
    let mut end = digits(0);
    if bytes.get(end) == Some(&b'.') {
        end += 1 + digits(end + 1);
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let exponent = bytes
            .get(end + 1 + sign..)
            .map_or(0, |_| digits(end + 1 + sign));
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    let (number, rest) = text.split_at(end);
    Some((number.parse().ok()?, rest))
}

/// What one unit of computation is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum ComputeUnit {
    /// So much work.
    Work(Flop),
    /// Such a rate.
    Rate(FlopPerSecond),
}

/// Reads `FLOP`, `PFLOPS`, `PFd`, `PFLOPS-days`.
pub(super) fn compute_unit(text: &str) -> Option<ComputeUnit> {
    const RATES: [&str; 6] = ["FLOP/s", "FLOPS", "FLOPs", "FLOP", "F/s", "F"];
    let compact: String = text.chars().filter(|c| !" -·*".contains(*c)).collect();
    let (scale, unit) = prefixed(&compact);
    let work = |rest| Some(time_unit(rest)?.0 * scale).map(|flop| ComputeUnit::Work(Flop(flop)));
    match unit {
        "FLOP" | "FLOPs" => Some(ComputeUnit::Work(Flop(scale))),
        "FLOPS" | "FLOP/s" | "F" | "F/s" => Some(ComputeUnit::Rate(FlopPerSecond(scale))),
        _ => RATES.iter().find_map(|rate| work(unit.strip_prefix(rate)?)),
    }
}

/// The factor of a decimal prefix, and the unit behind it.
fn prefixed(unit: &str) -> (f64, &str) {
    const PREFIXES: [(char, f64); 8] = [
        ('k', 1e3),
        ('M', 1e6),
        ('G', 1e9),
        ('T', 1e12),
        ('P', 1e15),
        ('E', 1e18),
        ('Z', 1e21),
        ('Y', 1e24),
    ];
    let found = PREFIXES
        .iter()
        .find_map(|&(prefix, factor)| Some((factor, unit.strip_prefix(prefix)?)));
    found.unwrap_or((1.0, unit))
}

/// Reads `h`, `day`, `years`.
pub(super) fn time_unit(text: &str) -> Option<Seconds> {
    match text {
        "h" | "hour" | "hours" => Some(Seconds(3600.0)),
        "d" | "day" | "days" => Some(DAY),
        "y" | "year" | "years" => Some(YEAR),
        _ => None,
    }
}

/// Reads `kWh`, `TWh`.
pub(super) fn energy_unit(text: &str) -> Option<Joules> {
    let (scale, unit) = prefixed(text);
    (unit == "Wh").then(|| Joules::from(KilowattHours(scale / 1e3)))
}

/// An amount of work: `3640PFd`, `3.1e23`, `1e24-2e24FLOP`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Work(pub Span<Flop>);

impl FromStr for Work {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let (number, unit) = number_and_unit(text)?;
        match compute_unit(if unit.is_empty() { "FLOP" } else { unit }) {
            Some(ComputeUnit::Work(one)) => Ok(Self(number.map(|n| one * n))),
            Some(ComputeUnit::Rate(_)) => Err(QuantityError::new(
                text,
                format!(
                    "{unit} is a rate, and work is needed: FLOP, or a rate times a time, such as PFLOPS-days"
                ),
            )),
            None => Err(QuantityError::new(
                text,
                format!("`{unit}` is no unit of work; 3640PFLOPS-days, 3640PFd and 3.1e23FLOP are"),
            )),
        }
    }
}

/// Share of a rate that is put to use, above 0 and up to 1: `0.4`, `30-50%`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Utilisation(pub Span<f64>);

impl FromStr for Utilisation {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let (number, unit) = number_and_unit(text)?;
        let share = match unit {
            "" => number,
            "%" => number.map(|percent| percent / 100.0),
            _ => {
                let problem = "a share is expected, as in 0.4 or 40%";
                return Err(QuantityError::new(text, problem));
            }
        };
        if share.high > 1.0 {
            let problem =
                "more than all of a rate cannot be used; percent need their sign, as in 40%";
            return Err(QuantityError::new(text, problem));
        }
        Ok(Self(share))
    }
}

/// Power usage effectiveness: the energy of a centre over that of its computers,
/// 1 or above.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pue(pub Span<f64>);

impl Pue {
    /// From a range of which only the upper end may be known.
    ///
    /// # Errors
    /// When it is below 1, which no centre can be.
    pub fn new(Span { low, high }: Span<f64>) -> Result<Self, String> {
        let low = if low == 0.0 { 1.0 } else { low };
        if low < 1.0 || high < low {
            return Err("a PUE is 1 or above: all energy over that of the computers".to_owned());
        }
        Ok(Self(Span { low, high }))
    }
}

impl FromStr for Pue {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        match number_and_unit(text)? {
            (number, "") => Self::new(number).map_err(|problem| QuantityError::new(text, problem)),
            (_, unit) => Err(QuantityError::new(
                text,
                format!("a PUE has no unit, not `{unit}`"),
            )),
        }
    }
}

/// Carbon dioxide per electricity: `400`, `400gCO2/kWh`, `0.2-0.6kgCO2/kWh`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CarbonIntensity {
    grams_per_kwh: Span<f64>,
}

impl CarbonIntensity {
    /// The kilograms that an energy causes.
    pub fn kilograms(self, energy: Span<Joules>) -> Span<f64> {
        let kwh = energy.map(|e| KilowattHours::from(e).0);
        (kwh * self.grams_per_kwh).map(|grams| grams / 1e3)
    }

    /// In grams per kilowatt-hour.
    pub fn grams_per_kwh(self) -> Span<f64> {
        self.grams_per_kwh
    }
}

impl FromStr for CarbonIntensity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let (number, unit) = number_and_unit(text)?;
        let mass = unit.strip_suffix("/kWh").unwrap_or(unit);
        let grams = match mass.strip_suffix("CO2").unwrap_or(mass) {
            "" | "g" => 1.0,
            "kg" => 1e3,
            _ => {
                let problem = "CO2 per electricity is expected, as in 400gCO2/kWh";
                return Err(QuantityError::new(text, problem));
            }
        };
        let grams_per_kwh = number.map(|n| n * grams);
        Ok(Self { grams_per_kwh })
    }
}

/// How long hardware is used: `4y`, `3-5years`, `30000h`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lifetime(pub Span<Seconds>);

impl FromStr for Lifetime {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let (number, unit) = number_and_unit(text)?;
        let one = time_unit(unit).ok_or_else(|| {
            QuantityError::new(text, "a time is expected, as in 4years or 30000h")
        })?;
        Ok(Self(number.map(|n| one * n)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn work(text: &str) -> f64 {
        let Work(span) = text.parse().unwrap();
        span.map(|flop| flop.0).exact().unwrap()
    }

    /// By hand: 3640 days of 86 400 s at 10¹⁵ FLOP/s are 3.144 96·10²³ FLOP.
    #[test]
    fn work_is_read_in_every_spelling() {
        for text in [
            "3640PFd",
            "3640 PF-days",
            "3640 PFLOPS-days",
            "3640PFLOP/s-day",
            "3640 PFLOPS days",
            "3.64EFLOPSd",
            "87360PFLOPS-hours",
            "3.14496e23",
            "3.14496E23 FLOP",
            "314496EFLOP",
        ] {
            assert!((work(text) / 3.14496e23 - 1.0).abs() < 1e-12, "{text}");
        }
        let Work(span) = "1e24-2e24".parse().unwrap();
        assert_eq!((span.low, span.high), (Flop(1e24), Flop(2e24)));
    }

    #[test]
    fn what_is_no_work_is_refused_with_the_reason() {
        let message = |text: &str| text.parse::<Work>().unwrap_err().to_string();
        insta::assert_snapshot!(message("1000PFLOPS"), @"`1000PFLOPS`: PFLOPS is a rate, and work is needed: FLOP, or a rate times a time, such as PFLOPS-days");
        insta::assert_snapshot!(message("1000 PF"), @"`1000 PF`: PF is a rate, and work is needed: FLOP, or a rate times a time, such as PFLOPS-days");
        insta::assert_snapshot!(message("3 kWh"), @"`3 kWh`: `kWh` is no unit of work; 3640PFLOPS-days, 3640PFd and 3.1e23FLOP are");
        insta::assert_snapshot!(message("PFd"), @"`PFd`: a number is expected first");
        insta::assert_snapshot!(message("-3PFd"), @"`-3PFd`: a number is expected first");
        insta::assert_snapshot!(message("0FLOP"), @"`0FLOP`: a number above zero is needed");
        insta::assert_snapshot!(message("1e999"), @"`1e999`: a number above zero is needed");
        insta::assert_snapshot!(message("3-2PFd"), @"`3-2PFd`: 3 is above 2");
    }

    #[test]
    fn shares_ratios_and_times_are_read() {
        let share = |text: &str| text.parse::<Utilisation>().map(|u| u.0);
        assert_eq!(share("40%"), Ok(Span::of(0.4)));
        assert_eq!(
            share("0.3–0.5"),
            Ok(Span {
                low: 0.3,
                high: 0.5
            })
        );
        assert!(share("40").is_err() && share("0").is_err() && share("101%").is_err());
        assert_eq!("1.25".parse(), Ok(Pue(Span::of(1.25))));
        assert!("0.9".parse::<Pue>().is_err() && "1.1x".parse::<Pue>().is_err());
        assert_eq!(
            Pue::new(Span::at_most(1.25)),
            Ok(Pue(Span {
                low: 1.0,
                high: 1.25
            }))
        );
        let Lifetime(span) = "4y".parse().unwrap();
        assert_eq!(span, Span::of(Seconds(4.0 * 8760.0 * 3600.0)));
        assert!("4".parse::<Lifetime>().is_err());
    }

    /// By hand: 2 MWh at 0.4 kg/kWh cause 800 kg.
    #[test]
    fn carbon_is_per_kilowatt_hour() {
        let two_mwh = Span::of(Joules(7.2e9));
        for text in ["400", "400gCO2/kWh", "0.4 kgCO2/kWh", "400g"] {
            let factor: CarbonIntensity = text.parse().unwrap();
            assert_eq!(factor.kilograms(two_mwh), Span::of(800.0), "{text}");
        }
        assert!("400lb".parse::<CarbonIntensity>().is_err());
    }

    proptest! {
        #[test]
        fn a_range_with_a_unit_is_read_back(
            low in 1e-9_f64..1e30, factor in 1.0_f64..1e3, unit in "(FLOP|PFd|EFLOPS-days)?", blank in " ?",
        ) {
            let high = low * factor;
            let Work(span) = format!("{low}-{high}{blank}{unit}").parse().unwrap();
            let Work(one) = format!("1{unit}").parse().unwrap();
            prop_assert_eq!((span.low, span.high), (one.low * low, one.low * high));
        }

        #[test]
        fn exponents_are_part_of_the_number(mantissa in 1_u32..1000, exponent in 0_i32..30) {
            let Work(span) = format!("{mantissa}e{exponent}FLOP").parse().unwrap();
            let expected: f64 = format!("{mantissa}e{exponent}").parse().unwrap();
            prop_assert_eq!(span, Span::of(Flop(expected)));
        }

        #[test]
        fn no_text_makes_the_parsers_panic(text in "\\PC{0,20}") {
            let _ = text.parse::<Work>();
            let _ = text.parse::<Utilisation>();
            let _ = text.parse::<Pue>();
            let _ = text.parse::<CarbonIntensity>();
            let _ = text.parse::<Lifetime>();
        }

        #[test]
        fn nor_does_text_that_looks_like_a_quantity(text in "[0-9.eE+–-]{0,8} ?[PEFLOPSdays/%-]{0,8}") {
            let _ = text.parse::<Work>();
            let _ = text.parse::<Utilisation>();
        }
    }
}

//! Numbers for people.

use crate::kernel::problem::WorkUnit;
use crate::units::Seconds;

/// Stands for what is not known, which is never 0.
pub(super) const MISSING: &str = "–";

/// Significant digits where nothing calls for more.
const DIGITS: usize = 3;

/// Below this many, and from its counterpart above, a number would be mostly
/// zeros.
const ORDINARY: std::ops::Range<i32> = -5..12;

/// A number to three significant digits; digits before the point all stay.
pub(super) fn number(value: f64) -> String {
    fixed(value, DIGITS, value)
}

/// A number with the decimals that `digits` significant digits of `scale` take.
/// Figures that are compared with one another share a scale.
pub(super) fn fixed(value: f64, digits: usize, scale: f64) -> String {
    match exponent(scale, digits) {
        Some(exponent) if ORDINARY.contains(&exponent) => {
            let decimals = (digits as i32 - 1 - exponent).max(0);
            format!("{value:.*}", decimals as usize)
        }
        _ => brief(value),
    }
}

/// Significant digits of an uncertainty: more say nothing.
const DIGITS_OF_UNCERTAINTY: usize = 2;

/// A number to the last place that its expanded uncertainty supports, and that: `513 ±
/// 30`, or `513 ± ?` where it is not known.
pub(super) fn uncertain(value: f64, expanded: Option<f64>) -> String {
    let value = match expanded.and_then(last_place) {
        Some(place) => at_place(value, place),
        None => number(value),
    };
    format!("{value} ± {}", uncertainty(expanded))
}

/// An expanded uncertainty to two significant digits, or a question mark where it is not
/// known, which is not 0.
pub(super) fn uncertainty(expanded: Option<f64>) -> String {
    let known = expanded.and_then(|u| Some(at_place(u, last_place(u)?)));
    known.unwrap_or_else(|| "?".to_owned())
}

/// The power of ten of the last digit of an uncertainty; `None` for what is none.
fn last_place(expanded: f64) -> Option<i32> {
    let exponent = exponent(expanded, DIGITS_OF_UNCERTAINTY).filter(|_| expanded > 0.0)?;
    let is_ordinary = ORDINARY.contains(&exponent);
    is_ordinary.then(|| exponent + 1 - DIGITS_OF_UNCERTAINTY as i32)
}

/// A number rounded to that power of ten.
fn at_place(value: f64, place: i32) -> String {
    match usize::try_from(-place) {
        Ok(decimals) => format!("{value:.decimals$}"),
        Err(_) => {
            let unit = 10f64.powi(place);
            format!("{:.0}", (value / unit).round() * unit)
        }
    }
}

/// A number of which only the size matters, such as 4e-7.
pub(super) fn brief(value: f64) -> String {
    if value == 0.0 {
        "0".to_owned()
    } else {
        format!("{value:.0e}")
    }
}

/// The unit of 10⁹ operations per second.
pub(super) fn rate_unit(unit: WorkUnit) -> &'static str {
    match unit {
        WorkUnit::Flop => "GFLOP/s",
        WorkUnit::Op => "GOP/s",
    }
}

/// The power of ten of a number once rounded to `digits`; `None` for what has
/// none.
fn exponent(value: f64, digits: usize) -> Option<i32> {
    let rounded = format!("{value:.*e}", digits - 1);
    rounded.split_once('e')?.1.parse().ok()
}

/// The unit that suits a duration, in seconds and by its name.
pub(super) fn time_unit(time: Seconds) -> (f64, &'static str) {
    const UNITS: [(f64, &str); 4] = [(1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")];
    let fits = UNITS.into_iter().find(|(unit, _)| time.0 >= *unit);
    fits.unwrap_or(UNITS[3])
}

/// A duration in the unit that suits it.
pub(super) fn duration(time: Seconds) -> String {
    let (unit, name) = time_unit(time);
    format!("{} {name}", number(time.0 / unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_significant_digits_and_no_exponent() {
        let numbers = [
            0.0, 0.012_34, 0.999_6, 1.234, 9.996, 71.25, 144.7, 33_450.4, 1e9,
        ];
        assert_eq!(
            numbers.map(number),
            [
                "0.00",
                "0.0123",
                "1.00",
                "1.23",
                "10.0",
                "71.2",
                "145",
                "33450",
                "1000000000"
            ]
        );
    }

    #[test]
    fn sizes_out_of_the_ordinary_and_no_numbers_stay_short() {
        assert_eq!(number(1.2e-9), "1e-9");
        assert_eq!(number(f64::NAN), "NaN");
        assert_eq!(brief(4.2e-7), "4e-7");
        assert_eq!(brief(0.0), "0");
    }

    #[test]
    fn a_scale_is_shared() {
        assert_eq!(fixed(998.23, 4, 1003.0), "998");
        assert_eq!(fixed(141.44, 4, 144.7), "141.4");
    }

    /// 513.3 ± 29.7 is known to a watt, 1132 ± 131 to ten, 0.5229 ± 0.0302 to a
    /// thousandth. An uncertainty that rounds up has two digits all the same.
    #[test]
    fn a_figure_ends_where_its_uncertainty_does() {
        let texts = [
            (513.3, 29.7),
            (1132.0, 131.0),
            (0.5229, 0.0302),
            (513.32, 1.21),
            (51.4, 9.96),
        ];
        assert_eq!(
            texts.map(|(value, expanded)| uncertain(value, Some(expanded))),
            [
                "513 ± 30",
                "1130 ± 130",
                "0.523 ± 0.030",
                "513.3 ± 1.2",
                "51 ± 10"
            ]
        );
        assert_eq!(uncertain(513.32, None), "513 ± ?");
        for none in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-9] {
            assert_eq!(uncertain(1.234, Some(none)), "1.23 ± ?", "{none}");
        }
    }

    #[test]
    fn durations_choose_their_unit() {
        let durations = [2.0, 0.0148, 12.34e-6, 5e-9, 1e-10].map(Seconds);
        assert_eq!(
            durations.map(duration),
            ["2.00 s", "14.8 ms", "12.3 µs", "5.00 ns", "0.100 ns"]
        );
    }
}

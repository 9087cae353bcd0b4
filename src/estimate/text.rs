//! Quantities in the words of a sentence or a cell.

use super::money::Money;
use super::span::Span;
use crate::units::{Flop, FlopPerSecond, Joules, KilowattHours, Watts};

/// Digits that an estimate deserves.
const DIGITS: usize = 4;

/// Decimal prefixes, largest first, as far as people use them.
const PREFIXES: [(f64, &str); 7] = [
    (1e18, "E"),
    (1e15, "P"),
    (1e12, "T"),
    (1e9, "G"),
    (1e6, "M"),
    (1e3, "k"),
    (1.0, ""),
];

/// A number to four significant digits, with commas from ten thousand on.
pub fn number(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    // Rounded first, so that 9999.6 counts as five digits.
    let text = format!("{value:.*e}", DIGITS - 1);
    let (Ok(rounded), Some(exponent)) = (
        text.parse::<f64>(),
        text.split_once('e')
            .and_then(|(_, e)| e.parse::<i32>().ok()),
    ) else {
        return value.to_string();
    };
    if !(-4..15).contains(&exponent) {
        let (mantissa, _) = text.split_once('e').unwrap_or((&text, ""));
        return format!("{}e{exponent}", without_zeros(mantissa));
    }
    let decimals = (DIGITS as i32 - 1 - exponent).max(0) as usize;
    let plain = format!("{rounded:.decimals$}");
    if exponent < 4 {
        return without_zeros(&plain).to_owned();
    }
    grouped(&plain)
}

fn without_zeros(decimal: &str) -> &str {
    if decimal.contains('.') {
        decimal.trim_end_matches('0').trim_end_matches('.')
    } else {
        decimal
    }
}

/// `1234567` as `1,234,567`.
fn grouped(digits: &str) -> String {
    let mut text = String::new();
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number with every digit that it was given.
fn exact(value: f64) -> String {
    if value >= 1e15 {
        return format!("{value:e}");
    }
    let text = value.to_string();
    match text.split_once('.') {
        _ if value < 1e4 => text,
        Some((whole, fraction)) => format!("{}.{fraction}", grouped(whole)),
        None => grouped(&text),
    }
}

/// A range of numbers as words, to four digits: `5`, `5 to 7`, `at least 5`.
pub fn range(span: Span<f64>, unit: &str) -> String {
    words(span, unit, number)
}

/// A range as its source states it, with all digits.
pub fn as_stated(span: Span<f64>, unit: &str) -> String {
    words(span, unit, exact)
}

fn words(span: Span<f64>, unit: &str, number: fn(f64) -> String) -> String {
    let (low, high) = (number(span.low), number(span.high));
    let numbers = if low == high {
        low
    } else if span.high.is_infinite() {
        format!("at least {low}")
    } else if span.low == 0.0 {
        format!("at most {high}")
    } else {
        format!("{low} to {high}")
    };
    format!("{numbers} {unit}").trim_end().to_owned()
}

/// With the decimal prefix that suits the lower end: `26.04 MW`.
pub fn prefixed(span: Span<f64>, unit: &str) -> String {
    let size = span.stated();
    let (factor, prefix) = PREFIXES
        .into_iter()
        .find(|(factor, _)| size >= *factor)
        .unwrap_or((1.0, ""));
    range(span.map(|value| value / factor), &format!("{prefix}{unit}"))
}

/// Work, in FLOP.
pub fn work(span: Span<Flop>) -> String {
    range(span.map(|flop| flop.0), "FLOP")
}

/// A rate.
pub fn rate(span: Span<FlopPerSecond>) -> String {
    prefixed(span.map(|rate| rate.0), "FLOPS")
}

/// A power.
pub fn power(span: Span<Watts>) -> String {
    prefixed(span.map(|watts| watts.0), "W")
}

/// An energy, in watt-hours.
pub fn energy(span: Span<Joules>) -> String {
    prefixed(span.map(|e| KilowattHours::from(e).0 * 1e3), "Wh")
}

/// An amount of money.
pub fn money(money: Money) -> String {
    range(money.amount, &money.currency.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_four_digits_and_are_grouped_from_ten_thousand_on() {
        let numbers = [
            0.08, 6.5104, 2.5, 3640.0, 9999.6, 698_880.0, 1.271e18, 3.14496e23,
        ];
        assert_eq!(
            numbers.map(number),
            [
                "0.08", "6.51", "2.5", "3640", "10,000", "698,900", "1.271e18", "3.145e23"
            ]
        );
    }

    #[test]
    fn ranges_say_which_end_is_known() {
        assert_eq!(range(Span::of(1.25), ""), "1.25");
        assert_eq!(
            range(
                Span {
                    low: 1e4,
                    high: 2.5e4
                },
                "H100"
            ),
            "10,000 to 25,000 H100"
        );
        assert_eq!(
            range(Span::at_least(8000.0), "cards"),
            "at least 8000 cards"
        );
        assert_eq!(range(Span::at_most(1.25), ""), "at most 1.25");
        assert_eq!(power(Span::of(Watts(26_041_667.0))), "26.04 MW");
        assert_eq!(
            energy(Span::at_least(1.8e12).map(Joules)),
            "at least 500 MWh"
        );
        assert_eq!(rate(Span::of(FlopPerSecond(1.2714e21))), "1271 EFLOPS");
        assert_eq!(as_stated(Span::of(1271.4), "EFLOPS"), "1271.4 EFLOPS");
        assert_eq!(as_stated(Span::of(10_715.0), "kWh/year"), "10,715 kWh/year");
        assert_eq!(as_stated(Span::at_least(0.5), "%"), "at least 0.5 %");
    }
}

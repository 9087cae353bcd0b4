//! Sums of money, each in its currency.

use std::fmt;
use std::str::FromStr;

use super::quantity::{QuantityError, number_and_unit};
use super::span::Span;
use crate::units::{Joules, KilowattHours};

/// Three capital letters, as in ISO 4217: `USD`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Currency([u8; 3]);

impl FromStr for Currency {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.as_bytes() {
            &[a, b, c] if text.bytes().all(|letter| letter.is_ascii_uppercase()) => {
                Ok(Self([a, b, c]))
            }
            _ => Err(format!(
                "`{text}` is no currency: three capital letters are expected, as in USD"
            )),
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters: String = self.0.iter().copied().map(char::from).collect();
        f.pad(&letters)
    }
}

/// Two currencies where one is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} and {1} cannot be mixed, and no rate of exchange is assumed: give both in one currency"
)]
pub struct MixedCurrencies(Currency, Currency);

/// An amount of money.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Money {
    /// How much.
    pub amount: Span<f64>,
    /// Of what.
    pub currency: Currency,
}

impl Money {
    /// The amount times a number.
    pub fn times(self, factor: Span<f64>) -> Self {
        let amount = self.amount * factor;
        Self { amount, ..self }
    }

    /// How many times the other this is.
    ///
    /// # Errors
    /// When they are in different currencies.
    pub fn over(self, other: Self) -> Result<Span<f64>, MixedCurrencies> {
        if self.currency != other.currency {
            return Err(MixedCurrencies(self.currency, other.currency));
        }
        Ok(self.amount / other.amount)
    }
}

/// `30000USD`, `25000-30000 EUR`.
impl FromStr for Money {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let (amount, unit) = number_and_unit(text)?;
        let currency = unit
            .parse()
            .map_err(|problem| QuantityError::new(text, problem))?;
        Ok(Self { amount, currency })
    }
}

/// A price of electricity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tariff {
    /// The price of a kilowatt-hour.
    pub per_kwh: Money,
}

impl Tariff {
    /// What an energy costs.
    pub fn cost(self, energy: Span<Joules>) -> Money {
        self.per_kwh.times(energy.map(|e| KilowattHours::from(e).0))
    }

    /// The energy that an amount of money pays for.
    ///
    /// # Errors
    /// When they are in different currencies.
    pub fn energy(self, bill: Money) -> Result<Span<Joules>, MixedCurrencies> {
        let kwh = bill.over(self.per_kwh)?;
        Ok(kwh.map(|kwh| KilowattHours(kwh).into()))
    }
}

/// `0.08USD/kWh`, `0.05-0.12 EUR/kWh`.
impl FromStr for Tariff {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let price = text.trim_end().strip_suffix("/kWh").ok_or_else(|| {
            QuantityError::new(
                text,
                "a price of electricity is expected, as in 0.08USD/kWh",
            )
        })?;
        let per_kwh = price.parse()?;
        Ok(Self { per_kwh })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_bill_over_a_tariff_is_an_energy_in_one_currency_only() {
        let tariff: Tariff = "0.08USD/kWh".parse().unwrap();
        let bill: Money = "50000 USD".parse().unwrap();
        let energy = tariff.energy(bill).unwrap();
        assert!((KilowattHours::from(energy.low).0 - 625_000.0).abs() < 1e-6);
        assert!((tariff.cost(energy).amount.low - 50_000.0).abs() < 1e-6);
        let yuan: Money = "50000CNY".parse().unwrap();
        insta::assert_snapshot!(tariff.energy(yuan).unwrap_err(), @"CNY and USD cannot be mixed, and no rate of exchange is assumed: give both in one currency");
    }

    #[test]
    fn prices_without_a_currency_or_a_unit_are_refused() {
        insta::assert_snapshot!("0.08".parse::<Tariff>().unwrap_err(), @"`0.08`: a price of electricity is expected, as in 0.08USD/kWh");
        insta::assert_snapshot!("0.08/kWh".parse::<Tariff>().unwrap_err(), @"`0.08`: `` is no currency: three capital letters are expected, as in USD");
        insta::assert_snapshot!("30000 dollars".parse::<Money>().unwrap_err(), @"`30000 dollars`: `dollars` is no currency: three capital letters are expected, as in USD");
    }

    proptest! {
        #[test]
        fn prices_are_read_as_they_are_written(
            low in 1e-6_f64..1e6, more in 0.0_f64..1e3, currency in "[A-Z]{3}", blank in " ?",
        ) {
            let high = low + more;
            let tariff: Tariff = format!("{low}-{high}{blank}{currency}/kWh").parse().unwrap();
            prop_assert_eq!(tariff.per_kwh.amount, Span { low, high });
            prop_assert_eq!(tariff.per_kwh.currency.to_string(), currency);
        }

        #[test]
        fn no_text_makes_the_parsers_panic(text in "\\PC{0,20}") {
            let _ = text.parse::<Tariff>();
            let _ = text.parse::<Money>();
        }
    }
}

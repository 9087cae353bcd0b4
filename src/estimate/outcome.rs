//! The formulas: from a claim and a device to what it takes.

use std::fmt;
use std::num::NonZeroU64;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::efficiency::Device;
use super::money::{Money, Tariff};
use super::quantity::{CarbonIntensity, Lifetime, Pue, Utilisation, YEAR};
use super::rate::{ComputeRate, NumberFormat};
use super::span::Span;
use super::text;
use super::workload::{Claim, Stated, Workload};
use crate::datasheet::Catalogue;
use crate::units::{Flop, FlopPerSecond, Joules, KilowattHours, Seconds, Tflops, Watts};

const HOUR: Seconds = Seconds(3600.0);
const DAY: Seconds = Seconds(86_400.0);
const EFLOP: Flop = Flop(1e18);

/// What the user assumes beside the device and the workload.
#[derive(Clone, Copy, Debug)]
pub struct Assumptions {
    /// Share of the device's rate that the workload gets.
    pub utilisation: Utilisation,
    /// Energy at the wall over that of the devices.
    pub pue: Option<Pue>,
    /// Price of electricity.
    pub tariff: Option<Tariff>,
    /// Carbon dioxide per electricity.
    pub carbon: Option<CarbonIntensity>,
    /// Devices that share the work.
    pub devices: Option<NonZeroU64>,
    /// Price and life of a device.
    pub hardware: Option<Hardware>,
}

/// What a device costs.
#[derive(Clone, Copy, Debug)]
pub struct Hardware {
    /// Price of one device.
    pub price: Money,
    /// How long it is used.
    pub lifetime: Lifetime,
}

/// What a claim means for a device.
#[derive(Clone, Debug)]
pub struct Estimate<'a> {
    /// The claim.
    pub claim: &'a Claim,
    /// Other claims of the same source that went in.
    pub beside: Vec<&'a Claim>,
    /// What follows, or why nothing does.
    pub lines: Lines,
}

/// One result.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Its name for programs.
    pub quantity: &'static str,
    /// Its name for people.
    pub label: &'static str,
    /// The result, or what is missing for it.
    pub value: OrMissing<Value>,
    /// `/day` and the like, for what recurs.
    pub per: &'static str,
}

/// A quantity of any kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// A number of things.
    Count(Span<f64>),
    /// A time in hours.
    Hours(Span<Seconds>),
    /// A time in days.
    Days(Span<Seconds>),
    /// An energy.
    Energy(Span<Joules>),
    /// A power.
    Power(Span<Watts>),
    /// Operations.
    Work(Span<Flop>),
    /// Operations per second.
    Rate(Span<FlopPerSecond>, NumberFormat),
    /// Money.
    Money(Money),
    /// Kilograms of carbon dioxide.
    Carbon(Span<f64>),
}

impl Value {
    /// In the unit that it has in JSON.
    pub fn in_unit(self) -> (Span<f64>, String) {
        match self {
            Self::Count(count) => (count, "1".to_owned()),
            Self::Hours(time) => (time.map(|t| t / HOUR), "h".to_owned()),
            Self::Days(time) => (time.map(|t| t / DAY), "d".to_owned()),
            Self::Energy(energy) => (energy.map(|e| KilowattHours::from(e).0), "kWh".to_owned()),
            Self::Power(power) => (power.map(|w| w.0), "W".to_owned()),
            Self::Work(work) => (work.map(|flop| flop.0), "FLOP".to_owned()),
            Self::Rate(rate, format) => (rate.map(|r| r.0), format!("FLOP/s {format}")),
            Self::Money(money) => (money.amount, money.currency.to_string()),
            Self::Carbon(mass) => (mass, "kg CO2".to_owned()),
        }
    }
}

/// For people.
impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = match self.value {
            Err(missing) => return write!(f, "– ({missing})"),
            Ok(value) => value,
        };
        let text = match value {
            Value::Count(count) => text::range(count, ""),
            Value::Hours(time) => text::range(time.map(|t| t / HOUR), "h"),
            Value::Days(time) => text::range(time.map(|t| t / DAY), "days"),
            Value::Energy(energy) => text::energy(energy),
            Value::Power(power) => text::power(power),
            Value::Work(work) => text::work(work),
            Value::Rate(rate, format) => format!("{} {format}", text::rate(rate)),
            Value::Money(money) => text::money(money),
            Value::Carbon(mass) => text::prefixed(mass.map(|kg| kg / 1e3), "t CO2"),
        };
        write!(f, "{text}{}", self.per)
    }
}

impl Serialize for Line {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value = self.value.map(Value::in_unit);
        let mut line = serializer.serialize_struct("Line", 5)?;
        line.serialize_field("quantity", self.quantity)?;
        line.serialize_field("label", self.label)?;
        line.serialize_field("value", &value.as_ref().ok().map(|(value, _)| value))?;
        let unit = value
            .as_ref()
            .ok()
            .map(|(_, unit)| format!("{unit}{}", self.per));
        line.serialize_field("unit", &unit)?;
        line.serialize_field("reason", &value.as_ref().err())?;
        line.end()
    }
}

/// What follows from every claim of a workload that something follows from.
pub fn estimate<'a>(
    workload: &'a Workload,
    device: &Device,
    assumptions: &Assumptions,
    catalogue: &Catalogue,
) -> Vec<Estimate<'a>> {
    let stated_pue = workload
        .claims
        .iter()
        .find_map(|claim| match claim.stated() {
            Ok(Stated::Pue(pue)) => Some((claim, pue)),
            _ => None,
        });
    let pue = assumptions.pue.or(stated_pue.map(|(_, pue)| pue));
    let calculator = Calculator {
        device,
        assumptions,
        pue,
    };
    let estimates = workload.claims.iter().filter_map(|claim| {
        let related = Related::of(workload, claim);
        let lines = calculator.lines(claim, &related, catalogue)?;
        let mut beside = related.claims;
        beside.extend(
            stated_pue
                .filter(|_| assumptions.pue.is_none())
                .map(|(claim, _)| claim),
        );
        Some(Estimate {
            claim,
            beside,
            lines,
        })
    });
    estimates.collect()
}

/// What the same source says beside a claim about energy.
struct Related<'a> {
    claims: Vec<&'a Claim>,
    tariff: Option<Tariff>,
    servers: Option<Span<f64>>,
    requests: Option<(Span<f64>, Seconds)>,
}

impl<'a> Related<'a> {
    fn of(workload: &'a Workload, claim: &'a Claim) -> Self {
        let mut related = Self {
            claims: Vec::new(),
            tariff: None,
            servers: None,
            requests: None,
        };
        if !matches!(claim.stated(), Ok(Stated::Energy(..) | Stated::Bill(..))) {
            return related;
        }
        for other in workload.beside(claim) {
            match other.stated() {
                Ok(Stated::Tariff(tariff)) => related.tariff = Some(tariff),
                Ok(Stated::Servers(servers)) => related.servers = Some(servers),
                Ok(Stated::Requests(count, period)) => related.requests = Some((count, period)),
                _ => continue,
            }
            related.claims.push(other);
        }
        related
    }
}

/// A device under some assumptions.
struct Calculator<'a> {
    device: &'a Device,
    assumptions: &'a Assumptions,
    pue: Option<Pue>,
}

/// What follows, or why nothing does.
type Lines = Result<Vec<Line>, String>;

/// A result, or what is missing for it.
type OrMissing<T> = Result<T, &'static str>;

impl Calculator<'_> {
    /// `None` for claims that only support others.
    fn lines(&self, claim: &Claim, related: &Related<'_>, catalogue: &Catalogue) -> Option<Lines> {
        Some(match claim.stated() {
            Err(problem) => Err(problem),
            Ok(Stated::Work(work)) => Ok(self.for_work(work)),
            Ok(Stated::Rate(rate)) => self.for_rate(rate),
            Ok(Stated::Devices(count)) => self.for_devices(count, &claim.accelerators, catalogue),
            Ok(Stated::Energy(energy, period)) => Ok(self.for_energy(energy, period, related)),
            Ok(Stated::Bill(bill, period)) => match related.tariff {
                None => Err("the same source states no price of electricity".to_owned()),
                Some(tariff) => tariff
                    .energy(bill)
                    .map(|energy| self.for_energy(energy, period, related))
                    .map_err(|mixed| mixed.to_string()),
            },
            Ok(Stated::Tariff(_) | Stated::Servers(_) | Stated::Requests(..) | Stated::Pue(_)) => {
                return None;
            }
        })
    }

    /// What a device gets done: its rate times the utilisation.
    fn delivered(&self) -> Span<FlopPerSecond> {
        let Utilisation(share) = self.assumptions.utilisation;
        share.map(|share| self.device.rate * share)
    }

    fn pue(&self) -> OrMissing<Span<f64>> {
        let Pue(pue) = self
            .pue
            .ok_or("--pue is needed; --pue 1 leaves the building out")?;
        Ok(pue)
    }

    /// A device's power, whatever it gets done.
    fn power(&self) -> Span<Watts> {
        Span::of(self.device.power)
    }

    /// Work over the delivered rate is time; time times power is energy.
    fn for_work(&self, work: Span<Flop>) -> Vec<Line> {
        let time = work / self.delivered();
        let mut lines = vec![line("device_hours", "device-hours", Ok(Value::Hours(time)))];
        if let Some(devices) = self.assumptions.devices {
            let each = time.map(|t| t / devices.get() as f64);
            lines.push(line("days", "days on --devices", Ok(Value::Days(each))));
        }
        lines.extend(self.energy_lines(self.power() * time, ""));
        if let Some(Hardware { price, lifetime }) = self.assumptions.hardware {
            let cost = price.times(time / lifetime.0);
            let label = "hardware, its share of life";
            lines.push(line("hardware_cost", label, Ok(Value::Money(cost))));
        }
        lines.extend(self.costs_of_an_eflop());
        lines
    }

    /// A centre of a stated rate needs as many devices as deliver it.
    fn for_rate(&self, wanted: ComputeRate) -> Lines {
        if let Some(format) = wanted.format.filter(|format| *format != self.device.format) {
            return Err(format!(
                "stated in {format}: {} operations are others, and neither replace them nor add to them",
                self.device.format
            ));
        }
        Ok(self.fleet_lines(wanted.rate / self.delivered()))
    }

    /// A number of accelerators is taken as it is where the device is one of them;
    /// otherwise as many devices are needed as have the same nominal rate.
    fn for_devices(&self, count: Span<f64>, ids: &[String], catalogue: &Catalogue) -> Lines {
        let is_one = ids
            .iter()
            .any(|id| self.device.accelerator.as_ref() == Some(id));
        let (label, rate, devices) = if is_one {
            ("computing power", self.delivered() * count, count)
        } else {
            let nominal = self.nominal_rate(ids, catalogue)? * count;
            let devices = nominal / Span::of(self.device.rate);
            ("computing power by datasheet", nominal, devices)
        };
        let rate = Value::Rate(rate, self.device.format);
        let mut lines = vec![line("rate", label, Ok(rate))];
        lines.extend(self.fleet_lines(devices));
        Ok(lines)
    }

    /// The peaks that datasheets state for the device's arithmetic, lowest to
    /// highest.
    fn nominal_rate(
        &self,
        ids: &[String],
        catalogue: &Catalogue,
    ) -> Result<Span<FlopPerSecond>, String> {
        let kind = self.device.arithmetic;
        let peaks = ids
            .iter()
            .filter_map(|id| catalogue.get(id)?.per_device(kind));
        let spans = peaks.map(Span::of);
        let bounds = spans.reduce(|a, b| Span {
            low: a.low.min(b.low),
            high: a.high.max(b.high),
        });
        let bounds =
            bounds.ok_or_else(|| format!("no datasheet of {} states {kind}", ids.join(", ")))?;
        Ok(bounds.map(|peak| Tflops(peak).into()))
    }

    /// What so many devices are: power, energy and money of a day, their price.
    fn fleet_lines(&self, devices: Span<f64>) -> Vec<Line> {
        let power = self.power() * devices;
        let at_wall = self.pue().map(|pue| Value::Power(power * pue));
        let mut lines = vec![
            line("devices", "devices", Ok(Value::Count(devices))),
            line(
                "power_device",
                "power of the devices",
                Ok(Value::Power(power)),
            ),
            line("power_wall", "power at the wall", at_wall),
        ];
        lines.extend(self.energy_lines(power.map(|watts| watts * DAY), "/day"));
        if let Some(Hardware { price, .. }) = self.assumptions.hardware {
            let cost = Value::Money(price.times(devices));
            lines.push(line("hardware_price", "price of the devices", Ok(cost)));
        }
        lines.extend(self.costs_of_an_eflop());
        lines
    }

    /// Electricity of a period is so many devices at work, and what they do.
    fn for_energy(
        &self,
        energy: Span<Joules>,
        period: Seconds,
        related: &Related<'_>,
    ) -> Vec<Line> {
        let per = per(period);
        let power = energy.map(|joules| joules / period);
        let devices = self.pue().map(|pue| power / (self.power() * pue));
        let work = devices.map(|devices| (self.delivered() * devices).map(|rate| rate * period));
        let mut lines = vec![
            line(
                "energy_wall",
                "energy at the wall",
                Ok(Value::Energy(energy)),
            )
            .every(per),
            line(
                "power_wall",
                "mean power at the wall",
                Ok(Value::Power(power)),
            ),
        ];
        if let Some(servers) = related.servers {
            let each = Value::Power(power / servers);
            lines.push(line(
                "power_of_a_server",
                "mean power of a server",
                Ok(each),
            ));
        }
        lines.extend(self.consequences(Ok(energy), per));
        lines.push(line(
            "devices",
            "devices that draw as much",
            devices.map(Value::Count),
        ));
        lines.push(line("work", "operations that they do", work.map(Value::Work)).every(per));
        if let Some((requests, every)) = related.requests {
            let requests = requests.map(|n| n * (period / every));
            let each = Value::Energy(energy / requests);
            let operations = work.map(|work| Value::Work(work / requests));
            lines.push(line("energy_of_a_request", "energy of a request", Ok(each)));
            lines.push(line(
                "work_of_a_request",
                "operations of a request",
                operations,
            ));
        }
        lines.extend(self.costs_of_an_eflop());
        lines
    }

    /// Energy of the devices, at the wall, and what it costs and causes.
    fn energy_lines(&self, energy: Span<Joules>, per: &'static str) -> Vec<Line> {
        let at_wall = self.pue().map(|pue| energy * pue);
        let of_devices = Ok(Value::Energy(energy));
        let mut lines = vec![
            line("energy_device", "energy of the devices", of_devices).every(per),
            line(
                "energy_wall",
                "energy at the wall",
                at_wall.map(Value::Energy),
            )
            .every(per),
        ];
        lines.extend(self.consequences(at_wall, per));
        lines
    }

    /// Money and carbon of an energy at the wall.
    fn consequences(&self, at_wall: OrMissing<Span<Joules>>, per: &'static str) -> Vec<Line> {
        let tariff = self.assumptions.tariff.map(|tariff| {
            let cost = at_wall.map(|energy| Value::Money(tariff.cost(energy)));
            line("electricity_cost", "electricity", cost)
        });
        let carbon = self.assumptions.carbon.map(|carbon| {
            let mass = at_wall.map(|energy| Value::Carbon(carbon.kilograms(energy)));
            line("co2", "CO2", mass)
        });
        let both = [tariff, carbon].into_iter().flatten();
        both.map(|line| line.every(per)).collect()
    }

    /// What 10¹⁸ operations cost, in hardware over its life and in electricity.
    fn costs_of_an_eflop(&self) -> Vec<Line> {
        let Some(Hardware { price, lifetime }) = self.assumptions.hardware else {
            return Vec::new();
        };
        let time = Span::of(EFLOP) / self.delivered();
        let hardware = Value::Money(price.times(time / lifetime.0));
        let label = "hardware for an EFLOP";
        let mut lines = vec![line("eflop_hardware_cost", label, Ok(hardware))];
        if let Some(tariff) = self.assumptions.tariff {
            let energy = self.pue().map(|pue| self.power() * time * pue);
            let cost = energy.map(|energy| Value::Money(tariff.cost(energy)));
            let label = "electricity for an EFLOP";
            lines.push(line("eflop_electricity_cost", label, cost));
        }
        lines
    }
}

fn line(quantity: &'static str, label: &'static str, value: OrMissing<Value>) -> Line {
    Line {
        quantity,
        label,
        value,
        per: "",
    }
}

impl Line {
    /// The same for every period.
    fn every(self, per: &'static str) -> Self {
        Self { per, ..self }
    }
}

/// How a period is written behind a unit.
fn per(period: Seconds) -> &'static str {
    if period == YEAR {
        "/year"
    } else if period == DAY {
        "/day"
    } else {
        "/h"
    }
}

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

/// What 10¹⁸ operations cost: in hardware over its life, and in electricity.
/// Nothing without a price of hardware.
pub fn costs_of_an_eflop(device: &Device, assumptions: &Assumptions) -> Vec<Line> {
    let calculator = Calculator {
        device,
        assumptions,
        pue: assumptions.pue,
    };
    let Some(Hardware { price, lifetime }) = assumptions.hardware else {
        return Vec::new();
    };
    let time = Span::of(EFLOP) / calculator.delivered();
    let hardware = Value::Money(price.times(time / lifetime.0));
    let label = "hardware for an EFLOP";
    let mut lines = vec![line("eflop_hardware_cost", label, Ok(hardware))];
    if let Some(tariff) = assumptions.tariff {
        let energy = calculator.pue().map(|pue| calculator.power() * time * pue);
        let cost = energy.map(|energy| Value::Money(tariff.cost(energy)));
        let label = "electricity for an EFLOP";
        lines.push(line("eflop_electricity_cost", label, cost));
    }
    lines
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
        let mut lines = vec![
            line("work", "work", Ok(Value::Work(work))),
            line("device_hours", "device-hours", Ok(Value::Hours(time))),
        ];
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

#[cfg(test)]
mod tests {
    use super::super::efficiency::Basis;
    use super::super::workload::Workloads;
    use super::*;
    use crate::datasheet::FigureKind;

    /// 10 TFLOP/s at 200 W: 50 GFLOPS per watt.
    fn device(format: NumberFormat, arithmetic: FigureKind) -> Device {
        Device {
            name: "Testcard 0".to_owned(),
            accelerator: None,
            format,
            arithmetic,
            rate: FlopPerSecond(1e13),
            power: Watts(200.0),
            basis: Basis::Measured,
            rate_source: String::new(),
            power_source: String::new(),
        }
    }

    fn half() -> Device {
        device(NumberFormat::Fp16, FigureKind::Fp16Tensor)
    }

    fn assuming(utilisation: &str, pue: &str) -> Assumptions {
        Assumptions {
            utilisation: utilisation.parse().unwrap(),
            pue: pue.parse().ok(),
            tariff: Some("0.08USD/kWh".parse().unwrap()),
            carbon: Some("400gCO2/kWh".parse().unwrap()),
            devices: NonZeroU64::new(1000),
            hardware: Some(Hardware {
                price: "10000USD".parse().unwrap(),
                lifetime: "4years".parse().unwrap(),
            }),
        }
    }

    /// The results of the claims of a built-in workload.
    fn results(id: &str, device: &Device, assumptions: &Assumptions) -> Vec<Lines> {
        let workloads = Workloads::builtin().only(id).unwrap();
        let [workload] = workloads.workloads() else {
            panic!("one workload")
        };
        estimate(workload, device, assumptions, Catalogue::builtin())
            .into_iter()
            .map(|estimate| estimate.lines)
            .collect()
    }

    /// A result in its unit of JSON.
    fn result(lines: &Lines, quantity: &str) -> Span<f64> {
        let lines = lines.as_ref().unwrap();
        let line = lines.iter().find(|line| line.quantity == quantity);
        line.unwrap_or_else(|| panic!("no {quantity}"))
            .value
            .unwrap()
            .in_unit()
            .0
    }

    #[track_caller]
    fn assert_is(lines: &Lines, quantity: &str, low: f64, high: f64) {
        let found = result(lines, quantity);
        for (found, expected) in [(found.low, low), (found.high, high)] {
            let equal = found == expected || (found / expected - 1.0).abs() < 1e-6;
            assert!(equal, "{quantity}: {found}, not {expected}");
        }
    }

    /// By hand. 3640 days of 86 400 s at 10¹⁵ FLOP/s are 3.144 96·10²³ FLOP. At
    /// 10¹³ FLOP/s: 3.144 96·10¹⁰ s = 8.736·10⁶ h; a thousand devices make 10¹⁶
    /// FLOP/s, so 364 days. At 5·10¹⁰ FLOP/J: 6.289 92·10¹² J = 1 747 200 kWh =
    /// 1.75 GWh, which cost 139 776 USD at 0.08 and cause 698 880 kg at 0.4. A
    /// device of 10 000 USD lives 35 040 h: 8.736·10⁶ ÷ 35 040 × 10 000 USD.
    #[test]
    fn gpt3_at_50_gigaflops_per_watt() {
        let all = results("gpt3-training", &half(), &assuming("1", "1"));
        let lines = &all[0];
        assert_is(lines, "work", 3.14496e23, 3.14496e23);
        assert_is(lines, "device_hours", 8.736e6, 8.736e6);
        assert_is(lines, "days", 364.0, 364.0);
        assert_is(lines, "energy_device", 1_747_200.0, 1_747_200.0);
        assert_is(lines, "energy_wall", 1_747_200.0, 1_747_200.0);
        assert_is(lines, "electricity_cost", 139_776.0, 139_776.0);
        assert_is(lines, "co2", 698_880.0, 698_880.0);
        assert_is(lines, "hardware_cost", 2_493_150.685, 2_493_150.685);
    }

    /// By hand, from the values above: a utilisation of 0.25 to 0.5 takes twice to
    /// four times as long; a PUE of 1.1 to 1.25 adds a tenth to a quarter:
    /// 1 747 200 × 2 × 1.1 = 3 843 840, 1 747 200 × 4 × 1.25 = 8 736 000 kWh.
    #[test]
    fn ranges_are_carried_through() {
        let all = results("gpt3-training", &half(), &assuming("25-50%", "1.1-1.25"));
        assert_is(&all[0], "device_hours", 17.472e6, 34.944e6);
        assert_is(&all[0], "energy_device", 3_494_400.0, 6_988_800.0);
        assert_is(&all[0], "energy_wall", 3_843_840.0, 8_736_000.0);
    }

    /// By hand: 10¹⁸ FLOP at 10¹³ FLOP/s take 10⁵ s, which of a life of 35 040 h
    /// and 10 000 USD is 27.7778 ÷ 35 040 × 10 000 = 7.927 448 USD. They take
    /// 2·10⁷ J = 5.555 56 kWh, at a PUE of 1.25 6.944 44 kWh: 0.555 556 USD.
    #[test]
    fn an_eflop_costs_hardware_and_electricity() {
        let lines = Ok(costs_of_an_eflop(&half(), &assuming("1", "1.25")));
        assert_is(&lines, "eflop_hardware_cost", 7.927_448, 7.927_448);
        assert_is(&lines, "eflop_electricity_cost", 0.555_555_6, 0.555_555_6);
    }

    /// By hand: 10¹⁸ FLOP/s are 100 000 devices of 10¹³; at half of their rate
    /// 200 000, which draw 40 MW, at a PUE of 1.25 50 MW = 1200 MWh/day =
    /// 96 000 USD/day, and cost 2·10⁹ USD.
    #[test]
    fn a_centre_needs_devices_and_megawatts() {
        let all = results("centre:shenzhen", &half(), &assuming("1", "1"));
        assert_is(&all[0], "devices", 1e5, 1e5);
        let all = results("centre:shenzhen", &half(), &assuming("50%", "1.25"));
        assert_is(&all[0], "devices", 2e5, 2e5);
        assert_is(&all[0], "power_device", 40e6, 40e6);
        assert_is(&all[0], "power_wall", 50e6, 50e6);
        assert_is(&all[0], "energy_wall", 1.2e6, 1.2e6);
        assert_is(&all[0], "electricity_cost", 96_000.0, 96_000.0);
        assert_is(&all[0], "hardware_price", 2e9, 2e9);
    }

    /// By hand: 18 000 PFLOPS of FP32 at 10¹³ are at least 1.8 million devices and
    /// 360 MW; the target's PUE of at most 1.25 may be 1.
    #[test]
    fn a_target_brings_its_own_pue() {
        let single = device(NumberFormat::Fp32, FigureKind::Fp32);
        let mut assumptions = assuming("1", "");
        assert!(assumptions.pue.is_none());
        let all = results("centre:shanghai-2025", &single, &assumptions);
        assert_is(&all[0], "devices", 1.8e6, f64::INFINITY);
        assert_is(&all[0], "power_wall", 360e6, f64::INFINITY);
        // The user's takes its place.
        assumptions.pue = Some("1.5".parse().unwrap());
        let all = results("centre:shanghai-2025", &single, &assumptions);
        assert_is(&all[0], "power_wall", 540e6, f64::INFINITY);
    }

    #[test]
    fn rates_in_another_precision_are_not_estimated_and_not_added() {
        let all = results("centre:ningbo", &half(), &assuming("1", "1"));
        // 100 PFLOPS at 10¹³ FLOP/s, without the 5 PFLOPS of FP64.
        assert_is(&all[0], "devices", 1e4, 1e4);
        assert_eq!(
            all[1].as_ref().unwrap_err(),
            "stated in FP64: FP16 operations are others, and neither replace them nor add to them"
        );
    }

    /// By hand. Article A: 50 000 USD ÷ 0.08 USD/kWh = 625 000 kWh a day =
    /// 26.041 67 MW; over 4000 servers 6510.4 W; over 200 W × 1.25 104 166.7
    /// devices, which do 104 166.7 × 10¹³ × 86 400 = 9·10²² FLOP a day. Article B:
    /// 500 000 kWh over 2·10⁸ requests are 2.5 Wh; 20.8333 MW are 83 333.3 devices
    /// with 7.2·10²² FLOP a day, 3.6·10¹⁴ a request. "More than", so at least.
    #[test]
    fn two_estimates_of_chatgpt_stand_side_by_side() {
        let all = results("chatgpt-day", &half(), &assuming("1", "1.25"));
        let [a, b] = all.as_slice() else {
            panic!("{all:?}")
        };
        assert_is(a, "energy_wall", 625_000.0, 625_000.0);
        assert_is(a, "power_wall", 26_041_666.67, 26_041_666.67);
        assert_is(a, "power_of_a_server", 6_510.416_67, 6_510.416_67);
        assert_is(a, "electricity_cost", 50_000.0, 50_000.0);
        assert_is(a, "devices", 104_166.666_67, 104_166.666_67);
        assert_is(a, "work", 9e22, 9e22);
        assert_is(b, "energy_wall", 500_000.0, f64::INFINITY);
        assert_is(b, "electricity_cost", 40_000.0, f64::INFINITY);
        assert_is(b, "energy_of_a_request", 0.0025, f64::INFINITY);
        assert_is(b, "work_of_a_request", 3.6e14, f64::INFINITY);
        let asks = |lines: &Lines, quantity| {
            let mut lines = lines.as_ref().unwrap().iter();
            lines.any(|line| line.quantity == quantity)
        };
        assert!(!asks(a, "energy_of_a_request"), "requests are article B's");
        assert!(!asks(b, "power_of_a_server"), "servers are article A's");
    }

    /// By hand: 10 000 to 25 000 cards of 700 W draw 7 to 17.5 MW; at 40 % of
    /// 989.4 TFLOP/s they do 3.9576·10¹⁸ to 9.894·10¹⁸ FLOP/s.
    #[test]
    fn devices_that_are_meant_are_counted_as_they_are() {
        let mut card = half();
        card.accelerator = Some("nvidia-h100-sxm5".to_owned());
        card.rate = FlopPerSecond(989.4e12);
        card.power = Watts(700.0);
        let all = results("gpt4-training", &card, &assuming("40%", "1"));
        assert_is(&all[0], "devices", 1e4, 2.5e4);
        assert_is(&all[0], "power_device", 7e6, 17.5e6);
        assert_is(&all[0], "rate", 3.9576e18, 9.894e18);
        assert_is(&all[1], "devices", 8000.0, f64::INFINITY);
    }

    /// By hand: the article does not say which H100 it means: 10 000 × 756 TFLOP/s
    /// (PCIe) to 25 000 × 989.4 TFLOP/s (SXM5) at 10 TFLOP/s a device.
    #[test]
    fn other_devices_are_as_many_as_have_the_same_nominal_rate() {
        let all = results("gpt4-training", &half(), &assuming("40%", "1"));
        assert_is(&all[0], "devices", 756_000.0, 2_473_500.0);
        let double = device(NumberFormat::Fp64, FigureKind::Fp64);
        // 25.6 TFLOP/s (PCIe) to 33.5 TFLOP/s (SXM5).
        let all = results("gpt4-training", &double, &assuming("1", "1"));
        assert_is(&all[0], "devices", 25_600.0, 83_750.0);
    }

    /// By hand: 85.4 TWh in 8760 h are 9.748 858 GW, 134 TWh 15.296 804 GW.
    #[test]
    fn energy_of_a_year_is_a_mean_power() {
        let all = results("world-ai-2027", &half(), &assuming("1", "1"));
        assert_is(&all[0], "power_wall", 9.748_858_4e9, 15.296_803_7e9);
        assert_is(&all[0], "devices", 48_744_292.0, 76_484_018.0);
    }

    #[test]
    fn without_a_pue_nothing_is_said_about_the_wall() {
        let all = results("gpt3-training", &half(), &assuming("1", ""));
        let lines = all[0].as_ref().unwrap();
        for line in lines {
            let of_the_wall = ["energy_wall", "electricity_cost", "co2"].contains(&line.quantity);
            assert_eq!(line.value.is_err(), of_the_wall, "{}", line.quantity);
        }
        let json = serde_json::to_value(&lines[4]).unwrap();
        assert_eq!(json["quantity"], "energy_wall");
        assert!(json["value"].is_null() && json["unit"].is_null());
        assert!(json["reason"].as_str().unwrap().contains("--pue"));
    }
}

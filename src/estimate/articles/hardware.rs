//! Accelerators: what the articles say against what datasheets say.

use super::check::Definition;
use super::check::{Finding, Verdict};
use super::figures::{Facts, FigureError, close};
use crate::datasheet::FigureKind;
use crate::estimate::text::{energy, money, number, power, range, rate};
use crate::estimate::{ComputeRate, NumberFormat, Span};
use crate::units::{FlopPerSecond, Gflops, Seconds, Watts};

pub(super) const CHECKS: &[Definition] = &[
    Definition {
        id: "C07",
        subject: "GPT-3 on ten thousand V100",
        figures: &["A09", "A11", "A17", "A19", "A20"],
        judge: training_on_v100,
    },
    Definition {
        id: "C08",
        subject: "GPUs that trained ChatGPT",
        figures: &["A17", "A29"],
        judge: gpus_of_training,
    },
    Definition {
        id: "C13",
        subject: "release of the H100",
        figures: &["A36", "R10"],
        judge: release,
    },
    Definition {
        id: "C14",
        subject: "H100 against its predecessor",
        figures: &["A33", "A34", "A35", "R11"],
        judge: improvements,
    },
    Definition {
        id: "C15",
        subject: "which H100 is meant",
        figures: &["A32", "B10"],
        judge: which_h100,
    },
    Definition {
        id: "C16",
        subject: "which Siyuan 370 is meant",
        figures: &["A30", "A32", "A38", "B10"],
        judge: which_siyuan,
    },
];

const V100: &str = "nvidia-v100-sxm2";
const A100: &str = "nvidia-a100-sxm4-40gb";
const H100: [&str; 3] = ["nvidia-h100-sxm5", "nvidia-h100-pcie", "nvidia-h100-nvl"];
const SIYUAN_370: [&str; 4] = [
    "cambricon-mlu370-s4",
    "cambricon-mlu370-s8",
    "cambricon-mlu370-x4",
    "cambricon-mlu370-x8",
];

fn teraflops(peak: FlopPerSecond) -> String {
    rate(Span::of(peak))
}

fn training_on_v100(facts: &Facts) -> Result<Finding, FigureError> {
    let days = Seconds(facts.number("A20", "days")? * 86_400.0);
    let work = facts.rate("A19")?.rate.low * days;
    let (cards, product) = facts.accelerators("A17")?;
    let cost = facts.money("A11", "")?;
    let tariff = facts.tariff("A09")?;
    let watts = facts.board_power(V100)?;
    let mut finding = Finding::new(
        Verdict::BoundOnly,
        "Lower bounds: no training gets the peak of its cards all the time, and no server is without losses.",
    );
    let mut shares = Vec::new();
    for kind in [FigureKind::Fp16Tensor, FigureKind::Fp32] {
        let peak = facts.peak(V100, kind)?;
        let time = work / peak;
        let joules = Span::of(watts * time);
        let electricity = tariff.cost(joules);
        shares.push(electricity.over(cost)?.low * 100.0);
        finding = finding.step(format!(
            "at all of {} {kind}: {} {product}-hours, {} days on {}; × {} = {} = {}",
            teraflops(peak),
            number(time / Seconds(3600.0)),
            number(time / cards / Seconds(86_400.0)),
            number(cards),
            power(Span::of(watts)),
            energy(joules),
            money(electricity)
        ));
    }
    if shares.iter().any(|share| *share > 100.0) {
        finding.verdicts = vec![Verdict::DoesNotHold];
        finding.remark = "Even at the cards' peak the electricity alone costs more than stated for the whole run.".to_owned();
    }
    let shares: Vec<String> = shares
        .into_iter()
        .map(|share| format!("{} %", number(share)))
        .collect();
    Ok(finding.step(format!(
        "electricity is {} of {}",
        shares.join(" and "),
        money(cost)
    )))
}

/// The peak on matrix units of the accelerators of a figure.
fn fleet(facts: &Facts, id: &str) -> Result<(FlopPerSecond, String), FigureError> {
    let (count, product) = facts.accelerators(id)?;
    let sheet = match product {
        "V100" => V100,
        "A100" => A100,
        "H100" => H100[0],
        other => {
            return Err(FigureError::Unit {
                id: id.to_owned(),
                found: other.to_owned(),
                needed: "a number of V100, A100 or H100",
            });
        }
    };
    let peak = facts.peak(sheet, FigureKind::Fp16Tensor)?;
    let total = peak * count;
    let step = format!(
        "{} {product} × {} = {} FP16",
        number(count),
        teraflops(peak),
        teraflops(total)
    );
    Ok((total, step))
}

fn gpus_of_training(facts: &Facts) -> Result<Finding, FigureError> {
    let (threshold, first) = fleet(facts, "A17")?;
    let (said, second) = fleet(facts, "A29")?;
    let ratio = said / threshold;
    let finding = if close(ratio, 1.0, 0.1) {
        Finding::new(Verdict::Holds, "Both are as much computing power.")
    } else {
        Finding::new(
            Verdict::ContradictsItself,
            "Two persons quoted in one article name different cards for the same thing.",
        )
    };
    let step = format!("ratio of the dense FP16 tensor peaks: {}", number(ratio));
    Ok(finding.step(first).step(second).step(step))
}

fn release(facts: &Facts) -> Result<Finding, FigureError> {
    let date = |id: &str| -> Result<_, FigureError> {
        facts.figure(id)?.date.ok_or_else(|| FigureError::Unit {
            id: id.to_owned(),
            found: "a value".to_owned(),
            needed: "a date",
        })
    };
    let (said, announced) = (date("A36")?, date("R10")?);
    let days = (said - announced).get_days();
    let finding = if days == 0 {
        Finding::new(Verdict::Holds, "The date is that of the announcement.")
    } else {
        Finding::new(
            Verdict::DoesNotHold,
            "The card was announced on another day; the article seems to mean a later conference of the vendor.",
        )
    };
    Ok(finding.step(format!(
        "{said} in the article; {announced} by the vendor: {days} days apart"
    )))
}

fn improvements(facts: &Facts) -> Result<Finding, FigureError> {
    let ratio = |kind| -> Result<f64, FigureError> {
        Ok(facts.stated(H100[0], kind)? / facts.stated(A100, kind)?)
    };
    let (double, single) = (ratio(FigureKind::Fp64)?, ratio(FigureKind::Fp32)?);
    let said_double = facts.number("A33", "times")?;
    let said = facts.number("A34", "times")?;
    let over_cpu = facts.number("A35", "times")?;
    let of_dpx = facts.number("R11", "times")?;
    let best = facts
        .datasheet(A100)?
        .figures
        .keys()
        .filter(|kind| NumberFormat::of_figure(**kind).is_some())
        .filter_map(|kind| ratio(*kind).ok())
        .fold(0.0, f64::max);
    // "Up by 3 times" is said of 3.4 to 3.5.
    let double_holds = close(said_double, double, 0.2);
    let finding = if said <= best * 1.1 {
        Finding::new(
            Verdict::Holds,
            "The datasheets have a peak that rose as much.",
        )
    } else if close(said, of_dpx, 0.05) {
        Finding::new(
            Verdict::Conflation,
            "No peak rose that much. The figure is that of new instructions for dynamic programming, of which the article's other figure speaks as well.",
        )
    } else {
        Finding::new(
            Verdict::DoesNotHold,
            "Neither a peak nor the instructions for dynamic programming rose that much.",
        )
    };
    Ok(finding
        .and_if(!double_holds, Verdict::DoesNotHold)
        .step(format!(
            "datasheets, SXM cards: FP64 × {}, FP32 × {}, at most × {}; said: FP64 × {}, \"performance\" × {}",
            number(double),
            number(single),
            number(best),
            number(said_double),
            number(said)
        ))
        .step(format!(
            "vendor: dynamic programming × {} over the predecessor; article: × {} over CPUs",
            number(of_dpx),
            number(over_cpu)
        )))
}

/// Which datasheets state a rate within one percent.
fn with_peak(
    facts: &Facts,
    ids: &[&'static str],
    said: ComputeRate,
) -> Result<Vec<&'static str>, FigureError> {
    let mut fitting = Vec::new();
    for id in ids {
        if close(said.rate.low / facts.peak(id, FigureKind::Fp32)?, 1.0, 0.01) {
            fitting.push(*id);
        }
    }
    Ok(fitting)
}

/// All of them, some or none.
fn label(fitting: usize, all: usize, trap: &str) -> Finding {
    if fitting == all {
        Finding::new(Verdict::Holds, "It is true of every product of that name.")
    } else if fitting > 0 {
        Finding::new(Verdict::LabelTrap, trap)
    } else {
        Finding::new(
            Verdict::DoesNotHold,
            "No product of that name has this figure.",
        )
    }
}

fn products(facts: &Facts, ids: &[&'static str]) -> Result<String, FigureError> {
    let mut texts = Vec::new();
    for id in ids {
        texts.push(format!(
            "{id} {}, {}",
            teraflops(facts.peak(id, FigureKind::Fp32)?),
            power(Span::of(facts.board_power(id)?))
        ));
    }
    Ok(texts.join("; "))
}

fn which_h100(facts: &Facts) -> Result<Finding, FigureError> {
    let said = facts.rate("A32")?;
    let watts = facts.power("B10")?;
    let mut fitting = Vec::new();
    for id in with_peak(facts, &H100, said)? {
        if close(watts / facts.board_power(id)?, 1.0, 0.01) {
            fitting.push(id);
        }
    }
    let trap = "Rate and power are those of one form of the H100; the others have less of both.";
    Ok(label(fitting.len(), H100.len(), trap)
        .step(format!(
            "said: {} {}, {}",
            rate(said.rate),
            format_of(said),
            power(Span::of(watts))
        ))
        .step(format!("datasheets, FP32: {}", products(facts, &H100)?))
        .step(format!("fits: {}", or_none(&fitting))))
}

fn which_siyuan(facts: &Facts) -> Result<Finding, FigureError> {
    let said = facts.rate("A38")?;
    let fitting = with_peak(facts, &SIYUAN_370, said)?;
    let trap = "The figure is that of the small cards, and below the A100's. Their nominal FLOPS per watt are not alike: a card of 75 W beside modules of 400 and 700 W.";
    let mut finding = label(fitting.len(), SIYUAN_370.len(), trap)
        .step(format!(
            "said: {} {}; the A100: {}",
            rate(said.rate),
            format_of(said),
            rate(facts.rate("A30")?.rate)
        ))
        .step(format!(
            "datasheets, FP32: {}",
            products(facts, &SIYUAN_370)?
        ))
        .step(format!("fits: {}", or_none(&fitting)));
    let mut per_watt = Vec::new();
    if let Some(card) = fitting.first() {
        per_watt.push(format!(
            "{card} {}",
            per_watt_of(said.rate.low, facts.board_power(card)?)
        ));
    }
    for id in [A100, H100[0]] {
        let peak = facts.peak(id, FigureKind::Fp32)?;
        per_watt.push(format!(
            "{id} {}",
            per_watt_of(peak, facts.board_power(id)?)
        ));
    }
    finding = finding.step(format!("FP32 peak ÷ board power: {}", per_watt.join("; ")));
    Ok(finding)
}

fn per_watt_of(peak: FlopPerSecond, power: Watts) -> String {
    let gigaflops = peak / FlopPerSecond::from(Gflops(1.0));
    range(Span::of(gigaflops / power.0), "GFLOPS/W")
}

fn format_of(rate: ComputeRate) -> String {
    rate.format.map_or_else(
        || "(precision not stated)".to_owned(),
        |format| format.to_string(),
    )
}

fn or_none(ids: &[&str]) -> String {
    if ids.is_empty() {
        "none".to_owned()
    } else {
        ids.join(", ")
    }
}

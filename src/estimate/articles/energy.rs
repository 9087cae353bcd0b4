//! Electricity: of ChatGPT, of the world's AI, of cards and of households.

use super::check::Definition;
use super::check::{Finding, Verdict};
use super::figures::{Facts, FigureError, close};
use crate::estimate::Span;
use crate::estimate::text::{energy, money, number, power, range};
use crate::units::{Joules, KilowattHours, Seconds, Watts};

const DAY: Seconds = Seconds(86_400.0);
const YEAR: Seconds = Seconds(365.0 * 86_400.0);

pub(super) const CHECKS: &[Definition] = &[
    Definition {
        id: "C01",
        subject: "ChatGPT's electricity in a day",
        figures: &["A09", "A10", "B04"],
        judge: daily_electricity,
    },
    Definition {
        id: "C02",
        subject: "power of one of ChatGPT's servers",
        figures: &["A07", "A08", "A09", "A10", "R01"],
        judge: power_of_a_server,
    },
    Definition {
        id: "C03",
        subject: "energy of a request to ChatGPT",
        figures: &["A09", "A10", "B03", "B04", "R04"],
        judge: energy_of_a_request,
    },
    Definition {
        id: "C04",
        subject: "households that use as much as ChatGPT",
        figures: &["B04", "B05", "R05"],
        judge: households,
    },
    Definition {
        id: "C05",
        subject: "an H100 against a household",
        figures: &["B04", "B05", "B10", "B11"],
        judge: card_and_household,
    },
    Definition {
        id: "C18",
        subject: "electricity of the world's AI in 2027",
        figures: &["B01", "B02", "R01", "R02", "R03"],
        judge: world_in_2027,
    },
    Definition {
        id: "C20",
        subject: "all H100 cards against a large city",
        figures: &["B04", "B05", "B10", "B14", "B15", "B22", "R13", "R14"],
        judge: cards_and_city,
    },
    Definition {
        id: "C21",
        subject: "power supplies of servers",
        figures: &["B08", "B09", "R01"],
        judge: power_supplies,
    },
];

/// Energy of a day that the bill of article A pays for.
fn billed(facts: &Facts) -> Result<Joules, FigureError> {
    let bill = facts.money("A10", "/day")?;
    Ok(facts.tariff("A09")?.energy(bill)?.low)
}

/// Energy of a day according to article B.
fn claimed(facts: &Facts) -> Result<Joules, FigureError> {
    let (energy, period) = facts.energy_per("B04")?;
    Ok(energy.low * (DAY / period))
}

fn kwh(energy: Joules) -> String {
    format!("{} kWh", number(KilowattHours::from(energy).0))
}

fn watts(value: Watts) -> String {
    power(Span::of(value))
}

fn daily_electricity(facts: &Facts) -> Result<Finding, FigureError> {
    let (a, b) = (billed(facts)?, claimed(facts)?);
    let bill = facts.money("A10", "/day")?;
    let tariff = facts.tariff("A09")?;
    let back = tariff.cost(Span::of(b));
    let finding = if close(a / b, 1.0, 0.05) {
        Finding::new(Verdict::Holds, "Both articles lead to the same energy.")
    } else {
        Finding::new(
            Verdict::ArticlesDisagree,
            "Two independent estimates, one of them a lower bound. Both stand; neither their mean nor a merger of them would be anybody's figure.",
        )
    };
    Ok(finding
        .step(format!(
            "A: {}/day ÷ {}/kWh = {}/day = {} on average",
            money(bill),
            money(tariff.per_kwh),
            kwh(a),
            watts(a / DAY)
        ))
        .step(format!("B: more than {}/day = {}", kwh(b), watts(b / DAY)))
        .step(format!(
            "A ÷ B = {}; at A's price B's energy costs {}/day",
            number(a / b),
            money(back)
        )))
}

fn power_of_a_server(facts: &Facts) -> Result<Finding, FigureError> {
    let servers = facts.number("A08", "servers")?;
    let each = billed(facts)? / DAY / servers;
    let most = facts.power("R01")?;
    let investment = facts.money("A07", "")?;
    let price = investment.times(Span::of(1.0 / servers));
    let finding = if close(each / most, 1.0, 0.02) {
        Finding::new(
            Verdict::HoldsIfAssumed,
            "This is the highest power of a server with eight A100: all servers at full load day and night, and nothing for cooling (PUE 1).",
        )
    } else if each < most {
        Finding::new(
            Verdict::Holds,
            "Less than a server with eight A100 draws at most: possible at part load.",
        )
    } else {
        Finding::new(
            Verdict::DoesNotHold,
            "More than a server with eight A100 can draw, unless cooling is counted in.",
        )
    };
    Ok(finding
        .step(format!(
            "{}/day ÷ {} servers ÷ 24 h = {}; a DGX A100 draws {} at most",
            kwh(billed(facts)?),
            number(servers),
            watts(each),
            watts(most)
        ))
        .step(format!(
            "{} ÷ {} servers = {} each",
            money(investment),
            number(servers),
            money(price)
        )))
}

fn energy_of_a_request(facts: &Facts) -> Result<Finding, FigureError> {
    let requests = facts.number("B03", "requests/day")?;
    let each = claimed(facts)? / requests;
    let other = billed(facts)? / requests;
    let published = Joules::from(KilowattHours(facts.number("R04", "Wh/request")? / 1e3));
    let finding = if (0.5..=2.0).contains(&(each / published)) {
        Finding::new(
            Verdict::Holds,
            "The two figures of article B fit each other: the quotient is within a factor of two of the published estimate.",
        )
    } else {
        Finding::new(
            Verdict::DoesNotHold,
            "The quotient is more than a factor of two away from the published estimate.",
        )
    };
    Ok(finding
        .step(format!(
            "{} ÷ {} requests = {} = {} J a request; published: {}",
            kwh(claimed(facts)?),
            number(requests),
            energy(Span::of(each)),
            number(each.0),
            energy(Span::of(published))
        ))
        .step(format!(
            "with article A's energy instead: {}",
            energy(Span::of(other))
        )))
}

/// Energy of a day of one of article B's households.
fn household(facts: &Facts) -> Result<Joules, FigureError> {
    Ok(claimed(facts)? / facts.number("B05", "households")?)
}

fn households(facts: &Facts) -> Result<Finding, FigureError> {
    let day = household(facts)?;
    let year = day * (YEAR / DAY);
    let published = Joules::from(KilowattHours(facts.number("R05", "kWh/year")?));
    let finding = if close(year / published, 1.0, 0.1) {
        Finding::new(
            Verdict::Holds,
            "Within a tenth of what a US household uses according to the statistics.",
        )
    } else {
        Finding::new(
            Verdict::DoesNotHold,
            "More than a tenth away from what a US household uses.",
        )
    };
    Ok(finding.step(format!(
        "{} ÷ {} households = {} a day = {} a year = {} on average; statistics: {} a year",
        kwh(claimed(facts)?),
        number(facts.number("B05", "households")?),
        kwh(day),
        kwh(year),
        watts(day / DAY),
        kwh(published)
    )))
}

fn card_and_household(facts: &Facts) -> Result<Finding, FigureError> {
    let card = facts.power("B10")?;
    let home = household(facts)? / DAY;
    let finding = if card > home {
        Finding::new(
            Verdict::Holds,
            "The card's peak is above the mean power of the article's own household.",
        )
    } else {
        Finding::new(
            Verdict::ContradictsItself,
            "The article calls the card's power far above a household's, but its own US household uses more. It can be true of smaller households only.",
        )
    };
    let sign = if card > home { ">" } else { "<" };
    Ok(finding.step(format!("{} {sign} {}", watts(card), watts(home))))
}

fn world_in_2027(facts: &Facts) -> Result<Finding, FigureError> {
    let (claim, period) = facts.energy_per("B01")?;
    let claim = claim.map(|energy| energy * (YEAR / period));
    let servers = facts.number("R03", "servers")?;
    let yearly = |id| -> Result<Joules, FigureError> { Ok(facts.power(id)? * servers * YEAR) };
    let (low, high) = (yearly("R01")?, yearly("R02")?);
    let share = facts.number("B02", "%")? / 100.0;
    let world = claim.high / share;
    let reproduced = close(low / claim.low, 1.0, 0.005) && close(high / claim.high, 1.0, 0.005);
    let finding = if reproduced {
        Finding::new(
            Verdict::HoldsIfAssumed,
            "The range is that of 1.5 million servers at their highest power all year: with eight A100 at its lower end, with eight H100 at its upper end.",
        )
    } else {
        Finding::new(
            Verdict::DoesNotHold,
            "The range is not that of 1.5 million servers at their highest power, from which the paper derives it.",
        )
    };
    let terawatt_hours = |joules: Joules| energy(Span::of(joules));
    Ok(finding
        .step(format!(
            "{} servers × {} × 8760 h = {}; × {} = {}",
            number(servers),
            watts(facts.power("R01")?),
            terawatt_hours(low),
            watts(facts.power("R02")?),
            terawatt_hours(high)
        ))
        .step(format!(
            "{} ÷ {} % = {} for the world, of which {} are {} %",
            terawatt_hours(claim.high),
            number(share * 100.0),
            terawatt_hours(world),
            terawatt_hours(claim.low),
            number(claim.low / world * 100.0)
        )))
}

fn cards_and_city(facts: &Facts) -> Result<Finding, FigureError> {
    let cards = facts.number("B14", "cards")?;
    let more = facts.number("B15", "times more")?;
    let before = facts.power("B10")? * cards;
    // "Two times more" is three times as much if taken literally.
    let after = before * (1.0 + more);
    let persons = facts.number("R14", "persons/household")?;
    let home = household(facts)? / DAY;
    let inhabitants = |power: Watts| power / home * persons;
    let large = facts.number("R13", "inhabitants")?;
    let finding = if inhabitants(before) >= large {
        Finding::new(
            Verdict::Holds,
            "Already the cards of one year are a large city.",
        )
    } else if inhabitants(after) >= large {
        Finding::new(
            Verdict::HoldsIfAssumed,
            "Only once the shipments have grown as announced, if every card then runs at its peak all year, and only against the homes of the city, without its trade and industry. Servers and cooling are left out.",
        )
    } else {
        Finding::new(
            Verdict::DoesNotHold,
            "The cards stay below the homes of a large city.",
        )
    };
    let line = |label: &str, power: Watts| {
        format!(
            "{label} = {} = {} a year = {} inhabitants' homes",
            watts(power),
            energy(Span::of(power * YEAR)),
            number(inhabitants(power))
        )
    };
    let peak = watts(facts.power("B10")?);
    Ok(finding
        .step(line(&format!("{} cards × {peak}", number(cards)), before))
        .step(line(&format!("× {}", number(1.0 + more)), after))
        .step(line(
            &format!("× {}, as often meant", number(more)),
            before * more,
        ))
        .step(format!("a large city: from {} inhabitants", number(large))))
}

fn power_supplies(facts: &Facts) -> Result<Finding, FigureError> {
    let total = |id| -> Result<Watts, FigureError> {
        Ok(facts.power(id)? * facts.figure(id)?.count.unwrap_or(1.0))
    };
    let (ai, general) = (total("B08")?, total("B09")?);
    let most = facts.power("R01")?;
    let finding = if ai > most {
        Finding::new(
            Verdict::LabelTrap,
            "What supplies could deliver, spare ones included, is no consumption: together they exceed what a server with eight A100 draws at most.",
        )
    } else {
        Finding::new(
            Verdict::Holds,
            "The supplies stay below what a server with eight A100 draws at most.",
        )
    };
    Ok(finding.step(format!(
        "{} against {}: {} times; a DGX A100 draws {} at most",
        watts(ai),
        watts(general),
        range(Span::of(ai / general), ""),
        watts(most)
    )))
}

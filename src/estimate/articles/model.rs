//! Models: their training and their size.

use super::check::Definition;
use super::check::{Finding, Verdict};
use super::figures::{Facts, FigureError, close};
use crate::estimate::text::{number, range, rate, work};
use crate::estimate::{Amount, Span};
use crate::units::{Flop, Seconds};

pub(super) const CHECKS: &[Definition] = &[
    Definition {
        id: "C06",
        subject: "operations to train GPT-3, and PFLOPS against PFLOPS-days",
        figures: &["A19", "A20", "A57a", "R06"],
        judge: training_work,
    },
    Definition {
        id: "C23",
        subject: "height of the printed parameters",
        figures: &["A15", "A16", "R15", "R16"],
        judge: printed_parameters,
    },
    Definition {
        id: "C24",
        subject: "ChatGPT or GPT-3",
        figures: &["A12", "A13", "A15", "R07", "R08", "R09"],
        judge: which_model,
    },
];

fn training_work(facts: &Facts) -> Result<Finding, FigureError> {
    let said = facts.rate("A19")?;
    let days = facts.number("A20", "days")?;
    let total = said.rate.low * Seconds(days * 86_400.0);
    let published = facts.work("R06")?;
    let centre = facts.rate("A57a")?;
    let against = Amount::Work(Span::of(total)).over(Amount::Rate(centre));
    let finding = if close(total / published, 1.0, 0.01) {
        Finding::new(
            Verdict::Holds,
            "The product is the published total of GPT-3. It is work; the articles' PFLOPS of centres are rates, and the number of one over that of the other means nothing.",
        )
    } else {
        Finding::new(
            Verdict::DoesNotHold,
            "The product is not the published total of GPT-3.",
        )
    };
    let compared = match against {
        Ok(ratio) => range(ratio, "times"),
        Err(error) => error.to_string(),
    };
    let shenzhen = range(centre.rate.map(|rate| rate.0 / 1e15), "PFLOPS");
    let time = Span::of(total) / centre.rate;
    Ok(finding
        .and_if(against.is_err(), Verdict::CategoryError)
        .and_if(said.format.is_none(), Verdict::PrecisionNotStated)
        .step(format!(
            "{} × {} days × 86 400 s = {} = {} PFLOPS-days; published: {}",
            rate(said.rate),
            number(days),
            work(Span::of(total)),
            number(total / PFLOPS_DAY),
            work(Span::of(published))
        ))
        .step(format!("against Shenzhen's {shenzhen}: {compared}"))
        .step(format!(
            "as a time: all of Shenzhen's nominal rate for {} days",
            number(time.low.0 / 86_400.0)
        )))
}

/// 10¹⁵ FLOP/s for 86 400 s.
const PFLOPS_DAY: Flop = Flop(8.64e19);

fn printed_parameters(facts: &Facts) -> Result<Finding, FigureError> {
    let parameters = facts.number("A15", "parameters")?;
    let height = facts.number("A16", "m")?;
    let sheets = height / facts.number("R15", "m")?;
    let each = parameters / sheets;
    let most = facts.number("R16", "parameters/sheet")?;
    let finding = if each > most {
        Finding::new(
            Verdict::BoundOnly,
            "No sheet holds that many, so the stack is higher than said: \"exceeds\" is true, and says little.",
        )
    } else {
        Finding::new(
            Verdict::DoesNotHold,
            "So many fit on a sheet: the stack need not exceed the height.",
        )
    };
    Ok(finding.step(format!(
        "{} m = {} sheets, so {} parameters on each; a sheet holds {} at most",
        number(height),
        number(sheets),
        number(each),
        number(most)
    )))
}

fn which_model(facts: &Facts) -> Result<Finding, FigureError> {
    let pair = |said, published, unit| -> Result<(f64, f64), FigureError> {
        Ok((facts.number(said, unit)?, facts.number(published, unit)?))
    };
    let (parameters, of_gpt3) = pair("A15", "R09", "parameters")?;
    let (text, raw) = pair("A12", "R08", "TB")?;
    let words = facts.number("A13", "words")?;
    let tokens = facts.number("R07", "tokens")?;
    let is_gpt3 = close(parameters, of_gpt3, 0.01) && close(text, raw, 0.01);
    let finding = if is_gpt3 {
        Finding::new(
            Verdict::Conflation,
            "Parameters and raw text are those of GPT-3, and the article gives them to ChatGPT.",
        )
    } else {
        Finding::new(Verdict::Holds, "The figures are not those of GPT-3.")
    };
    // A word is about one token and a third.
    let too_many = words > 1.5 * tokens;
    Ok(finding
        .and_if(is_gpt3 && too_many, Verdict::DoesNotHold)
        .step(format!(
            "said of ChatGPT: {} parameters, {} TB; GPT-3: {} parameters, {} TB before filtering",
            number(parameters),
            number(text),
            number(of_gpt3),
            number(raw)
        ))
        .step(format!(
            "said: {} words; GPT-3 was trained on {} tokens: {} times as many",
            number(words),
            number(tokens),
            number(words / tokens)
        )))
}

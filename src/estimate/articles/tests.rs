use serde_json::{Value, json};

use super::*;

/// The verdicts of a check after the field of a figure has been replaced.
fn verdicts(id: &str, changes: &[(&str, &str, Value)]) -> Vec<Verdict> {
    let mut document = serde_json::to_value(Articles::builtin()).unwrap();
    for (figure, field, value) in changes {
        let lists = ["figures", "references"];
        let rows = lists.map(|list| document[list].as_array().unwrap().iter());
        let place = rows
            .into_iter()
            .zip(lists)
            .find_map(|(mut rows, list)| Some((list, rows.position(|row| row["id"] == *figure)?)));
        let (list, index) = place.unwrap_or_else(|| panic!("there is no {figure}"));
        document[list][index][*field] = value.clone();
    }
    let articles = Articles::from_json(&document.to_string(), std::path::Path::new("x")).unwrap();
    let checks = check(&articles, Catalogue::builtin()).unwrap();
    let found = checks.into_iter().find(|check| check.id == id);
    found.unwrap().finding.verdicts
}

#[test]
fn the_figures_are_all_there_with_their_words() {
    let articles = Articles::builtin();
    assert_eq!(articles.figures().count(), 90);
    for figure in articles.figures() {
        assert!(figure.quotation.is_some(), "{}", figure.id);
        assert!(figure.source.starts_with("article_"), "{}", figure.id);
    }
    for source in articles.sources().keys() {
        let mut cited = articles.figures().chain(articles.references());
        assert!(cited.any(|figure| figure.source == *source), "{source}");
    }
}

#[test]
fn there_are_24_checks_of_figures_that_exist() {
    let checks = check(Articles::builtin(), Catalogue::builtin()).unwrap();
    let ids: Vec<_> = checks.iter().map(|check| check.id.to_owned()).collect();
    let expected: Vec<_> = (1..=24).map(|n| format!("C{n:02}")).collect();
    assert_eq!(ids, expected);
    for check in &checks {
        assert!(!check.finding.verdicts.is_empty() && !check.finding.calculation.is_empty());
        for id in check.figures {
            assert!(
                Articles::builtin().get(id).is_some(),
                "{id} of {}",
                check.id
            );
        }
    }
}

#[test]
fn verdicts_follow_from_the_figures() {
    use Verdict::*;
    type Change = (&'static str, &'static str, Value);
    type Case = (&'static str, Vec<Verdict>, Vec<Change>, Vec<Verdict>);
    let value = |id, value: Value| -> Change { (id, "value", value) };
    let cases: Vec<Case> = vec![
        // 40 000 ÷ 0.08 = 500 000 kWh, as in article B.
        (
            "C01",
            vec![ArticlesDisagree],
            vec![value("A10", json!(40_000))],
            vec![Holds],
        ),
        // Half of the power for each of twice as many servers.
        (
            "C02",
            vec![HoldsIfAssumed],
            vec![value("A08", json!(8_000))],
            vec![Holds],
        ),
        (
            "C02",
            vec![HoldsIfAssumed],
            vec![value("A08", json!(2_000))],
            vec![DoesNotHold],
        ),
        // 0.025 Wh.
        (
            "C03",
            vec![Holds],
            vec![value("B03", json!(2e10))],
            vec![DoesNotHold],
        ),
        (
            "C04",
            vec![Holds],
            vec![value("B05", json!(34_000))],
            vec![DoesNotHold],
        ),
        // Above 1225 W.
        (
            "C05",
            vec![ContradictsItself],
            vec![value("B10", json!(1_300))],
            vec![Holds],
        ),
        (
            "C06",
            vec![Holds, CategoryError, PrecisionNotStated],
            vec![
                value("A20", json!(1_820)),
                ("A19", "precision", json!("FP16")),
            ],
            vec![DoesNotHold, CategoryError],
        ),
        // Electricity at the FP32 peak costs 133 500 USD.
        (
            "C07",
            vec![BoundOnly],
            vec![value("A11", json!(100_000))],
            vec![DoesNotHold],
        ),
        // 4006 × 312 = 10 000 × 125.
        (
            "C08",
            vec![ContradictsItself],
            vec![value("A29", json!({"at_least": 4_006}))],
            vec![Holds],
        ),
        (
            "C09",
            vec![Holds, PrecisionNotStated],
            vec![value("A24", json!(52.4))],
            vec![DoesNotHold, PrecisionNotStated],
        ),
        (
            "C09",
            vec![Holds, PrecisionNotStated],
            vec![
                ("A22", "precision", json!("FP16")),
                ("A23", "precision", json!("FP16")),
            ],
            vec![Holds],
        ),
        (
            "C10",
            vec![Holds],
            vec![value("A60", json!(1e17))],
            vec![DoesNotHold],
        ),
        (
            "C11",
            vec![CategoryError],
            vec![("A42", "precision", json!("FP16"))],
            vec![Holds],
        ),
        (
            "C11",
            vec![CategoryError],
            vec![("A42", "precision", json!(null))],
            vec![PrecisionNotStated],
        ),
        (
            "C12",
            vec![ContradictsItself, PrecisionNotStated],
            vec![value("A58", json!(40))],
            vec![Holds, PrecisionNotStated],
        ),
        (
            "C12",
            vec![ContradictsItself, PrecisionNotStated],
            vec![("A57a", "precision", json!("FP16"))],
            vec![CategoryError, PrecisionNotStated],
        ),
        (
            "C13",
            vec![DoesNotHold],
            vec![("A36", "date", json!("2022-03-22"))],
            vec![Holds],
        ),
        (
            "C14",
            vec![Conflation],
            vec![value("A34", json!(3.4))],
            vec![Holds],
        ),
        (
            "C14",
            vec![Conflation],
            vec![value("A34", json!(9))],
            vec![DoesNotHold],
        ),
        (
            "C14",
            vec![Conflation],
            vec![value("A33", json!(6))],
            vec![Conflation, DoesNotHold],
        ),
        (
            "C15",
            vec![LabelTrap],
            vec![value("A32", json!(60))],
            vec![DoesNotHold],
        ),
        (
            "C16",
            vec![LabelTrap],
            vec![value("A38", json!(30))],
            vec![DoesNotHold],
        ),
        (
            "C17",
            vec![ArticlesDisagree, Conflation],
            vec![value("B07", json!({"low": 5, "high": 7}))],
            vec![Holds],
        ),
        (
            "C17",
            vec![ArticlesDisagree, Conflation],
            vec![value("B07", json!(4))],
            vec![ArticlesDisagree],
        ),
        (
            "C18",
            vec![HoldsIfAssumed],
            vec![value("B01", json!({"low": 85.4, "high": 140}))],
            vec![DoesNotHold],
        ),
        // √1.7 = 1.304.
        (
            "C19",
            vec![ContradictsItself],
            vec![value("B17", json!({"at_least": 6.8e6}))],
            vec![Holds],
        ),
        (
            "C20",
            vec![HoldsIfAssumed],
            vec![value("B14", json!(43_000))],
            vec![DoesNotHold],
        ),
        (
            "C20",
            vec![HoldsIfAssumed],
            vec![value("B14", json!(860_000))],
            vec![Holds],
        ),
        // 4 × 1500 W.
        (
            "C21",
            vec![LabelTrap],
            vec![value("B08", json!(1_500))],
            vec![Holds],
        ),
        (
            "C22",
            vec![Holds],
            vec![value("A46", json!(2e7))],
            vec![ContradictsItself],
        ),
        // 158 a sheet.
        (
            "C23",
            vec![BoundOnly],
            vec![value("A15", json!(1e9))],
            vec![DoesNotHold],
        ),
        (
            "C24",
            vec![Conflation, DoesNotHold],
            vec![value("A13", json!(4e11))],
            vec![Conflation],
        ),
        (
            "C24",
            vec![Conflation, DoesNotHold],
            vec![value("A15", json!(1.76e12))],
            vec![Holds],
        ),
    ];
    for (id, before, changes, after) in cases {
        assert_eq!(verdicts(id, &[]), before, "{id}");
        assert_eq!(verdicts(id, &changes), after, "{id} with {changes:?}");
    }
}

#[test]
fn a_figure_in_another_unit_is_an_error_and_not_a_number() {
    let articles = serde_json::to_string(Articles::builtin()).unwrap();
    let changed = articles.replacen("\"USD/day\"", "\"CNY/day\"", 1);
    assert_ne!(articles, changed);
    let articles = Articles::from_json(&changed, std::path::Path::new("x")).unwrap();
    let error = check(&articles, Catalogue::builtin()).unwrap_err();
    insta::assert_snapshot!(error, @"CNY and USD cannot be mixed, and no rate of exchange is assumed: give both in one currency");
    let changed = serde_json::to_string(Articles::builtin())
        .unwrap()
        .replacen("\"servers\"", "\"racks\"", 1);
    let articles = Articles::from_json(&changed, std::path::Path::new("x")).unwrap();
    let error = check(&articles, Catalogue::builtin()).unwrap_err();
    insta::assert_snapshot!(error, @"figure A08 is in racks, and servers is needed");
}

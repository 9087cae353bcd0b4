use super::*;
use crate::datasheet::Catalogue;
use crate::kernel::inputs::Data;
use crate::measure::measurement::{Measurement, Status};
use crate::record::{Report, Traces};
use crate::render::fixture;
use crate::units::{Seconds, Watts};

/// What a page may weigh, in bytes.
const MOST_BYTES: usize = 1_000_000;

fn page_of(report: &Report, traces: Traces) -> String {
    let documents = Html.render(&[Run { report, traces }]);
    assert_eq!(documents.len(), 1);
    assert_eq!(documents[0].file, "report.html");
    documents[0].text.clone()
}

fn page(report: &Report) -> String {
    page_of(report, Traces::new())
}

fn metered() -> String {
    let (report, traces) = fixture::metered();
    page_of(&report, traces)
}

/// Where each of the texts begins, in this order.
fn assert_in_order(text: &str, parts: &[&str]) {
    let mut rest = text;
    for part in parts {
        let at = rest.find(part);
        let at = at.unwrap_or_else(|| panic!("{part} is missing, or before the one above"));
        rest = &rest[at..];
    }
}

#[test]
fn the_page_goes_from_the_verdict_to_where_it_comes_from() {
    let parts = [
        "Testcard 0 reached 39268 GFLOP/s with matrix products in f16-f32acc",
        "of its measured ceiling",
        "Achieved, measured ceiling, datasheet peak",
        "<svg class=\"chart wide\"",
        "Roofline</h2>",
        "data-id=\"matmul/f32/register/4096x4096x4096\"",
        "Rate per watt",
        "85.9 ± 5.0 GFLOP/s per W",
        "Power over time",
        "class=\"window\"",
        "All cases</h2>",
        "status-rejected",
        "Where this comes from",
        "flopwatt run --power nvml:0",
        "power updates every 100 ms",
        "Testcard 0, FP32: 70 TFLOP/s (vendor)",
    ];
    assert_in_order(&metered(), &parts);
}

#[test]
fn power_that_is_missing_is_missing_with_its_reason() {
    let text = page(&fixture::report());
    assert!(text.contains("not measured: this version measures no power"));
    assert!(text.contains("There is no trace of power: no power was measured."));
    assert!(!text.contains(">0 W") && !text.contains(">0 GFLOP/s"));
    let metered = metered();
    assert!(metered.contains("not measured: the device worked for 61 % of the windows"));
}

#[test]
fn every_string_of_a_report_is_text() {
    let hostile = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u{202e}\u{1b}[31m";
    let (mut report, traces) = fixture::metered();
    report.adapter.name = hostile.into();
    report.adapter.driver = hostile.into();
    report.adapter.driver_info = hostile.into();
    report.host.name = hostile.into();
    report.command = vec![hostile.into()];
    report.data = Data::Normal;
    report.shaders.hash = hostile.into();
    for measurement in &mut report.measurements {
        measurement.variant = hostile.into();
        let reasons = [&mut measurement.reason, &mut measurement.power_reason];
        for reason in reasons.into_iter().flatten() {
            reason.message = hostile.into();
        }
        measurement.chosen = Some(hostile.into());
    }
    for index in [3, 5] {
        report.measurements[index].id = hostile.into();
    }
    let setup = report.power.as_mut().unwrap();
    setup.source.as_mut().unwrap().device = hostile.into();
    let sheet = report.datasheet.as_mut().unwrap();
    sheet.name = hostile.into();
    for figure in sheet.figures.values_mut() {
        figure.sources = vec![hostile.into()];
    }
    let text = page_of(&report, traces);
    assert!(text.contains("&lt;script&gt;"));
    assert_eq!(text.matches("<script").count(), 1, "the page's own");
    assert!(!text.contains("<img"));
    assert!(!text.contains(['\u{202e}', '\u{1b}']));
}

#[test]
fn nothing_is_fetched_from_anywhere() {
    let text = metered();
    assert!(text.contains("content=\"default-src 'none'; "));
    for fetching in ["src=", "<link", "@import", "url(", "srcset"] {
        let body = text.split_once("</style>").unwrap().1;
        let body = body.split_once("<script>").unwrap().0;
        assert!(!body.contains(fetching), "{fetching}");
    }
    assert!(!STYLE.contains("url(") && !STYLE.contains("@import"));
}

/// The policy names the style and the script by what is between their tags.
#[test]
fn style_and_script_are_those_of_the_policy() {
    let text = page(&fixture::report());
    let between = |open: &str, close: &str| {
        let rest = text.split_once(open).unwrap().1;
        rest.split_once(close).unwrap().0
    };
    for (open, close) in [("<style>", "</style>"), ("<script>", "</script>")] {
        let hash = hash(between(open, close));
        assert!(text.contains(&hash), "{open}: {hash}");
    }
    assert!(!text.contains("style=\""), "the policy forbids it");
}

#[test]
fn only_web_pages_become_links() {
    let (mut report, _) = fixture::metered();
    report.datasheet = Catalogue::builtin().get("nvidia-h100-sxm5").cloned();
    let text = page(&report);
    assert!(text.contains("<a href=\"https:"), "sources are linked");
    for link in text.split("href=\"").skip(1) {
        let is_page = link.starts_with('#') || link.starts_with("http");
        assert!(is_page, "{}", &link[..20]);
    }
}

#[test]
fn reports_of_little_make_a_page() {
    let changes: [fn(&mut Report); 5] = [
        |report| report.measurements.clear(),
        |report| report.measurements.retain(|m| m.status != Status::Ok),
        |report| report.measurements.truncate(1),
        |report| {
            report.datasheet = None;
            report.datasheet_reason = Some("nobody made it".into());
        },
        |report| report.measurements.retain(|m| m.id.starts_with("latency")),
    ];
    for change in changes {
        let mut report = fixture::report();
        change(&mut report);
        let text = page(&report);
        assert!(text.ends_with("</html>\n"));
        assert!(
            !text.contains("=\"NaN") && !text.contains("=\"inf"),
            "{text}"
        );
    }
}

#[test]
fn integer_operations_are_no_flops() {
    let text = metered();
    assert!(text.contains("54976 GOP/s"), "4096³ in 2.5 ms");
    assert!(text.contains("GFLOP/s; GOP/s for integers"));
    assert!(text.contains("GOP/s for diamonds"));
}

#[test]
fn several_reports_stand_side_by_side_with_ids_of_their_own() {
    let reports = [fixture::report(), fixture::slower("Testcard 1")];
    let documents = Html.render(&fixture::runs(&reports));
    let text = &documents[0].text;
    assert_in_order(
        text,
        &[
            "Side by side",
            "href=\"#report-2\"",
            "60200",
            "id=\"report-1\"",
            "id=\"report-2\"",
        ],
    );
    let ids: Vec<&str> = text
        .split(" id=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), ids.len());
}

#[test]
fn variations_have_their_tables() {
    let mut report = fixture::report();
    let at = |watts, gflops: f64, of: &Measurement| {
        let mut own = of.clone();
        own.power_limit_w = Some(Watts(watts));
        own.gflops.as_mut().unwrap().median.0 = gflops;
        own
    };
    let matmul = report.measurements[3].clone();
    let mut zeros = report.measurements[4].clone();
    zeros.data = Data::Zeros;
    report.measurements.push(zeros);
    report.measurements.push(at(300.0, 30_000.0, &matmul));
    report.measurements.push(at(200.0, 20_000.0, &matmul));
    let text = page(&report);
    assert_in_order(
        &text,
        &["By power limit", "300 W", "By input data", "zeros"],
    );
}

/// A report of two hundred metered cases, each read 2000 times.
fn of_many_cases() -> (Report, Traces) {
    let (mut report, traces) = fixture::metered();
    let mut metered = report.measurements.iter();
    let metered = metered.find(|m| m.id.starts_with("matmul/f32")).unwrap();
    let metered = metered.clone();
    let readings = &traces[&metered.name()];
    let reading = |i: usize| {
        let mut point = readings[i % readings.len()];
        point.time_s = Seconds(i as f64 * 0.05);
        point.window = (200..900).contains(&i).then_some(1);
        point.power_w = Some(Watts(300.0 + (i * 7919 % 101) as f64));
        point.sm_clock_mhz = Some(1500 + (i * 104_729 % 307) as u32);
        point
    };
    let long: Vec<_> = (0..2000).map(reading).collect();
    let mut traces = Traces::new();
    for size in 0..200 {
        let mut own = metered.clone();
        own.id = format!("matmul/f32/register/{0}x{0}x{0}", 4096 + size);
        own.work = Some(137_438_953_472 + 1_000_000_000 * size);
        traces.insert(own.name(), long.clone());
        report.measurements.push(own);
    }
    (report, traces)
}

#[test]
fn a_page_of_many_cases_and_traces_stays_small() {
    let (report, traces) = of_many_cases();
    let text = page_of(&report, traces);
    assert!(text.len() < MOST_BYTES, "{} bytes", text.len());
    // Six of the card's own have no trace here.
    assert!(text.contains("184 further traces lie beside the report"));
    assert!(text.contains("85 further cases are in the table alone."));
}

/// Tables of all cases alone take more than half of what a page may weigh.
#[test]
fn a_page_of_three_such_reports_has_fewer_charts() {
    let (report, traces) = of_many_cases();
    let one = page_of(&report, traces.clone()).len();
    let run = Run {
        report: &report,
        traces,
    };
    let three = vec![run; 3];
    let text = &Html.render(&three)[0].text;
    assert!(text.len() < 2 * one, "{} bytes against {one}", text.len());
}

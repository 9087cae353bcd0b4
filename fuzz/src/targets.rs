//! What each kind of input is put through, and what must hold whatever it is: no
//! panic, and either an error that names the place or output that is safe.

use std::fmt::Display;
use std::path::{Component, Path};
use std::sync::LazyLock;

use clap::{Parser, ValueEnum};
use flopwatt::codegen;
use flopwatt::codegen::survey::{Shader, Survey};
use flopwatt::commands::Cli;
use flopwatt::compare::{self, Comparison};
use flopwatt::datasheet::{Catalogue, PeakKind};
use flopwatt::estimate::{self, Assumptions, Device, Hardware, Workloads};
use flopwatt::gate::Accepted;
use flopwatt::kernel::inputs::Draw;
use flopwatt::kernel::problem::problem;
use flopwatt::kernel::program::Program;
use flopwatt::kernel::select;
use flopwatt::record::{self, Report, Traces};
use flopwatt::render::{self, Document, Format, Renderer, Run, SortField, comparison};
use flopwatt::session::WorkerError;
use flopwatt::session::protocol::{Event, Request};

/// Something that reads input.
pub type Target = fn(&[u8]);

/// All of them, by the names of their corpora.
pub const ALL: [(&str, Target); 8] = [
    ("reports", reports),
    ("traces", traces),
    ("datasheets", datasheets),
    ("workloads", workloads),
    ("accepted", accepted),
    ("surveys", surveys),
    ("arguments", arguments),
    ("events", events),
];

/// A report with everything in it, of which some targets change a part.
static REPORT: LazyLock<Report> = LazyLock::new(|| {
    let text = include_str!("../corpus/reports/metered.json");
    record::from_json(text, Path::new("metered.json")).expect("the corpus has one")
});

/// A report's file: every format, sorting, comparing, estimates.
pub fn reports(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let report = match record::from_json(text, Path::new("report.json")) {
        Ok(report) => report,
        Err(error) => return names(&error, "report.json"),
    };
    stays_inside(&record::folder_name(&report), 1);
    for measurement in &report.measurements {
        stays_inside(&record::trace_name(measurement), 2);
    }
    let mut other = record::anonymise(report.clone(), 1);
    let field: SortField = "gflops_median".parse().expect("a column");
    field.sort_cases(&mut other);
    let reports = [report, other];
    let run = |report| Run {
        report,
        traces: Traces::new(),
    };
    // Alone or beside another, which takes longer.
    let runs: Vec<Run> = reports.iter().map(run).take(1 + data.len() % 2).collect();
    for &format in Format::value_variants() {
        let documents = render::renderer(format).render(&runs);
        documents.iter().for_each(|d| is_safe(d, &runs));
    }
    render::pages(&runs).iter().for_each(|d| is_safe(d, &runs));
    compared(&compare::reports(&reports[0], &reports[1], None));
    for asked in [None, Some("f32"), Some("i8-i32acc")] {
        if let Ok(device) = estimate::measured(&reports[0], asked) {
            estimated(Workloads::builtin(), &device, Catalogue::builtin());
        }
    }
}

/// The readings beside a report, which charts show.
pub fn traces(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let points = match record::trace_points(text) {
        Ok(points) => points,
        Err(error) => return names(&error, ""),
    };
    let report = &*REPORT;
    let names = report.measurements.iter().map(|m| m.name());
    let traces = names.map(|name| (name, points.clone())).collect();
    let runs = [Run { report, traces }];
    let documents = render::Svg.render(&runs);
    documents.iter().for_each(|d| is_safe(d, &runs));
}

/// A file of datasheets: matching, peaks, estimates.
pub fn datasheets(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let catalogue = match Catalogue::from_json(text, Path::new("datasheets.json")) {
        Ok(catalogue) => catalogue,
        Err(error) => return names(&error, "datasheets.json:"),
    };
    for sheet in catalogue.datasheets() {
        catalogue.find(&sheet.name);
        catalogue.nearest(&sheet.id, 3);
        sheet.rated_power();
        for kind in PeakKind::ALL {
            sheet.peak(kind);
        }
        let mut adapter = REPORT.adapter.clone();
        adapter.name = sheet.names.first().cloned().unwrap_or_default();
        let _ = record::find_datasheet(&catalogue, &adapter, None);
        if let Ok(device) = estimate::stated(&catalogue, sheet, Some("fp32")) {
            estimated(Workloads::builtin(), &device, &catalogue);
        }
    }
    let again = serde_json::to_string(&catalogue).expect("keys are texts");
    assert!(Catalogue::from_json(&again, Path::new("again")).is_ok());
}

/// A file of workloads: what they come to on a device.
pub fn workloads(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let workloads = match Workloads::from_json(text, Path::new("workloads.json")) {
        Ok(workloads) => workloads,
        Err(error) => return names(&error, "workloads.json:"),
    };
    let catalogue = Catalogue::builtin();
    let sheet = catalogue.get("nvidia-h100-sxm5").expect("a built-in one");
    let device = estimate::stated(catalogue, sheet, Some("fp16_tensor")).expect("its peak");
    estimated(&workloads, &device, catalogue);
    let again = serde_json::to_string(&workloads).expect("keys are texts");
    assert!(Workloads::from_json(&again, Path::new("again")).is_ok());
}

/// A gate's list of accepted changes.
pub fn accepted(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    if let Err(why) = Accepted::parse(text) {
        assert!(!why.is_empty());
    }
}

/// What compilers made of kernels: a comparison with itself.
pub fn surveys(data: &[u8]) {
    if let Ok(survey) = serde_json::from_slice::<Survey>(data) {
        let titles = survey.shaders.iter().map(Shader::title);
        assert!(titles.into_iter().all(|title| !title.is_empty()));
        let comparison = codegen::compare::Comparison::of(&survey, &survey, true);
        assert!(serde_json::to_string(&comparison).is_ok());
    }
}

/// A command line, an argument a line; each line is also tried as a filter and as a
/// shape.
pub fn arguments(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let arguments = std::iter::once("flopwatt").chain(text.lines());
    if let Err(refused) = Cli::try_parse_from(arguments) {
        assert!(!refused.to_string().is_empty());
    }
    for line in text.lines().take(8) {
        let line = [line.to_owned()];
        for (filters, shapes) in [(&line[..], &[][..]), (&[], &line)] {
            let Ok(cases) = select::select(filters, shapes, false, true) else {
                continue;
            };
            for case in cases {
                assert_eq!(case.id.to_string().parse().as_ref(), Ok(&case.id));
                if let Some(problem) = problem(&case.id, Draw::normal(1)) {
                    problem.work(&NOTHING);
                    problem.reference_macs();
                }
            }
        }
    }
}

/// No program: what a problem is does not depend on one.
static NOTHING: LazyLock<Program> = LazyLock::new(|| Program {
    parameters: Default::default(),
    buffers: Vec::new(),
    passes: Vec::new(),
});

/// Lines that a worker, or whoever leads one, may send.
pub fn events(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut report = REPORT.clone();
    for line in text.lines() {
        if let Ok(request) = serde_json::from_str::<Request>(line) {
            assert!(serde_json::to_string(&request).is_ok());
        }
        let Ok(event) = serde_json::from_str::<Event>(line) else {
            continue;
        };
        assert!(!WorkerError::out_of_turn(&event).to_string().is_empty());
        if let Event::Done {
            measurement, trace, ..
        } = event
        {
            if let Some(trace) = trace {
                trace.csv();
            }
            report.push(*measurement);
        }
    }
    let runs = [Run {
        report: &report,
        traces: Traces::new(),
    }];
    for format in [Format::Table, Format::Csv, Format::Markdown] {
        let documents = render::renderer(format).render(&runs);
        documents.iter().for_each(|d| is_safe(d, &runs));
    }
}

/// An error starts with the name of what is wrong, and says more.
fn names(error: &dyn Display, name: &str) {
    let message = error.to_string();
    let rest = message.strip_prefix(name).unwrap_or_default();
    assert!(!rest.is_empty(), "{message}");
}

/// A path of so many parts, none of which leads out of where it starts.
fn stays_inside(path: &str, parts: usize) {
    let components: Vec<Component> = Path::new(path).components().collect();
    let is_name = |component: &Component| matches!(component, Component::Normal(_));
    assert!(components.iter().all(is_name), "{path}");
    assert_eq!(components.len(), parts, "{path}");
    assert!(!path.contains(['\\', '\0']), "{path}");
}

/// A document can be opened by whatever opens its kind.
fn is_safe(document: &Document, runs: &[Run]) {
    let Document { file, text } = document;
    stays_inside(file, 1 + file.matches('/').count());
    // JSON Lines of no case are no line.
    assert!(text.is_empty() || text.ends_with('\n'), "{file}");
    match file.rsplit_once('.').map_or("", |(_, kind)| kind) {
        "json" => drop(serde_json::from_str::<serde_json::Value>(text).expect("JSON")),
        "jsonl" => text.lines().for_each(|line| {
            serde_json::from_str::<serde_json::Value>(line).expect("JSON");
        }),
        "csv" => is_plain_table(text, runs),
        "svg" => is_xml(text),
        "html" => {
            has_no_controls(text);
            assert_eq!(text.matches("<script").count(), 1);
            assert!(!text.contains("<img") && !text.contains("javascript:alert(1)\""));
        }
        "md" => has_no_markup(text),
        _ => has_no_controls(text),
    }
}

fn has_no_controls(text: &str) {
    let control = text.chars().find(|c| c.is_control() && *c != '\n');
    assert_eq!(control, None);
    let turning =
        |c: char| matches!(c, '\u{61c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    assert!(!text.contains(turning));
    // XML has no such characters.
    assert!(!text.contains(['\u{fffe}', '\u{ffff}']));
}

/// Markdown has no HTML but ours, and links to the web and to charts only.
fn has_no_markup(text: &str) {
    has_no_controls(text);
    for link in ["#123", "GH-123", "\n- - "] {
        assert!(!text.contains(link), "{link}");
    }
    for rest in text.split('<').skip(1) {
        let ours = [
            "https://",
            "http://",
            "details>",
            "summary>",
            "/summary>",
            "/details>",
        ];
        assert!(ours.iter().any(|tag| rest.starts_with(tag)), "<{rest:.20}");
    }
    for rest in text.split("](").skip(1) {
        let ours = ["<https://", "<http://", "charts/"];
        assert!(
            ours.iter().any(|link| rest.starts_with(link)),
            "]({rest:.20}"
        );
    }
}

/// Rows of one length, no cell of which is a formula.
fn is_plain_table(text: &str, runs: &[Run]) {
    let mut rows = 0;
    for row in csv::Reader::from_reader(text.as_bytes()).records() {
        rows += 1;
        for cell in &row.expect("rows of one length") {
            let sign = |cell: &str| cell.trim_start().starts_with(['=', '+', '-', '@']);
            let is_formula = sign(cell) || cell.split(';').skip(1).any(sign);
            assert!(!is_formula || cell.parse::<f64>().is_ok(), "{cell}");
        }
    }
    let cases = runs.iter().map(|run| run.report.measurements.len());
    assert_eq!(rows, cases.sum::<usize>());
}

fn is_xml(text: &str) {
    let mut reader = quick_xml::Reader::from_str(text);
    loop {
        match reader.read_event().expect("well-formed XML") {
            quick_xml::events::Event::Eof => break,
            quick_xml::events::Event::Start(element) => {
                for attribute in element.attributes() {
                    attribute.expect("well-formed attributes");
                }
                assert_ne!(element.name().as_ref(), b"script");
            }
            _ => {}
        }
    }
}

/// Verdicts in every format.
fn compared(verdicts: &Comparison) {
    has_no_controls(&comparison::table(verdicts, Some(100)));
    has_no_markup(&comparison::markdown(verdicts));
    let junit = comparison::junit(verdicts);
    is_xml(&junit);
    has_no_controls(&junit);
    let json: serde_json::Value = serde_json::from_str(&comparison::json(verdicts)).expect("JSON");
    assert_eq!(
        json["cases"].as_array().map(Vec::len),
        Some(verdicts.cases.len())
    );
    for line in comparison::annotations(verdicts).lines() {
        let commands = ["::error title=", "::warning title=", "::notice title="];
        assert!(commands.iter().any(|c| line.starts_with(c)), "{line}");
    }
}

/// Everything that follows for a device, under every assumption.
fn estimated(workloads: &Workloads, device: &Device, catalogue: &Catalogue) {
    let assumptions = Assumptions {
        utilisation: "30-50%".parse().expect("a share"),
        pue: "1.1-1.5".parse().ok(),
        tariff: "0.08USD/kWh".parse().ok(),
        carbon: "400gCO2/kWh".parse().ok(),
        devices: "8".parse().ok(),
        hardware: Some(Hardware {
            price: "30000USD".parse().expect("a price"),
            lifetime: "4years".parse().expect("a time"),
        }),
    };
    for workload in workloads.workloads() {
        for estimate in estimate::estimate(workload, device, &assumptions, catalogue) {
            match estimate.lines {
                Ok(lines) => assert!(lines.iter().all(|line| !line.to_string().is_empty())),
                Err(why) => assert!(!why.is_empty()),
            }
        }
    }
    estimate::costs_of_an_eflop(device, &assumptions);
}

#!/usr/bin/env python3
"""Has prometheus-client read the metrics of a report, in both of its formats.

    metrics.py REPORT METRICS [SCRAPED]

Every figure of the REPORT must be in METRICS, in base units, and nothing else. SCRAPED
is what node_exporter made of the same file.
"""

import json
import math
import pathlib
import sys

from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client import parser as prometheus

# Names of samples, and the figures of a measurement that they are.
FIGURES = {
    "flopwatt_case_dispatch_seconds": lambda m: (m["time"] or {}).get("median_s"),
    "flopwatt_case_operations_per_second": lambda m: scaled(m["gflops"], "median", 1e9),
    "flopwatt_case_bytes_per_second": lambda m: scaled(m, "gbytes_per_s", 1e9),
    "flopwatt_case_ceiling_ratio": lambda m: scaled(m, "percent_of_ceiling", 0.01),
    "flopwatt_case_datasheet_ratio": lambda m: scaled(m, "percent_of_datasheet", 0.01),
    "flopwatt_case_power_watts": lambda m: scaled(m["power"], "median_w", 1),
    "flopwatt_case_idle_power_watts": lambda m: m["power"] and m["power"]["energy"]["idle_w"],
    "flopwatt_case_dispatch_joules": lambda m: scaled(m["power"], "j_per_dispatch", 1),
    "flopwatt_case_energy_joules_total": lambda m: m["power"] and m["power"]["energy"]["energy_j"],
    "flopwatt_case_operations_per_joule": lambda m: scaled(m["gflops_per_watt"], "gross", 1e9),
    "flopwatt_case_datasheet_efficiency_ratio": lambda m: scaled(
        m["power"], "percent_of_datasheet_efficiency", 0.01
    ),
}


def scaled(holder, name, factor):
    value = holder and holder[name]
    return None if value is None else value * factor


def compare(what, families, report):
    families = list(families)
    samples = [sample for family in families for sample in family.samples]
    values = {
        (sample.name, sample.labels.get("case")): sample.value
        for sample in samples
        if sample.name in FIGURES
    }
    wanted = {
        (name, m["id"]): figure(m)
        for m in report["measurements"]
        for name, figure in FIGURES.items()
        if figure(m) is not None
    }
    assert values.keys() == wanted.keys(), values.keys() ^ wanted.keys()
    for key, value in wanted.items():
        assert math.isclose(values[key], value, rel_tol=1e-12), (key, values[key], value)
    statuses = [s.labels for s in samples if s.name == "flopwatt_case_status"]
    statuses = {labels["case"]: labels["status"] for labels in statuses}
    assert statuses == {m["id"]: m["status"] for m in report["measurements"]}, statuses
    [run] = [s for s in samples if s.name == "flopwatt_run_info"]
    assert run.labels["run_id"] == report["run_id"], run
    assert run.labels["host"] == report["host"]["name"], run
    print(f"ok        {what}: {len(samples)} samples, {len(values)} figures")
    return families


def main():
    report = json.loads(pathlib.Path(sys.argv[1]).read_text())
    text = pathlib.Path(sys.argv[2]).read_text()
    families = compare("OpenMetrics", openmetrics.text_string_to_metric_families(text), report)
    units = {f.name: f.unit for f in families if f.unit}
    assert all(name.endswith(f"_{unit}") for name, unit in units.items()), units
    kinds = {f.name: f.type for f in families}
    assert kinds["flopwatt_run_info"] == "gauge", kinds
    if report["measurements"][0]["power"]:
        assert kinds["flopwatt_case_energy_joules"] == "counter", kinds
    compare("text format 0.0.4", prometheus.text_string_to_metric_families(text), report)
    if len(sys.argv) > 3:
        scraped = pathlib.Path(sys.argv[3]).read_text()
        compare("node_exporter", prometheus.text_string_to_metric_families(scraped), report)
        assert "\nnode_textfile_scrape_error 0\n" in scraped, "node_exporter could not read it"


main()

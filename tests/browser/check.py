"""Checks pages of flopwatt in headless Chromium: check.py FOLDER.

Every folder in FOLDER that holds a report.html is opened at two widths, in light
and in dark; screenshots are left beside the pages. Exits with 1 when anything is
wrong, and says what.
"""

import base64
import json
import pathlib
import shutil
import sys
from math import log10

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

WIDTHS = (1280, 390)
SCHEMES = ("light", "dark")
# The library draws on whole pixels, and a label's middle is about where it points.
PIXELS = 2.5

problems = []


def check(what, good, found=""):
    if not good:
        problems.append(what)
        print(f"FAILED  {what} {found}", flush=True)


def browser():
    options = Options()
    options.binary_location = shutil.which("chromium")
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))


def emulate(driver, width, scheme, media=""):
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def show(driver, address):
    """Opens a page, and forgets what was logged before."""
    driver.get_log("performance")
    driver.get_log("browser")
    driver.get(address)


def screenshot(driver, width, file):
    height = driver.execute_script("return document.documentElement.scrollHeight")
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    picture = driver.execute_cdp_cmd(
        "Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip}
    )
    file.write_bytes(base64.b64decode(picture["data"]))


# What a page shows of its charts, in the page's own pixels.
CHARTS = """
const box = (e) => { const r = e.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; };
const middle = (e) => { const [l, t, r, b] = box(e); return [(l + r) / 2, (t + b) / 2]; };
const shown = [...document.querySelectorAll("svg.chart")].filter((s) => s.getClientRects().length);
return shown.map((svg) => {
  // The library's own labels are no part of a group.
  const ticks = (anchor) => [...svg.querySelectorAll(":scope > text")]
    .filter((t) => t.getAttribute("text-anchor") === anchor && /^\\d[\\d.]*$/.test(t.textContent.trim()))
    .map((t) => [parseFloat(t.textContent), ...middle(t)]);
  const all = (selector, read) => [...svg.querySelectorAll(selector)].map(read);
  return {
    name: svg.getAttribute("aria-label"),
    box: box(svg),
    across: ticks("middle"),
    up: ticks("end"),
    tickBoxes: [...svg.querySelectorAll(":scope > text")].filter((t) => !t.getAttribute("transform")).map(box),
    points: all(".point[data-x], .ridge", (g) => ({
      id: g.dataset.id, x: +g.dataset.x, y: +g.dataset.y,
      at: middle(g.querySelector("circle, path")), title: g.querySelector("title").textContent,
    })),
    bars: all(".bar[data-value]", (g) => ({ value: +g.dataset.value, box: box(g.querySelector("rect")) })),
    windows: all(".window", (g) => ({ from: +g.dataset.from, to: +g.dataset.to, box: box(g.querySelector("rect")) })),
    labels: all(".point[data-x] text, .roof[data-id] text", box),
    texts: all("text", (t) => ({ text: t.textContent.trim(), box: box(t) })),
  };
});
"""


def scale(ticks, axis, transform=lambda value: value):
    """Where a value is on an axis, by the axis' own labels."""
    known = [(transform(tick[0]), tick[axis]) for tick in ticks]
    mean = [sum(values) / len(known) for values in zip(*known)]
    spread = sum((value - mean[0]) ** 2 for value, _ in known)
    slope = sum((value - mean[0]) * (at - mean[1]) for value, at in known) / spread
    return lambda value: mean[1] + slope * (transform(value) - mean[0])


def overlap(a, b):
    across = min(a[2], b[2]) - max(a[0], b[0])
    down = min(a[3], b[3]) - max(a[1], b[1])
    return across > 0.5 and down > 0.5


def check_chart(where, chart):
    where = f"{where}, {chart['name']}"
    left, _, right, bottom = chart["box"]
    for text in chart["texts"]:
        inside = text["box"][0] >= left - 1 and text["box"][2] <= right + 1
        inside = inside and text["box"][3] <= bottom + 1
        check(f"{where}: text within the chart", inside, text)
    if chart["points"]:
        x = scale(chart["across"], 1, log10)
        y = scale(chart["up"], 2, log10)
        for point in chart["points"]:
            off = [point["at"][0] - x(point["x"]), point["at"][1] - y(point["y"])]
            good = max(map(abs, off)) <= PIXELS
            check(f"{where}: {point['id']} is where its numbers say", good, off)
            check(f"{where}: {point['id']} shows numbers", "per byte" in point["title"])
    if chart["bars"]:
        x = scale(chart["across"], 1)
        for bar in chart["bars"]:
            off = [bar["box"][2] - x(bar["value"]), bar["box"][0] - x(0)]
            check(f"{where}: a bar ends at its number", max(map(abs, off)) <= PIXELS, off)
    if chart["windows"]:
        x = scale(chart["across"], 1)
        for window in chart["windows"]:
            off = [window["box"][0] - x(window["from"]), window["box"][2] - x(window["to"])]
            check(f"{where}: a window is when it was", max(map(abs, off)) <= PIXELS, off)
    check_apart(f"{where}: numbers at axes do not overlap", chart["tickBoxes"])
    check_apart(f"{where}: labels do not overlap", chart["labels"])


def check_apart(what, boxes):
    for index, label in enumerate(boxes):
        check(what, not any(overlap(label, other) for other in boxes[:index]), label)


def luminance(color):
    channels = [float(c) / 255 for c in color[color.index("(") + 1 : -1].split(",")[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a, b):
    """As WCAG 2 defines it; 4.5 is what text needs."""
    bright, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


COLORS = """
const style = (e, what) => getComputedStyle(e)[what];
const texts = ["p", ".note", "td", ".found li", "dt"].map((s) => document.querySelector(s)).filter(Boolean);
const drawn = [...document.querySelectorAll("svg.chart text")].filter((t) => t.getClientRects().length);
return { page: style(document.body, "backgroundColor"),
         texts: [...texts.map((t) => style(t, "color")), ...drawn.map((t) => style(t, "fill"))] };
"""


def check_colors(driver, where, dark):
    colors = driver.execute_script(COLORS)
    is_dark = luminance(colors["page"]) < 0.2
    check(f"{where}: dark is dark and light is light", is_dark == dark, colors["page"])
    for color in set(colors["texts"]):
        ratio = contrast(colors["page"], color)
        check(f"{where}: text can be read", ratio >= 4.5, f"{color}: {ratio:.2f}")


COLUMN = """
const [table, column] = arguments;
return [...table.tBodies[0].rows].map((r) => r.cells[column].dataset.value ?? null);
"""


def check_sorting(driver, where):
    for table in driver.find_elements("css selector", "table.sortable"):
        heads = table.find_elements("css selector", "th")
        before = driver.execute_script(COLUMN, table, 2)
        for turn in ("descending", "ascending"):
            driver.execute_script("arguments[0].querySelector('button').click()", heads[2])
            check(f"{where}: sorted {turn}", heads[2].get_attribute("aria-sort") == turn)
            after = driver.execute_script(COLUMN, table, 2)
            check(f"{where}: no row is lost", sorted(map(str, before)) == sorted(map(str, after)))
            numbers = [float(value) for value in after if value is not None]
            order = sorted(numbers, reverse=turn == "descending")
            check(f"{where}: numbers are in order", numbers == order, numbers)
            check(f"{where}: what is missing is last", None not in after[: len(numbers)], after)
        driver.execute_script("arguments[0].querySelector('button').click()", heads[0])
        first = driver.execute_script(
            "return [...arguments[0].tBodies[0].rows].map((r) => r.cells[0].textContent)", table
        )
        check(f"{where}: names are in order", first == sorted(first), first)


RATES = """
const rates = {};
for (const row of document.querySelectorAll("table.cases tbody tr"))
  rates[row.cells[0].textContent] = row.cells[3].dataset.value;
return rates;
"""


def check_numbers(driver, where, charts):
    """A chart and the table say the same, where a page has but one report."""
    rates = driver.execute_script(RATES)
    for chart in charts:
        for point in chart["points"]:
            if point["id"] in rates:
                ratio = float(rates[point["id"]]) / point["y"]
                check(f"{where}: chart and table agree on {point['id']}", abs(ratio - 1) < 1e-5)


def check_requests(driver, where, address):
    for entry in driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            url = message["params"]["request"]["url"]
            check(f"{where}: nothing is fetched", url == address, url)
    for entry in driver.get_log("browser"):
        check(f"{where}: the console is silent", False, entry["message"])


def check_page(driver, page):
    name = page.parent.name
    address = page.resolve().as_uri()
    check(f"{name}: under 1 MB", page.stat().st_size < 1_000_000, page.stat().st_size)
    for width in WIDTHS:
        for scheme in SCHEMES:
            where = f"{name}, {width} px, {scheme}"
            emulate(driver, width, scheme)
            show(driver, address)
            wide = driver.execute_script("return document.scrollingElement.scrollWidth")
            check(f"{where}: nothing overflows", wide <= width, wide)
            charts = driver.execute_script(CHARTS)
            check(f"{where}: there are charts", len(charts) > 1)
            for chart in charts:
                check_chart(where, chart)
            if name != "several":
                check_numbers(driver, where, charts)
            check_colors(driver, where, scheme == "dark")
            screenshot(driver, width, page.parent / f"{width}-{scheme}.png")
            check_sorting(driver, where)
            check_requests(driver, where, address)
    emulate(driver, 1280, "dark", "print")
    check_colors(driver, f"{name}, print", False)
    check_without_scripts(driver, name, address)
    print(f"looked at {name}", flush=True)


def check_without_scripts(driver, name, address):
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    emulate(driver, 1280, "light")
    driver.get(address)
    rows = driver.find_elements("css selector", "table.cases tbody tr")
    check(f"{name}: a table without scripts", len(rows) > 5 and rows[0].is_displayed())
    check(f"{name}: no button that does nothing", not driver.find_elements("css selector", "button"))
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def check_hostile(driver, page):
    driver.get(page.resolve().as_uri())
    heading = driver.find_element("css selector", "h1").text
    check("a hostile name is text", heading.startswith("<script>"), heading)
    check("the only script is the page's own", len(driver.find_elements("css selector", "script")) == 1)
    check("a hostile name brings no elements", not driver.find_elements("css selector", "img"))
    check("a hostile name runs nothing", driver.title.startswith("flopwatt: <script>"), driver.title)


def check_drawings(driver, folder):
    """SVG files are shown by themselves, in light and in dark."""
    for drawing in sorted(folder.glob("*/*.svg")):
        for scheme in SCHEMES:
            emulate(driver, 1280, scheme)
            show(driver, drawing.resolve().as_uri())
            where = f"{drawing.parent.name}/{drawing.name}, {scheme}"
            ground = driver.execute_script(
                "return getComputedStyle(document.querySelector('.ground')).fill"
            )
            is_dark = luminance(ground) < 0.2
            check(f"{where}: dark is dark and light is light", is_dark == (scheme == "dark"))
            foreign = driver.find_elements("css selector", "script, img, image, a, foreignObject")
            check(f"{where}: nothing but a drawing", not foreign)
            check_requests(driver, where, drawing.resolve().as_uri())


def main():
    folder = pathlib.Path(sys.argv[1])
    pages = sorted(folder.glob("*/report.html"))
    check("there are pages", pages)
    driver = browser()
    try:
        for page in pages:
            check_page(driver, page)
        if (folder / "hostile").exists():
            check_hostile(driver, folder / "hostile" / "report.html")
        check_drawings(driver, folder)
    finally:
        driver.quit()
    if problems:
        sys.exit(f"{len(problems)} things are wrong")


if __name__ == "__main__":
    main()

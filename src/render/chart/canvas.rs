//! SVG: axes and lines by the library, and over them what a reader points at.

use plotters::prelude::*;

use super::super::untrusted::markup;

/// Colours and fonts of all charts, for light, dark and print.
pub(in crate::render) const STYLE: &str = include_str!("style.css");

/// Colours by which the style sheet knows what the library draws; they are also
/// those of the light scheme.
pub(super) const GRID: RGBColor = RGBColor(0xe4, 0xe7, 0xeb);
/// Lines between those with a number.
pub(super) const FAINT: RGBColor = RGBColor(0xf3, 0xf4, 0xf6);
/// Axes and ticks.
pub(super) const AXIS: RGBColor = RGBColor(0x8c, 0x95, 0x9f);
/// Labels of axes.
pub(super) const LABEL: RGBColor = RGBColor(0x59, 0x63, 0x6e);
/// A line of what was measured.
pub(super) const LINE: RGBColor = RGBColor(0x00, 0x72, 0xb2);
/// A second line.
pub(super) const SECOND_LINE: RGBColor = RGBColor(0x9a, 0x5c, 0x00);

/// What the library divides sizes of fonts by when it writes SVG.
const FONT_FACTOR: f64 = 1.24;
/// Size of all text, in pixels.
const FONT_PX: f64 = 12.0;
/// Width of a digit in the widest of the usual fonts, in pixels: which font a reader
/// has is not known here.
const CHARACTER_PX: f64 = 7.6;

/// The style of axes' labels.
pub(super) fn label_style() -> TextStyle<'static> {
    let font = ("sans-serif", FONT_PX * FONT_FACTOR).into_font();
    TextStyle::from(font).color(&LABEL)
}

/// A magnitude that charts can draw; a report may hold any number.
pub(super) fn drawable(value: f64) -> Option<f64> {
    (1e-12..=1e15).contains(&value).then_some(value)
}

/// About how wide a text is, in pixels.
pub(super) fn text_width(text: &str) -> i32 {
    (text.chars().count() as f64 * CHARACTER_PX).ceil() as i32
}

/// The text, cut where it would be wider than this.
pub(super) fn fitted(text: &str, width: i32) -> String {
    if text_width(text) <= width {
        return text.to_owned();
    }
    let most = (f64::from(width) / CHARACTER_PX) as usize;
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// A drawing of one size.
#[derive(Clone, Debug)]
pub(super) struct Drawing {
    width: i32,
    height: i32,
    body: String,
}

impl Drawing {
    /// What `library` draws, with `over` on top.
    pub(super) fn new(
        (width, height): (i32, i32),
        library: impl FnOnce(&Area) -> Result<Overlay, Failure>,
    ) -> Self {
        let mut text = String::new();
        let size = (width.unsigned_abs(), height.unsigned_abs());
        let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
        let over = library(&area).expect("drawing into memory cannot fail");
        area.present().expect("drawing into memory cannot fail");
        drop(area);
        // The outer element is ours, so that it scales and has a style.
        let inner = text.split_once('>').map_or("", |(_, rest)| rest);
        let inner = inner.rsplit_once("</svg>").map_or(inner, |(body, _)| body);
        let body = format!("{}{}", brief(inner.trim_start()), over.0);
        Self {
            width,
            height,
            body,
        }
    }

    /// A file of its own, with its style.
    pub(super) fn document(&self, title: &str) -> String {
        let style = format!("<style>\n{STYLE}</style>\n");
        let size = format!(
            "xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\" ",
            self.width, self.height
        );
        self.element(title, "chart", &size, &style)
    }

    /// An element for a page that has the style.
    pub(super) fn inline(&self, title: &str, class: &str) -> String {
        self.element(title, &format!("chart {class}"), "", "")
    }

    fn element(&self, title: &str, class: &str, attributes: &str, style: &str) -> String {
        let Self {
            width,
            height,
            body,
        } = self;
        format!(
            "<svg {attributes}class=\"{class}\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{}\">\n{style}<rect class=\"ground\" width=\"{width}\" height=\"{height}\"/>\n{body}</svg>\n",
            markup(title)
        )
    }
}

/// Without what is the default or stands in the style sheet: the library repeats
/// it for every element.
fn brief(svg: &str) -> String {
    let said = [
        " opacity=\"1\"",
        " stroke-width=\"1\"",
        " stroke=\"none\"",
        " font-family=\"sans-serif\"",
        " font-size=\"12\"",
    ];
    said.iter()
        .fold(svg.to_owned(), |svg, said| svg.replace(said, ""))
}

/// Where the library draws.
pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
/// What drawing can end in.
pub(super) type Failure = DrawingAreaErrorKind<std::io::Error>;

/// Elements that carry their numbers, for hovering and for whoever reads the
/// file.
#[derive(Debug, Default)]
pub(super) struct Overlay(String);

impl Overlay {
    /// A group with a text to hover over and its numbers as `data-` attributes.
    pub(super) fn group(
        &mut self,
        class: &str,
        title: &str,
        data: &[(&str, String)],
        inner: impl FnOnce(&mut Self),
    ) {
        let data: String = data
            .iter()
            .map(|(name, value)| format!(" data-{name}=\"{}\"", markup(value)))
            .collect();
        self.0 += &format!("<g class=\"{class}\"{data}>");
        if !title.is_empty() {
            // The lines of a title show as lines.
            let lines: Vec<String> = title.lines().map(markup).collect();
            self.0 += &format!("<title>{}</title>", lines.join("\n"));
        }
        inner(self);
        self.0 += "</g>\n";
    }

    /// An element without content; numbers only.
    pub(super) fn shape(&mut self, tag: &str, class: &str, attributes: &[(&str, i32)]) {
        let class = if class.is_empty() {
            String::new()
        } else {
            format!(" class=\"{class}\"")
        };
        let attributes: String = attributes
            .iter()
            .map(|(name, value)| format!(" {name}=\"{value}\""))
            .collect();
        self.0 += &format!("<{tag}{class}{attributes}/>");
    }

    /// A straight line.
    pub(super) fn line(&mut self, class: &str, (x1, y1): (i32, i32), (x2, y2): (i32, i32)) {
        let ends = [("x1", x1), ("y1", y1), ("x2", x2), ("y2", y2)];
        self.shape("line", class, &ends);
    }

    /// A rectangle, from its upper left corner to the opposite one.
    pub(super) fn rect(&mut self, (x0, y0): (i32, i32), (x1, y1): (i32, i32)) {
        let size = [
            ("x", x0),
            ("y", y0),
            ("width", x1 - x0),
            ("height", y1 - y0),
        ];
        self.shape("rect", "", &size);
    }

    /// A square on its corner.
    pub(super) fn diamond(&mut self, (x, y): (i32, i32), reach: i32) {
        self.0 += &format!(
            "<path d=\"M{} {y}L{x} {}L{} {y}L{x} {}Z\"/>",
            x - reach,
            y - reach,
            x + reach,
            y + reach
        );
    }

    /// A text that starts at a point, or is centred on it or ends there.
    pub(super) fn text(&mut self, class: &str, anchor: Anchor, (x, y): (i32, i32), text: &str) {
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        let class = if class.is_empty() {
            String::new()
        } else {
            format!(" class=\"{class}\"")
        };
        self.0 += &format!(
            "<text{class} x=\"{x}\" y=\"{y}\"{anchor}>{}</text>",
            markup(text)
        );
    }
}

/// Which end of a text stands at its point.
#[derive(Clone, Copy, Debug)]
pub(super) enum Anchor {
    /// Its start.
    Start,
    /// Its middle.
    Middle,
    /// Its end.
    End,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_and_texts_are_escaped() {
        let drawing = Drawing::new((10, 10), |_| {
            let mut over = Overlay::default();
            let data = [("id", "\"><script>".to_owned())];
            over.group("point", "a<b\n&c", &data, |over| {
                over.text("", Anchor::Start, (1, 2), "<script>");
            });
            Ok(over)
        });
        let text = drawing.document("\"'<>&");
        assert!(!text.contains("<script>"), "{text}");
        assert!(text.contains("<title>a&lt;b\n&amp;c</title>"), "{text}");
        assert!(
            text.contains("aria-label=\"&quot;&#39;&lt;&gt;&amp;\""),
            "{text}"
        );
        assert_eq!(text.matches("<svg").count(), 1, "{text}");
        assert_eq!(text.matches("</svg>").count(), 1, "{text}");
    }

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(fitted("short", 100), "short");
        // 76 pixels hold ten characters.
        assert_eq!(fitted("abcdefghijklm", 76), "abcdefghi…");
    }

    #[test]
    fn numbers_that_no_chart_can_show_are_left_out() {
        let numbers = [f64::NAN, f64::INFINITY, -1.0, 0.0, 1e300, 2.0];
        let drawn: Vec<f64> = numbers.into_iter().filter_map(drawable).collect();
        assert_eq!(drawn, [2.0]);
    }
}

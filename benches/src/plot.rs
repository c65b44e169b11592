//! Charts as SVG: hit ratio against size, a line per policy. Colours are apart for people who see few of them (after Okabe and Ito,
//! "Color Universal Design", 2008), lines differ in their marks too, and the page's light or dark scheme is followed.

use std::collections::HashSet;
use std::fmt::Write;

use crate::replay::Point;

/// It is wider where names need that.
const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 560.0;
/// About what a letter of a name takes, and one of the title, which is larger.
const LETTER: f64 = 7.5;
const TITLE_LETTER: f64 = 9.5;
/// The corners of the plot's area.
const LEFT: f64 = 64.0;
const TOP: f64 = 44.0;
const RIGHT: f64 = 640.0;
const BOTTOM: f64 = 504.0;
/// Where names of policies begin, and how far apart they must be.
const NAMES: f64 = 664.0;
/// Where their text does, behind the line and its mark.
const NAME_TEXT: f64 = NAMES + 33.0;
const LINE_HEIGHT: f64 = 17.0;

/// Colours of lines, readable on white and on near black.
const COLORS: &[&str] =
    &["#0b84d8", "#d55e00", "#009e73", "#b85c9e", "#b58900", "#6a5acd", "#c0392b", "#2aa5b8", "#7a8b00", "#8c6d5c"];
/// Strokes, so that lines of one colour differ.
const DASHES: &[&str] = &["", "7 3", "2 3"];

pub(crate) const STYLE: &str = "\
    svg{font:13px system-ui,-apple-system,'Segoe UI',sans-serif;background:#fff}\
    text{fill:#222}.dim{fill:#5c5c5c}.grid{stroke:#e2e2e2}.axis{stroke:#777}.name{stroke:#aaa}\
    @media(prefers-color-scheme:dark){svg{background:#16181c}text{fill:#e6e6e6}.dim{fill:#a5a5a5}.grid{stroke:#31343b}.axis{stroke:#8a8a8a}.name{stroke:#666}}";

/// What the sizes of a chart count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Objects.
    Objects,
    /// Bytes.
    Bytes,
}

/// A chart per trace: a name for its file, and its text. A size of 0, as of a server without a limit, has no place in one.
pub fn charts(points: &[Point], unit: Unit) -> Vec<(String, String)> {
    let points = || points.iter().filter(|point| point.size > 0);
    let mut traces: Vec<&str> = Vec::new();
    for point in points() {
        if !traces.contains(&point.trace.as_str()) {
            traces.push(&point.trace);
        }
    }
    let mut policies: Vec<&str> = Vec::new();
    for point in points() {
        if !policies.contains(&point.policy.as_str()) {
            policies.push(&point.policy);
        }
    }
    let chart = |(trace, file): (&str, String)| {
        let of_trace: Vec<&Point> = points().filter(|point| point.trace == trace).collect();
        (file, Chart::new(&of_trace, &policies, unit).svg(trace))
    };
    let files = file_names(&traces);
    traces.into_iter().zip(files).map(chart).collect()
}

/// Names of files, each another one, on systems that take letters of either case for the same, too.
fn file_names(traces: &[&str]) -> Vec<String> {
    let kept = |letter: char| if letter.is_alphanumeric() || "-_.=".contains(letter) { letter } else { '_' };
    let (mut files, mut taken) = (Vec::new(), HashSet::new());
    for trace in traces {
        let stem: String = trace.chars().map(kept).collect();
        let numbered = (2..).map(|number| format!("{stem}-{number}.svg"));
        let mut possible = std::iter::once(format!("{stem}.svg")).chain(numbered);
        files.extend(possible.find(|file| taken.insert(file.to_lowercase())));
    }
    files
}

/// The points of one policy.
struct Line<'a> {
    policy: &'a str,
    /// The number of its colour and mark, the same in all charts.
    look: usize,
    /// Size and percent, by rising size.
    points: Vec<(f64, f64)>,
}

impl Line<'_> {
    fn last(&self) -> f64 {
        self.points.last().map_or(0.0, |point| point.1)
    }
}

/// One chart: its lines, and what the axes show.
struct Chart<'a> {
    unit: Unit,
    /// In the order of their last points, the highest first.
    lines: Vec<Line<'a>>,
    sizes: (f64, f64),
    percents: (f64, f64),
}

impl<'a> Chart<'a> {
    fn new(points: &[&'a Point], policies: &[&'a str], unit: Unit) -> Self {
        let line = |(look, policy): (usize, &&'a str)| {
            let own = points.iter().filter(|point| point.policy == *policy);
            let mut points: Vec<_> = own.map(|point| (point.size as f64, 100.0 * point.ratio())).collect();
            points.sort_by(|one, other| one.0.total_cmp(&other.0));
            Line { policy, look, points }
        };
        let mut lines: Vec<Line<'a>> = policies.iter().enumerate().map(line).collect();
        lines.retain(|line| !line.points.is_empty());
        lines.sort_by(|one, other| other.last().total_cmp(&one.last()));
        let all = || lines.iter().flat_map(|line| line.points.iter().copied());
        let least = |of: fn((f64, f64)) -> f64| all().map(of).fold(f64::INFINITY, f64::min);
        let most = |of: fn((f64, f64)) -> f64| all().map(of).fold(f64::NEG_INFINITY, f64::max);
        let (mut from, mut to) = (least(|point| point.0), most(|point| point.0));
        if from == to {
            (from, to) = (from / 2.0, to * 2.0);
        }
        let (low, high) = (least(|point| point.1), most(|point| point.1));
        let step = step((high - low).max(1.0));
        let percents = ((low / step).floor() * step, ((high / step).ceil() * step).min(100.0));
        let percents = if percents.0 < percents.1 { percents } else { (percents.0 - step, percents.1) };
        Self { unit, lines, sizes: (from.max(1.0), to), percents }
    }

    /// Sizes stand on a logarithmic scale.
    fn x(&self, size: f64) -> f64 {
        let (from, to) = (self.sizes.0.ln(), self.sizes.1.ln());
        LEFT + (size.ln() - from) / (to - from) * (RIGHT - LEFT)
    }

    fn y(&self, percent: f64) -> f64 {
        let (low, high) = self.percents;
        BOTTOM - (percent - low) / (high - low) * (BOTTOM - TOP)
    }

    /// So that the title and the longest name, with its percents, have room.
    fn width(&self, title: &str) -> f64 {
        let letters = |text: &str| text.chars().count() as f64;
        let name = self.lines.iter().map(|line| letters(line.policy)).fold(0.0, f64::max);
        WIDTH.max(NAME_TEXT + LETTER * (name + 6.0)).max(LEFT + TITLE_LETTER * letters(title)).ceil()
    }

    fn svg(&self, title: &str) -> String {
        let width = self.width(title);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {HEIGHT}\" width=\"{width}\" height=\"{HEIGHT}\" role=\"img\">\n\
             <title>{0}: hit ratio against cache size</title>\n<style>{STYLE}</style>\n\
             <text x=\"{LEFT}\" y=\"24\" font-size=\"16\" font-weight=\"600\">{0}</text>\n",
            escaped(title)
        );
        self.axes(&mut svg);
        self.lines.iter().rev().for_each(|line| self.line(&mut svg, line));
        self.names(&mut svg);
        svg.push_str("</svg>\n");
        svg
    }

    fn axes(&self, svg: &mut String) {
        let (low, high) = self.percents;
        let step = step(high - low);
        for at in 0..=((high - low) / step).round() as u32 {
            let percent = low + f64::from(at) * step;
            let y = self.y(percent.min(high));
            let _ = writeln!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text class=\"dim\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{} %</text>",
                LEFT - 8.0,
                y + 4.5,
                shortest(percent.min(high))
            );
        }
        for size in self.size_ticks() {
            let x = self.x(size);
            let _ = writeln!(
                svg,
                "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{BOTTOM}\"/>\
                 <text class=\"dim\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                BOTTOM + 19.0,
                self.shown(size)
            );
        }
        let (unit, middle) = (if self.unit == Unit::Objects { "objects" } else { "bytes" }, (LEFT + RIGHT) / 2.0);
        let _ = writeln!(
            svg,
            "<path class=\"axis\" fill=\"none\" d=\"M{LEFT} {TOP}V{BOTTOM}H{RIGHT}\"/>\
             <text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">cache size, {unit}</text>\
             <text x=\"{}\" y=\"{}\" text-anchor=\"end\" class=\"dim\">hit ratio</text>",
            BOTTOM + 42.0,
            LEFT - 8.0,
            TOP - 18.0
        );
    }

    /// 1, 2 and 5 of each power, of ten or of 1024; fewer where they would stand too close.
    fn size_ticks(&self) -> Vec<f64> {
        let mut ticks = Vec::new();
        for exponent in 0..20 {
            for digit in [1.0, 2.0, 5.0] {
                let power = match self.unit {
                    Unit::Objects => 10f64.powi(exponent),
                    Unit::Bytes => 1024f64.powi(exponent / 3) * 10f64.powi(exponent % 3),
                };
                ticks.push((digit * power, digit == 1.0));
            }
        }
        let (from, to) = self.sizes;
        ticks.retain(|(size, _)| (from..=to).contains(size));
        let few = (to / from).log10() > 2.5;
        let kept = ticks.iter().filter(|(_, whole)| *whole || !few);
        let kept: Vec<f64> = kept.map(|(size, _)| *size).collect();
        if kept.len() < 2 { vec![from, to] } else { kept }
    }

    fn shown(&self, size: f64) -> String {
        let (base, units) = match self.unit {
            Unit::Objects => (1000.0, ["", "k", "M", "G", "T"]),
            Unit::Bytes => (1024.0, [" B", " KiB", " MiB", " GiB", " TiB"]),
        };
        let (mut size, mut unit) = (size, 0);
        while size >= base && unit + 1 < units.len() {
            size /= base;
            unit += 1;
        }
        format!("{}{}", shortest(size), units[unit])
    }

    fn line(&self, svg: &mut String, line: &Line<'_>) {
        let (color, dash) = look(line.look);
        let points: Vec<String> =
            line.points.iter().map(|(size, percent)| format!("{:.1},{:.1}", self.x(*size), self.y(*percent))).collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\" stroke-linejoin=\"round\"{dash}/>",
            points.join(" ")
        );
        for (size, percent) in &line.points {
            mark(svg, line.look, self.x(*size), self.y(*percent));
        }
    }

    /// The names at the right, in the order in which the lines end, and as near to their ends as there is room.
    fn names(&self, svg: &mut String) {
        let ends: Vec<f64> = self.lines.iter().map(|line| self.y(line.last())).collect();
        for (at, (line, y)) in self.lines.iter().zip(apart(&ends)).enumerate() {
            let ((color, dash), percent) = (look(line.look), line.last());
            let _ = writeln!(
                svg,
                "<path class=\"name\" fill=\"none\" d=\"M{:.1} {:.1}L{:.1} {y:.1}\"/>\
                 <line x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"{color}\" stroke-width=\"2\"{dash}/>",
                RIGHT + 5.0,
                ends[at],
                NAMES - 3.0,
                NAMES,
                NAMES + 26.0
            );
            mark(svg, line.look, NAMES + 13.0, y);
            let _ = writeln!(
                svg,
                "<text x=\"{NAME_TEXT:.1}\" y=\"{:.1}\">{} <tspan class=\"dim\">{percent:.1}</tspan></text>",
                y + 4.5,
                escaped(line.policy)
            );
        }
    }
}

/// Places for names that want to stand at `ends`, which rise, with a line's height between them, on the page if they all fit there.
fn apart(ends: &[f64]) -> Vec<f64> {
    let mut places = ends.to_vec();
    for at in 1..places.len() {
        places[at] = places[at].max(places[at - 1] + LINE_HEIGHT);
    }
    let mut lowest = HEIGHT - LINE_HEIGHT;
    for place in places.iter_mut().rev() {
        *place = place.min(lowest);
        lowest = *place - LINE_HEIGHT;
    }
    places
}

/// Colour and dashes of a line.
pub(crate) fn look(at: usize) -> (&'static str, String) {
    let dash = DASHES[at / COLORS.len() % DASHES.len()];
    let dash = if dash.is_empty() { String::new() } else { format!(" stroke-dasharray=\"{dash}\"") };
    (COLORS[at % COLORS.len()], dash)
}

/// A mark of a line: circle, square, triangle or diamond.
fn mark(svg: &mut String, at: usize, x: f64, y: f64) {
    let (color, _) = look(at);
    let _ = match at % 4 {
        0 => write!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.4\" fill=\"{color}\"/>"),
        1 => write!(
            svg,
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"6.4\" height=\"6.4\" fill=\"{color}\"/>",
            x - 3.2,
            y - 3.2
        ),
        2 => write!(svg, "<path d=\"M{x:.1} {:.1}l4.2 7.4h-8.4z\" fill=\"{color}\"/>", y - 4.6),
        _ => write!(svg, "<path d=\"M{x:.1} {:.1}l4.4 4.4l-4.4 4.4l-4.4 -4.4z\" fill=\"{color}\"/>", y - 4.4),
    };
}

/// The distance of grid lines over a range: 1, 2 or 5 and zeros, so that there are five to ten.
pub(crate) fn step(range: f64) -> f64 {
    let power = 10f64.powf((range / 5.0).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().find(|digit| range / (digit * power) <= 10.0).unwrap_or(10.0);
    step * power
}

/// A number with no more places than it needs, two at most.
pub(crate) fn shortest(number: f64) -> String {
    let text = format!("{number:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(trace: &str, policy: &str, size: u64, hits: u64) -> Point {
        Point { trace: trace.into(), policy: policy.into(), size, requests: 1000, hits, seconds: 0.0 }
    }

    #[test]
    fn a_chart_per_trace_has_a_line_per_policy() {
        let points = [
            point("a<b", "lru", 100, 100),
            point("a<b", "opt", 100, 300),
            point("a<b", "lru", 10_000, 800),
            point("a<b", "opt", 10_000, 900),
            point("c", "lru", 7, 0),
        ];
        let charts = charts(&points, Unit::Objects);
        let names: Vec<&str> = charts.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a_b.svg", "c.svg"]);
        let svg = &charts[0].1;
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert!(svg.contains("a&lt;b") && svg.contains("10k</text>") && svg.contains("90 %"));
        assert!(svg.find(">opt ") < svg.find(">lru "), "in the order of their ends");
        // From the lower left to the upper right corner.
        assert!(svg.contains("points=\"64.0,504.0 640.0,101.5\""), "{svg}");
        assert!(!charts[1].1.contains("NaN") && charts[1].1.ends_with("</svg>\n"));
    }

    #[test]
    fn long_names_have_room_and_a_size_of_0_has_no_place() {
        let server = "larder-0.1.0 127.0.0.1:17801 allkeys-adaptive";
        let charts =
            charts(&[point("a", server, 100, 1), point("a", server, 0, 1), point("b", "lru", 0, 1)], Unit::Bytes);
        assert_eq!(charts.len(), 1, "b has no size");
        let svg = &charts[0].1;
        assert!(!svg.contains("NaN") && svg.contains("viewBox=\"0 0 1080 560\""), "{svg}");
    }

    #[test]
    fn each_chart_has_a_file_of_its_own() {
        let names = file_names(&["web1/a", "web1_a", "WEB1/A", "web1_a-2", "b"]);
        assert_eq!(names, ["web1_a.svg", "web1_a-2.svg", "WEB1_A-3.svg", "web1_a-2-2.svg", "b.svg"]);
    }

    #[test]
    fn names_do_not_overlap() {
        let places = apart(&[50.0, 51.0, 52.0, 440.0, 441.0, 442.0]);
        assert!(places.windows(2).all(|pair| pair[1] - pair[0] >= LINE_HEIGHT - 0.01), "{places:?}");
        assert!(places[5] <= HEIGHT && places[0] == 50.0);
    }

    #[test]
    fn grid_lines_are_round() {
        assert_eq!((step(100.0), step(37.0), step(1.0), step(9.9)), (10.0, 5.0, 0.1, 1.0));
        assert_eq!((shortest(2.5), shortest(10.0), shortest(0.25)), ("2.5".into(), "10".into(), "0.25".into()));
    }
}

//! A chart as SVG of memory over time: above, the bytes used (dashed) and resident of each server; below, how many times the former the
//! latter is.

use std::fmt::Write;

use crate::live::turnover::Sample;
use crate::plot::{STYLE, escaped, look, shortest, step};

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 640.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 640.0;
const NAMES: f64 = 664.0;
/// Upper and lower edge of either panel.
const BYTES: (f64, f64) = (44.0, 314.0);
const RATIO: (f64, f64) = (354.0, 588.0);
/// Points of a line at most, to keep the file small.
const POINTS: usize = 240;
/// Ratios above are cut off.
const MOST_RATIO: f64 = 2.0;

/// One server's samples.
pub struct Series {
    /// Its name.
    pub name: String,
    /// In their order.
    pub samples: Vec<Sample>,
}

/// A panel: where it stands, and the range that it shows.
#[derive(Clone, Copy)]
struct Panel {
    edges: (f64, f64),
    range: (f64, f64),
}

impl Panel {
    fn y(&self, value: f64) -> f64 {
        let (low, high) = self.range;
        let (top, bottom) = self.edges;
        bottom - (value.clamp(low, high) - low) / (high - low) * (bottom - top)
    }

    fn axes(&self, svg: &mut String, title: &str, unit: &str) {
        let (low, high) = self.range;
        let (step, (top, bottom)) = (step(high - low), self.edges);
        for at in 0..=((high - low) / step).round() as u32 {
            let value = low + f64::from(at) * step;
            let y = self.y(value);
            let _ = writeln!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text class=\"dim\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}{unit}</text>",
                LEFT - 8.0,
                y + 4.5,
                shortest(value)
            );
        }
        let _ = writeln!(
            svg,
            "<path class=\"axis\" fill=\"none\" d=\"M{LEFT} {top}V{bottom}H{RIGHT}\"/>\
             <text x=\"{RIGHT}\" y=\"{:.1}\" text-anchor=\"end\" class=\"dim\">{title}</text>",
            top - 8.0
        );
    }

    fn line(&self, svg: &mut String, points: impl Iterator<Item = (f64, f64)>, color: &str, dash: &str) {
        let points: Vec<String> = points.map(|(x, value)| format!("{x:.1},{:.1}", self.y(value))).collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"1.6\" stroke-linejoin=\"round\"{dash}/>",
            points.join(" ")
        );
    }
}

/// The chart of several servers; each runs from the left to the right, however long it took.
pub fn chart(title: &str, series: &[Series]) -> String {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let all = || series.iter().flat_map(|series| &series.samples);
    let most = all().map(|sample| mib(sample.resident.max(sample.used))).fold(1.0, f64::max);
    let most = (most / step(most)).ceil() * step(most);
    let worst = all().map(Sample::ratio).fold(1.1, f64::max);
    let (worst, is_cut) = (worst.min(MOST_RATIO), worst > MOST_RATIO);
    let bytes = Panel { edges: BYTES, range: (0.0, most) };
    let ratio = Panel { edges: RATIO, range: (0.9, (worst * 10.0).ceil() / 10.0) };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\">\n\
         <title>{0}: memory over time</title>\n<style>{STYLE}</style>\n\
         <text x=\"{LEFT}\" y=\"24\" font-size=\"16\" font-weight=\"600\">{0}</text>\n",
        escaped(title)
    );
    bytes.axes(&mut svg, "resident, and used (dashed), MiB", "");
    ratio.axes(&mut svg, if is_cut { "resident / used, cut off above" } else { "resident / used" }, "");
    for (at, series) in series.iter().enumerate() {
        let ((color, _), samples) = (look(at), &series.samples);
        let end = samples.last().map_or(1.0, |sample| sample.seconds).max(f64::MIN_POSITIVE);
        let x = |sample: &Sample| LEFT + sample.seconds / end * (RIGHT - LEFT);
        let shown = || samples.iter().step_by(samples.len().div_ceil(POINTS).max(1));
        bytes.line(&mut svg, shown().map(|it| (x(it), mib(it.used))), color, " stroke-dasharray=\"4 3\"");
        bytes.line(&mut svg, shown().map(|it| (x(it), mib(it.resident))), color, "");
        ratio.line(&mut svg, shown().map(|it| (x(it), it.ratio())), color, "");
        let y = BYTES.0 + 20.0 * at as f64;
        let _ = writeln!(
            svg,
            "<line x1=\"{NAMES}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"{color}\" stroke-width=\"2\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            NAMES + 26.0,
            NAMES + 33.0,
            y + 4.5,
            escaped(&series.name)
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">time: turnovers, rest, most keys deleted</text>\n</svg>",
        (LEFT + RIGHT) / 2.0,
        RATIO.1 + 30.0
    );
    svg
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::turnover::Phase;

    #[test]
    fn each_server_has_three_lines() {
        let sample =
            |seconds, used, resident| Sample { phase: Phase::Turnover, seconds, turnovers: seconds, used, resident };
        let series = |name: &str, resident| Series {
            name: name.into(),
            samples: vec![sample(0.0, 1 << 20, 1 << 20), sample(2.0, 100 << 20, resident)],
        };
        let svg = chart("a<b", &[series("one", 110 << 20), series("two", 900 << 20)]);
        assert_eq!(svg.matches("<polyline").count(), 6);
        assert!(svg.contains("a&lt;b") && svg.contains(">one<") && svg.ends_with("</svg>\n"));
        assert!(!svg.contains("NaN"));
        // A ratio of 9 ends at the upper edge.
        assert!(svg.contains("640.0,354.0") && svg.contains("cut off above"), "{svg}");
        assert!(chart("empty", &[]).contains("</svg>"));
    }
}

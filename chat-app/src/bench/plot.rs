//! Bars as SVG: one group per figure, one bar per case and target, on a logarithmic scale since times differ by thousands.

use std::fmt::Write;

use super::table::{Row, distinct, short, summary, values};

const WIDTH: f64 = 900.0;
const LABEL: f64 = 330.0;
const BAR: f64 = 18.0;
const COLORS: &[&str] = &["#0b57d0", "#b3261e", "#146c2e", "#8a5300", "#6750a4"];

/// The picture of an experiment.
pub fn svg(name: &str, rows: &[Row]) -> String {
    let targets = distinct(rows.iter().map(|row| row.target.as_str()));
    let figures = distinct(rows.iter().map(|row| row.figure));
    let (mut body, mut y) = (String::new(), 30.0);
    for figure in figures {
        let cases = distinct(rows.iter().filter(|row| row.figure == figure).map(|row| row.case.as_str()));
        let median = |case: &str, target: &str| summary(values(rows, target, case, figure)).median;
        let all: Vec<f64> = cases.iter().flat_map(|case| targets.iter().map(|target| median(case, target))).collect();
        let positive = all.iter().copied().filter(|value| *value > 0.0);
        let (low, high) = positive.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
        y += 26.0;
        let _ = writeln!(body, "<text x=\"10\" y=\"{y}\" font-weight=\"bold\">{}</text>", escape(figure));
        y += 8.0;
        for case in cases {
            for (index, target) in targets.iter().enumerate() {
                let value = median(case, target);
                let label = if targets.len() > 1 { format!("{case}, {target}") } else { case.to_owned() };
                let length = length(value, low, high);
                let color = COLORS[index % COLORS.len()];
                let middle = y + BAR * 0.72;
                let _ = writeln!(
                    body,
                    "<text x=\"{}\" y=\"{middle}\" text-anchor=\"end\">{}</text>\
                     <rect x=\"{LABEL}\" y=\"{y}\" width=\"{length:.1}\" height=\"{}\" fill=\"{color}\"/>\
                     <text x=\"{:.1}\" y=\"{middle}\">{}</text>",
                    LABEL - 8.0,
                    escape(&label),
                    BAR - 4.0,
                    LABEL + length + 6.0,
                    short(value),
                );
                y += BAR;
            }
        }
    }
    let height = y + 20.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"10\" y=\"24\" font-size=\"16\" font-weight=\"bold\">{} (medians, logarithmic)</text>\n{body}</svg>\n",
        escape(name)
    )
}

/// The length of a bar: from a twentieth for the lowest to all for the highest.
fn length(value: f64, low: f64, high: f64) -> f64 {
    let room = WIDTH - LABEL - 90.0;
    if value <= 0.0 {
        0.0
    } else if high <= low {
        room
    } else {
        room * (0.05 + 0.95 * (value / low).ln() / (high / low).ln())
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

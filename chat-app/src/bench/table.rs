//! Figures: their median and spread over the rounds, as a table and as CSV.

use std::fmt::Write;

/// One figure of one round.
#[derive(Debug, Clone)]
pub struct Row {
    /// The cache.
    pub target: String,
    /// The round.
    pub round: usize,
    /// What was measured, as `full page, L2`.
    pub case: String,
    /// Which figure, with its unit, as `P99 ms`.
    pub figure: &'static str,
    /// The figure.
    pub value: f64,
}

impl Row {
    /// A figure; target and round are filled in by whoever runs the experiment.
    pub fn new(case: impl Into<String>, figure: &'static str, value: f64) -> Self {
        Self { target: String::new(), round: 0, case: case.into(), figure, value }
    }
}

/// Median, lowest and highest of a figure over the rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// The one in the middle.
    pub median: f64,
    /// The lowest.
    pub low: f64,
    /// The highest.
    pub high: f64,
}

/// Sums up numbers; zeros for none.
pub fn summary(mut values: Vec<f64>) -> Summary {
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(0.0);
    Summary { median: at(values.len() / 2), low: at(0), high: at(values.len().saturating_sub(1)) }
}

/// A percentile of times in milliseconds; the times are sorted.
pub fn percentile(times: &mut [f64], share: f64) -> f64 {
    times.sort_by(f64::total_cmp);
    let index = ((times.len() as f64 * share).ceil() as usize).saturating_sub(1);
    times.get(index).copied().unwrap_or(0.0)
}

/// Median and 99th percentile of times in milliseconds.
pub fn time_rows(case: &str, mut times: Vec<f64>) -> Vec<Row> {
    let median = percentile(&mut times, 0.5);
    vec![Row::new(case, "median ms", median), Row::new(case, "P99 ms", percentile(&mut times, 0.99))]
}

/// What is different about rows, each in the order of its first appearance.
pub fn distinct<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut found = Vec::new();
    values.for_each(|value| {
        if !found.contains(&value) {
            found.push(value);
        }
    });
    found
}

/// The figures of one case on one target.
pub fn values(rows: &[Row], target: &str, case: &str, figure: &str) -> Vec<f64> {
    let is_it = |row: &&Row| row.target == target && row.case == case && row.figure == figure;
    rows.iter().filter(is_it).map(|row| row.value).collect()
}

/// A table: a line per case and figure, per target the median, the spread, and the ratio to the first target.
pub fn text(name: &str, rows: &[Row]) -> String {
    let targets = distinct(rows.iter().map(|row| row.target.as_str()));
    let mut out = format!("\n{name}\n{:<44} {:<14}", "", "");
    for target in &targets {
        let _ = write!(out, " {target:>26}");
    }
    out.push('\n');
    for (case, figure) in distinct(rows.iter().map(|row| (row.case.as_str(), row.figure))) {
        let _ = write!(out, "{case:<44} {figure:<14}");
        let first = summary(values(rows, targets.first().copied().unwrap_or_default(), case, figure)).median;
        for (index, target) in targets.iter().enumerate() {
            let Summary { median, low, high } = summary(values(rows, target, case, figure));
            let ratio = if index > 0 && first > 0.0 { format!(" {:.2}x", median / first) } else { String::new() };
            let cell = format!("{} ({}..{}){ratio}", short(median), short(low), short(high));
            let _ = write!(out, " {cell:>26}");
        }
        out.push('\n');
    }
    out
}

/// All figures, a line each.
pub fn csv(rows: &[Row]) -> String {
    let mut out = String::from("target,round,case,figure,value\n");
    for row in rows {
        let _ = writeln!(out, "{},{},\"{}\",{},{}", row.target, row.round, row.case, row.figure, row.value);
    }
    out
}

/// A number with three digits that count.
pub fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_summed_up() {
        let row = |target: &str, value| Row { target: target.into(), ..Row::new("page", "median ms", value) };
        let rows = [row("larder", 2.0), row("larder", 1.0), row("larder", 9.0), row("redis", 4.0)];
        let text = text("read", &rows);
        assert!(text.contains("2.00 (1.00..9.00)") && text.contains("4.00 (4.00..4.00) 2.00x"), "{text}");
        assert_eq!(csv(&rows).lines().count(), 5);
        assert_eq!(percentile(&mut [3.0, 1.0, 2.0, 4.0], 0.5), 2.0);
        assert_eq!(percentile(&mut [], 0.99), 0.0);
    }
}

//! Compares hit ratios with those of a file `trace,policy,cache_size_objects,hit_ratio`, by policies of the same name.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use crate::policy::reference_name;
use crate::replay::Point;
use crate::tell;

/// What other policies are measured by: Redis's LRU with five samples, and exact LRU.
const REDIS_LRU: &str = "redis-lru-5";
const LRU: &str = "lru";

/// Hit ratios by trace, size and policy.
#[derive(Debug, Default)]
pub struct Reference(BTreeMap<String, BTreeMap<u64, BTreeMap<String, f64>>>);

/// What the points of a policy say together.
#[derive(Default)]
struct Summary {
    /// Points that the file knows of the same policy; the sum and the most of the differences.
    compared: usize,
    sum: f64,
    most: f64,
    /// Points where the file knows the others; the sum of the parts of the misses saved, and the worst difference to LRU.
    judged: usize,
    saved: f64,
    worst: f64,
}

impl Reference {
    /// Reads a file, if one is named, and tells which of the traces it does not know.
    ///
    /// # Errors
    /// The file cannot be read, a line is not of this form, or none is of a trace.
    pub fn read(path: Option<&Path>, traces: &[String]) -> Result<Option<Self>, String> {
        let Some(path) = path else { return Ok(None) };
        let failed = |error: String| format!("{}: {error}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        let reference = Self::parse(&text).map_err(failed)?;
        let unknown: Vec<String> = reference.unknown(traces).map(|trace| format!("no row is of {trace}")).collect();
        if unknown.len() == traces.len() {
            return Err(failed(unknown.join(", ")));
        }
        unknown.into_iter().for_each(|trace| tell!("{}", failed(trace)));
        Ok(Some(reference))
    }

    /// Those of the traces that no row is of.
    fn unknown<'t>(&self, traces: &'t [String]) -> impl Iterator<Item = &'t String> {
        traces.iter().filter(|trace| !self.0.contains_key(*trace))
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// A line is not of this form.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut reference = Self::default();
        for (at, line) in text.lines().enumerate().skip(1) {
            let (trace, policy, size, ratio) = fields(line).map_err(|error| format!("line {}: {error}", at + 1))?;
            reference.0.entry(trace.to_owned()).or_default().entry(size).or_default().insert(policy.to_owned(), ratio);
        }
        Ok(reference)
    }

    /// The sizes that are known of a trace.
    pub fn sizes(&self, trace: &str) -> Vec<u64> {
        self.0.get(trace).map(|sizes| sizes.keys().copied().collect()).unwrap_or_default()
    }

    /// A table of what the points say, a policy a row.
    pub fn compare(&self, points: &[Point]) -> String {
        let mut order: Vec<&str> = Vec::new();
        let mut summaries: BTreeMap<&str, Summary> = BTreeMap::new();
        for point in points {
            if !summaries.contains_key(point.policy.as_str()) {
                order.push(&point.policy);
            }
            let known = self.0.get(&point.trace).and_then(|sizes| sizes.get(&point.size));
            summaries.entry(&point.policy).or_default().add(point, known);
        }
        let mut table = String::from(
            "| policy | sizes compared with the file | mean difference, points | most | sizes compared with its LRU and Redis's | worst against exact LRU, points | mean reduction of misses against Redis's LRU |\n\
             |:--|--:|--:|--:|--:|--:|--:|\n",
        );
        for policy in order {
            if let Some(summary) = summaries.get(policy) {
                let _ = writeln!(table, "| {policy} | {}", summary.row());
            }
        }
        table
    }
}

/// Those of a line.
fn fields(line: &str) -> Result<(&str, &str, u64, f64), String> {
    let fields: Vec<&str> = line.split(',').collect();
    let [trace, policy, size, ratio] = fields[..] else {
        return Err(format!("not `trace,policy,size,hit_ratio`: {line}"));
    };
    let many = size.parse().ok().filter(|size| *size > 0);
    let part = ratio.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
    let many = many.ok_or_else(|| format!("{size:?} is no size of 1 or more"))?;
    Ok((trace, policy, many, part.ok_or_else(|| format!("{ratio:?} is no hit ratio from 0 to 1"))?))
}

impl Summary {
    fn add(&mut self, point: &Point, known: Option<&BTreeMap<String, f64>>) {
        let Some(known) = known else { return };
        if let Some(ratio) = known.get(reference_name(&point.policy)) {
            let difference = 100.0 * (point.ratio() - ratio);
            self.compared += 1;
            self.sum += difference;
            if difference.abs() > self.most.abs() {
                self.most = difference;
            }
        }
        if let (Some(redis), Some(lru)) = (known.get(REDIS_LRU), known.get(LRU)) {
            let worse = 100.0 * (point.ratio() - lru);
            self.worst = if self.judged == 0 { worse } else { self.worst.min(worse) };
            self.judged += 1;
            self.saved += (point.ratio() - redis) / (1.0 - redis).max(f64::EPSILON);
        }
    }

    fn row(&self) -> String {
        let shown = |there: usize, text: String| if there == 0 { String::new() } else { text };
        format!(
            "{} | {} | {} | {} | {} | {} |",
            self.compared,
            shown(self.compared, format!("{:+.3}", self.sum / self.compared as f64)),
            shown(self.compared, format!("{:+.3}", self.most)),
            self.judged,
            shown(self.judged, format!("{:+.2}", self.worst)),
            shown(self.judged, format!("{:.2} %", 100.0 * self.saved / self.judged as f64)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(policy: &str, size: u64, hits: u64) -> Point {
        Point { trace: "t".into(), policy: policy.into(), size, requests: 1000, hits, seconds: 0.0 }
    }

    #[test]
    fn policies_are_compared_and_judged() {
        let text = "trace,policy,size,ratio\nt,lru,10,0.5\nt,redis-lru-5,10,0.5\nt,lru,20,0.6\nt,redis-lru-5,20,0.6\nt,arc,20,0.7\nt,opt,40,0.9\n";
        let reference = Reference::parse(text).unwrap();
        assert_eq!((reference.sizes("t"), reference.sizes("u")), (vec![10, 20, 40], Vec::new()));
        let points = [
            point("lru", 10, 500),
            point("lru", 20, 602),
            point("arc", 20, 680),
            point("own", 10, 550),
            point("own", 30, 0),
            point("opt", 40, 900),
        ];
        let table = reference.compare(&points);
        let rows: Vec<&str> = table.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "| lru | 2 | +0.100 | +0.200 | 2 | +0.00 | 0.25 % |",
                "| arc | 1 | -2.000 | -2.000 | 1 | +8.00 | 20.00 % |",
                "| own | 0 |  |  | 1 | +5.00 | 10.00 % |",
                "| opt | 1 | +0.000 | +0.000 | 0 |  |  |",
            ]
        );
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        let error = |line: &str| Reference::parse(&format!("head\nt,lru,1,0.5\n{line}")).unwrap_err();
        assert_eq!(error("a,b,c"), "line 3: not `trace,policy,size,hit_ratio`: a,b,c");
        for size in ["0", "-1", "1.5", "c"] {
            assert_eq!(error(&format!("t,lru,{size},0.5")), format!("line 3: {size:?} is no size of 1 or more"));
        }
        for ratio in ["16.67", "nan", "inf", "-0.1", "1.01", "d", ""] {
            assert_eq!(error(&format!("t,lru,1,{ratio}")), format!("line 3: {ratio:?} is no hit ratio from 0 to 1"));
        }
        assert!(["0", "1"].iter().all(|ratio| Reference::parse(&format!("head\nt,lru,1,{ratio}")).is_ok()));
    }
}

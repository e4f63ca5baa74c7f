//! The Prometheus text of a node, as far as it is needed here: samples with their names and labels.

use std::collections::BTreeMap;

/// One line of the text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// The samples of one or more nodes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Snapshot {
    samples: Vec<Sample>,
}

impl Snapshot {
    /// Reads one page; the first line that is none of Prometheus's is the error.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let samples: Result<_, _> = lines.map(|line| sample(line).ok_or_else(|| line.to_owned())).collect();
        Ok(Self { samples: samples? })
    }

    /// Another node's samples beside these.
    pub(crate) fn add(&mut self, other: Self) {
        self.samples.extend(other.samples);
    }

    /// The sum of all samples of a name with these labels; 0 if there are none: counters appear when they count.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(name, labels).sum()
    }

    /// The least of all samples of a name with these labels.
    pub(crate) fn least(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.matching(name, labels).min_by(f64::total_cmp)
    }

    fn matching(&self, name: &str, labels: &[(&str, &str)]) -> impl Iterator<Item = f64> {
        let has =
            |sample: &Sample, (key, value): &(&str, &str)| sample.labels.get(*key).is_some_and(|has| has == value);
        let fits = move |sample: &&Sample| sample.name == name && labels.iter().all(|label| has(sample, label));
        self.samples.iter().filter(fits).map(|sample| sample.value)
    }
}

/// `name{label="value",…} 1.5 [timestamp]`
fn sample(line: &str) -> Option<Sample> {
    let name_end = line.find(|c: char| c == '{' || c.is_whitespace())?;
    let name = &line[..name_end];
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    if name.is_empty() || !name.chars().all(is_name) {
        return None;
    }
    let mut labels = BTreeMap::new();
    let mut rest = &line[name_end..];
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            rest = rest.trim_start_matches([',', ' ']);
            if let Some(after) = rest.strip_prefix('}') {
                rest = after;
                break;
            }
            let (key, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            labels.insert(key.trim().to_owned(), value);
            rest = after;
        }
    }
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample { name: name.to_owned(), labels, value })
}

/// A label's value up to its closing quote, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                escaped => value.push(escaped),
            },
            _ => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# HELP stint_redirects_total Requests that followed a code.\n\
        # TYPE stint_redirects_total counter\n\
        stint_redirects_total{tier=\"l1\",outcome=\"found\"} 12\n\
        stint_redirects_total{tier=\"store\",outcome=\"found\"} 3 1700000000\n\
        stint_redirects_total{tier=\"\",outcome=\"missing\"} 5\n\n\
        up 1\nx{a=\"b\\\"},\\\\c\\n\",} 1.5e3\ninf NaN\n";

    #[test]
    fn samples_are_summed_over_the_labels_that_are_not_named() {
        let page = Snapshot::parse(PAGE).unwrap();
        let near = |left: f64, right: f64| assert!((left - right).abs() < f64::EPSILON, "{left} is not {right}");
        near(page.sum("stint_redirects_total", &[("outcome", "found")]), 15.0);
        near(page.sum("stint_redirects_total", &[("outcome", "found"), ("tier", "l1")]), 12.0);
        near(page.sum("stint_redirects_total", &[]), 20.0);
        near(page.sum("x", &[("a", "b\"},\\c\n")]), 1500.0);
        near(page.sum("up", &[]), 1.0);
        near(page.sum("stint_redirects", &[]), 0.0);
        near(page.least("stint_redirects_total", &[]).unwrap(), 3.0);
        assert_eq!(page.least("nothing", &[]), None);
    }

    #[test]
    fn nodes_are_added() {
        let mut both = Snapshot::parse("a 1\n").unwrap();
        both.add(Snapshot::parse("a 2\n").unwrap());
        assert!((both.sum("a", &[]) - 3.0).abs() < f64::EPSILON);
    }

    #[test]
    fn what_is_no_metrics_page_is_refused_with_its_line() {
        for text in ["<html>\n", "a\n", "a{b=\"c} 1\n", "a{b=c} 1\n", "a x\n", "{\"status\":\"pass\"}\n"] {
            assert_eq!(Snapshot::parse(text), Err(text.trim().to_owned()), "{text}");
        }
    }
}

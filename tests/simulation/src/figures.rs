//! Figures about the pool as a whole: tables and plots, printed and written into `tests/simulation/README.md`.
//!
//! Figures come from pools of real nodes; where a statistic needs more shares than nodes can make, it comes from a model
//! that uses the core's own payout functions, and says so.

pub mod difficulty;
mod income;
pub mod joining;
mod partitions;
mod plot;
pub mod scale;
mod selfish;
mod sync;
mod traffic;
mod uncles;
pub mod withheld;

use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Where the figures stand in the README.
const BEGIN: &str = "<!-- figures begin -->\n";
const END: &str = "<!-- figures end -->\n";
const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
/// Where the plots are.
const PLOTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/figures");

/// Measures one figure.
type Measure = fn() -> Figure;

/// One table with plots of one of its columns.
pub struct Figure {
    pub title: &'static str,
    /// What was measured, and how.
    pub text: String,
    pub columns: Vec<&'static str>,
    pub rows: Vec<Vec<String>>,
    /// Bars below the table: labels and values.
    pub bars: Vec<(String, f64)>,
}

impl Figure {
    fn markdown(&self, name: &str) -> String {
        let mut out = format!("### {}\n\n{}\n\n", self.title, self.text);
        // Writing to a string does not fail.
        let _ = writeln!(out, "| {} |", self.columns.join(" | "));
        let _ = writeln!(out, "|{}", "---|".repeat(self.columns.len()));
        for row in &self.rows {
            let _ = writeln!(out, "| {} |", row.join(" | "));
        }
        if !self.bars.is_empty() {
            let max = self.bars.iter().map(|(_, value)| *value).fold(f64::MIN_POSITIVE, f64::max);
            let width = self.bars.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
            out.push_str("\n```text\n");
            for (label, value) in &self.bars {
                let bar = "#".repeat((value / max * 50.0).round().max(0.0) as usize);
                let _ = writeln!(out, "{label:width$} {bar} {value:.3}");
            }
            let _ = writeln!(out, "```\n\n![{}](figures/{name}.svg)", self.title);
        }
        out
    }
}

/// Mean and the half width of its 95 % confidence interval.
pub fn mean_and_error(values: &[f64]) -> (f64, f64) {
    let count = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
    (mean, 1.96 * (variance / count).sqrt())
}

/// A mean with its error, for a table.
pub fn shown((mean, error): (f64, f64)) -> String {
    format!("{mean:.3} ± {error:.3}")
}

/// Does something for each input on two threads, whichever is free; the results are in the order of the inputs.
pub fn parallel<T: Sync, R: Send>(inputs: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let one_after_the_other = || {
        let numbers = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
        numbers.map_while(|at| Some((at, work(inputs.get(at)?)))).collect::<Vec<(usize, R)>>()
    };
    let mut results = std::thread::scope(|scope| {
        let threads = [(); 2].map(|()| scope.spawn(one_after_the_other));
        threads.into_iter().flat_map(|thread| thread.join().expect("no figure panics")).collect::<Vec<(usize, R)>>()
    });
    results.sort_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result).collect()
}

/// Measures everything, or only what has this name; prints it, and rewrites the README if it is everything.
pub fn print(only: Option<&str>) {
    let all: [(&str, Measure); 11] = [
        ("difficulty", difficulty::figure),
        ("partitions", partitions::figure),
        ("uncles", uncles::figure),
        ("income", income::figure),
        ("payees", income::payees),
        ("selfish", selfish::figure),
        ("sync", sync::figure),
        ("traffic", traffic::figure),
        ("withheld", withheld::figure),
        ("scale", scale::figure),
        ("joining", joining::figure),
    ];
    let mut text = String::new();
    for (name, measure) in all.iter().filter(|(name, _)| only.is_none_or(|only| only == *name)) {
        let started = Instant::now();
        let figure = measure();
        let part = figure.markdown(name);
        println!("{part}\n({:.0} s)\n", started.elapsed().as_secs_f64());
        text.push_str(&part);
        text.push('\n');
        if only.is_none() && !figure.bars.is_empty() {
            write(&format!("{PLOTS}/{name}.svg"), &plot::bars(figure.title, &figure.bars));
        }
    }
    if only.is_none() {
        write_readme(&text);
    }
}

fn write_readme(figures: &str) {
    let text = std::fs::read_to_string(README).unwrap_or_default();
    let before = text.split(BEGIN).next().unwrap_or_default();
    let after = text.split(END).nth(1).unwrap_or_default();
    write(README, &format!("{before}{BEGIN}\n{figures}{END}{after}"));
}

fn write(path: &str, text: &str) {
    let folder = std::fs::create_dir_all(PLOTS);
    if let Err(error) = folder.and_then(|()| std::fs::write(path, text)) {
        eprintln!("{path} not written: {error}");
    }
}

//! Plots as SVG.

use std::fmt::Write as _;

/// Pixels of a row, of the labels' column, of the longest bar, and of the values' column.
const ROW: usize = 20;
const LABELS: usize = 160;
const LONGEST: usize = 400;
const VALUES: usize = 80;

/// A bar for each label and value. The largest value has the longest bar, and values below zero have none.
pub fn bars(title: &str, bars: &[(String, f64)]) -> String {
    let max = bars.iter().map(|(_, value)| *value).fold(f64::MIN_POSITIVE, f64::max);
    let (width, height) = (LABELS + LONGEST + VALUES, (bars.len() + 2) * ROW);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n\
         <text x=\"8\" y=\"{}\" font-weight=\"bold\">{}</text>\n",
        ROW - 5,
        escaped(title)
    );
    for (row, (label, value)) in bars.iter().enumerate() {
        let (top, length) = ((row + 1) * ROW, (value / max * LONGEST as f64).max(0.0));
        let base = top + ROW - 6;
        // Writing to a string does not fail.
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{base}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{LABELS}\" y=\"{}\" width=\"{length:.1}\" height=\"{}\" fill=\"#4c78a8\"/>\
             <text x=\"{:.1}\" y=\"{base}\">{value:.3}</text>",
            LABELS - 8,
            escaped(label),
            top + 3,
            ROW - 6,
            LABELS as f64 + length + 6.0,
        );
    }
    out.push_str("</svg>\n");
    out
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_values_and_labels_are_text() {
        let plot = bars("a < b & c", &[("one".to_owned(), 1.0), ("four".to_owned(), 4.0), ("less".to_owned(), -1.0)]);
        let lengths: Vec<&str> = plot.split("width=\"").skip(3).filter_map(|rest| rest.split('"').next()).collect();
        assert_eq!(lengths, ["100.0", "400.0", "0.0"]);
        assert!(plot.contains(">a &lt; b &amp; c</text>"), "{plot}");
        assert_eq!(plot.matches("<text").count(), plot.matches("</text>").count());
    }
}

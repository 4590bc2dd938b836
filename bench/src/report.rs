//! Tables for people, and for docs/benchmarks.md.

/// A table in Markdown.
pub(crate) struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these column heads.
    pub(crate) fn new(columns: &[&str]) -> Self {
        Self {
            columns: columns.iter().map(|column| (*column).to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Prints the table.
    #[expect(clippy::print_stdout, reason = "the report is what a benchmark is for")]
    pub(crate) fn print(&self) {
        println!("| {} |", self.columns.join(" | "));
        println!("|{}", " --- |".repeat(self.columns.len()));
        for row in &self.rows {
            println!("| {} |", row.join(" | "));
        }
        println!();
    }
}

/// Prints one line of a report.
#[expect(clippy::print_stdout, reason = "the report is what a benchmark is for")]
pub(crate) fn line(text: &str) {
    println!("{text}");
}

/// Tells on standard error how far a long benchmark is.
#[expect(
    clippy::print_stderr,
    reason = "progress, beside the report on standard output"
)]
pub(crate) fn progress(text: &str) {
    eprintln!("{text}");
}

/// The middle value; noise on a shared machine goes up more often than down.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_is_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }
}

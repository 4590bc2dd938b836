//! What libFuzzer's messages say about a run.

use std::path::Path;

/// How the run of one target went.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Report {
    name: &'static str,
    executions: u64,
    per_second: u64,
    /// libFuzzer's own measure of coverage: edges, each with how often it was taken, and comparisons.
    features: u64,
    pub(super) crash: Option<Crash>,
}

/// An input that a target did not survive.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Crash {
    /// The target.
    pub(crate) name: &'static str,
    /// What it said.
    pub(crate) message: String,
    /// What repeats it: the binary, and the file that holds the input.
    pub(crate) command: String,
}

impl Report {
    /// Reads a log. What is not in it counts as zero: a target that crashes at once has no statistics.
    pub(super) fn read(name: &'static str, log: &str, crash: Option<Crash>) -> Self {
        let number =
            |text: Option<&str>| text.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        let statistic = |label: &str| number(log.lines().find_map(|line| line.strip_prefix(label)));
        let features = log
            .lines()
            .filter_map(|line| line.split_once(" ft: "))
            .next_back();
        Self {
            name,
            executions: statistic("stat::number_of_executed_units:"),
            per_second: statistic("stat::average_exec_per_sec:"),
            features: number(features.and_then(|(_, rest)| rest.split(' ').next())),
            crash,
        }
    }
}

impl Crash {
    /// Reads a log. Without an input (the program could not start, or was killed) the binary alone repeats it.
    pub(super) fn read(name: &'static str, log: &str, binary: &Path) -> Self {
        let written = log
            .lines()
            .find_map(|line| line.split_once("Test unit written to "));
        let mut command = binary.display().to_string();
        if let Some((_, input)) = written {
            command.push(' ');
            command.push_str(input);
        }
        Self {
            name,
            message: message(log),
            command,
        }
    }
}

/// The panic, else libFuzzer's reason, else the last line.
fn message(log: &str) -> String {
    let mut lines = log.lines();
    if let Some((_, place)) = lines.find_map(|line| line.split_once(" panicked at ")) {
        let what = lines.next().unwrap_or_default();
        return format!("{place} {what}");
    }
    let reason = log
        .lines()
        .find_map(|line| line.split_once("ERROR: libFuzzer: "));
    let last = log.lines().next_back().unwrap_or_default();
    reason.map_or(last, |(_, reason)| reason).to_owned()
}

/// All reports, a line each, and below them the crashes.
pub(super) fn table(reports: &[Report]) -> String {
    let mut text = format!(
        "{:16} {:>12} {:>10} {:>10} {:>8}\n",
        "target", "executions", "exec/s", "features", "crashes"
    );
    for report in reports {
        let crashes = usize::from(report.crash.is_some());
        text += &format!(
            "{:16} {:>12} {:>10} {:>10} {crashes:>8}\n",
            report.name, report.executions, report.per_second, report.features
        );
    }
    for crash in reports.iter().filter_map(|report| report.crash.as_ref()) {
        text += &format!(
            "\n{}: {}\n  repeat it: {}\n",
            crash.name, crash.message, crash.command
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines that count, as libFuzzer writes them.
    const CRASHED: &str = "\
INFO: Seed: 1
#2\tINITED cov: 106 ft: 107 corp: 1/87b exec/s: 0 rss: 27Mb
#4\tNEW    cov: 111 ft: 130 corp: 2/174b lim: 87 exec/s: 0 rss: 27Mb L: 87/87 MS: 1 ChangeBit-

thread '<unnamed>' (7) panicked at cache/src/status.rs:66:20:
attempt to add with overflow
==7== ERROR: libFuzzer: deadly signal
artifact_prefix='/t/'; Test unit written to /t/crash-0a
stat::number_of_executed_units: 19800
stat::average_exec_per_sec:     9900
";

    #[test]
    fn log_of_a_crash_tells_how_far_it_came_and_how_to_repeat_it() {
        let crash = Crash::read("cache_status", CRASHED, Path::new("/b/cache_status"));
        assert_eq!(
            crash.message,
            "cache/src/status.rs:66:20: attempt to add with overflow"
        );
        assert_eq!(crash.command, "/b/cache_status /t/crash-0a");
        let report = Report::read("cache_status", CRASHED, Some(crash));
        let found = (report.executions, report.per_second, report.features);
        assert_eq!(found, (19_800, 9_900, 130));
        let table = table(&[report]);
        for expected in ["19800", "/t/crash-0a", "overflow"] {
            assert!(
                table.contains(expected),
                "{expected} is missing in:\n{table}"
            );
        }
    }

    #[test]
    fn log_without_a_panic_still_tells_why() {
        let check = |log: &str, message: &str| {
            let crash = Crash::read("entry", log, Path::new("/b/entry"));
            assert_eq!(
                (crash.message.as_str(), crash.command.as_str()),
                (message, "/b/entry")
            );
            assert_eq!(Report::read("entry", log, None).executions, 0);
        };
        check(
            "==7== ERROR: libFuzzer: timeout after 11 seconds\nx",
            "timeout after 11 seconds",
        );
        check("one\ncannot load a library", "cannot load a library");
        check("", "");
    }
}

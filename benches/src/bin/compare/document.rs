//! Writes results into the documentation: charts, and the part of `docs/benchmarks.md` between two markers.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use crate::charts;
use crate::results::Results;
use crate::scenarios::{Group, Scenario};
use crate::tables;

const BEGIN: &str = "<!-- compare writes from here -->\n";
const END: &str = "<!-- to here -->";

/// Draws the charts and writes the tables; `docs` is the documentation's folder.
///
/// # Errors
///
/// If the files cannot be written, or the markers are missing.
pub(crate) fn write(docs: &Path, scenarios: &[Scenario], results: &Results) -> io::Result<()> {
    let drawn = charts::draw(&docs.join("benchmarks"), results).map_err(io::Error::other)?;
    let path = docs.join("benchmarks.md");
    let document = fs::read_to_string(&path)?;
    let parts = document.split_once(BEGIN).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(END)?;
        Some((before, after))
    });
    let Some((before, after)) = parts else {
        return Err(io::Error::other(format!(
            "{}: the markers are missing",
            path.display()
        )));
    };
    let generated = generate(scenarios, results, &drawn);
    fs::write(path, format!("{before}{BEGIN}{generated}{END}{after}"))
}

fn generate(scenarios: &[Scenario], results: &Results, drawn: &[charts::Drawn]) -> String {
    let shown: Vec<_> = scenarios
        .iter()
        .filter(|scenario| results.cells.contains_key(&scenario.name))
        .collect();
    let mut text = setting(results);
    text.push_str("\n### At a glance\n\n");
    let glance: Vec<_> = shown
        .iter()
        .copied()
        .filter(|scenario| scenario.group != Group::Scaling)
        .collect();
    text.push_str(&tables::summary(&glance, results));
    text.push_str("\n### Charts\n");
    for chart in drawn {
        write!(
            text,
            "\n![{}](benchmarks/{}.svg)\n",
            chart.title, chart.name
        )
        .expect("a string takes everything");
    }
    text.push_str("\n### All figures\n");
    for (group, title) in [
        (Group::Network, "Network"),
        (Group::Tasks, "Tasks"),
        (Group::Wakes, "Wakes"),
        (Group::Timers, "Timers"),
        (Group::Busy, "Beside others"),
        (Group::Memory, "Memory and building"),
        (Group::Scaling, "Scaling"),
    ] {
        write!(text, "\n#### {title}\n").expect("a string takes everything");
        for scenario in shown.iter().filter(|scenario| scenario.group == group) {
            let table = tables::detail(scenario, results);
            write!(
                text,
                "\n<details><summary>{} (<code>{}</code>)</summary>\n\n{table}\n</details>\n",
                scenario.title, scenario.name
            )
            .expect("a string takes everything");
        }
    }
    text
}

fn setting(results: &Results) -> String {
    let setting = &results.setting;
    let versions = setting.versions.iter();
    let versions: Vec<_> = versions
        .map(|(package, version)| format!("{package} {version}"))
        .collect();
    format!(
        "Measured on {}: {}, {} CPUs, Linux {}, {}; {}.\n",
        results.date,
        setting.processor,
        setting.processors,
        setting.kernel,
        setting.compiler,
        versions.join(", ")
    )
}

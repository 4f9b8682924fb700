//! Results as Markdown tables.
//!
//! Called by `main` for the terminal and by `document` for the documentation.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::metrics::{CALLS, FLOOD_RATE, INSTRUCTIONS};
use crate::results::Results;
use crate::scenarios::{Scenario, thousands};
use crate::stats::Spread;

/// What stands where nothing was measured.
const NOTHING: &str = "–";

/// One scenario: a row for each contestant, and why figures are missing.
pub(crate) fn detail(scenario: &Scenario, results: &Results) -> String {
    let mut lead = scenario.metrics()[0].title.to_owned();
    lead.push_str(" (min–max)");
    let mut titles = vec!["", &lead, "÷ raw", "÷ tokio"];
    titles.extend(scenario.metrics()[1..].iter().map(|metric| metric.title));
    if scenario.counts().is_some() {
        titles.push("instructions");
    }
    if scenario.counts_calls() {
        titles.extend(["system calls", "of which"]);
    }
    let mut table = head(&titles);
    for contestant in &results.contestants {
        row(&mut table, &cells(scenario, results, contestant));
    }
    table + &problems(scenario, results)
}

/// All scenarios at a glance: this runtime beside raw, tokio and whichever peer is best.
pub(crate) fn summary(scenarios: &[&Scenario], results: &Results) -> String {
    let titles = "|of|runtime|raw|tokio|best peer|÷ raw|÷ tokio|÷ best peer";
    let mut table = head(&titles.split('|').collect::<Vec<_>>());
    for scenario in scenarios {
        let shown = scenario.at_a_glance().iter();
        let mut metrics: Vec<_> = shown.map(|metric| (metric.name, metric.title)).collect();
        if scenario.counts().is_some() {
            metrics.push((INSTRUCTIONS, "instructions"));
        }
        if scenario.counts_calls() {
            metrics.push((CALLS, "system calls"));
        }
        for (metric, title) in metrics {
            let median = |contestant: &str| {
                let spread = results.cell(&scenario.name, contestant)?.spread(metric)?;
                Some(spread.median)
            };
            let Some(own) = median("runtime") else {
                continue;
            };
            let shown = |contestant| median(contestant).map_or(NOTHING.to_owned(), number);
            let ratio = |other: &str| {
                let ratio = results.ratio(&scenario.name, metric, "runtime", other);
                ratio.map_or(NOTHING.to_owned(), |ratio| format!("{ratio:.2}"))
            };
            let peers = results
                .contestants
                .iter()
                .filter(|name| is_peer(name, metric));
            // Of rates, more is better.
            let sign = if metric == FLOOD_RATE.name { -1.0 } else { 1.0 };
            let costs = peers.filter_map(|peer| Some((peer, median(peer)?)));
            let best = costs.min_by(|one, other| (sign * one.1).total_cmp(&(sign * other.1)));
            let (best, best_ratio) = match best {
                Some((peer, cost)) => (format!("{} {peer}", number(cost)), ratio(peer)),
                None => (NOTHING.to_owned(), NOTHING.to_owned()),
            };
            row(
                &mut table,
                &[
                    scenario.title.clone(),
                    title.to_owned(),
                    format!("**{}**", number(own)),
                    shown("raw"),
                    shown("tokio"),
                    best,
                    ratio("raw"),
                    ratio("tokio"),
                    best_ratio,
                ],
            );
        }
    }
    table
}

/// Whether `runtime` is compared with a contestant by a metric: by system calls not with those on io_uring, which
/// make next to none.
fn is_peer(contestant: &str, metric: &str) -> bool {
    let is_other = !["runtime", "raw"].contains(&contestant);
    is_other && (metric != CALLS || !contestant.ends_with("-uring"))
}

fn cells(scenario: &Scenario, results: &Results, contestant: &str) -> Vec<String> {
    let cell = results.cell(&scenario.name, contestant);
    let spread = |metric| cell?.spread(metric);
    let median = |metric| spread(metric).map_or(NOTHING.to_owned(), |spread| number(spread.median));
    let lead = scenario.metrics()[0].name;
    let ratio = |other| {
        let ratio = results.ratio(&scenario.name, lead, contestant, other);
        ratio.map_or(NOTHING.to_owned(), |ratio| format!("{ratio:.2}"))
    };
    let name = match contestant {
        "runtime" => "**runtime**".to_owned(),
        name => name.to_owned(),
    };
    let lead = spread(lead).map_or(NOTHING.to_owned(), range);
    let mut cells = vec![name, lead, ratio("raw"), ratio("tokio")];
    cells.extend(
        scenario.metrics()[1..]
            .iter()
            .map(|metric| median(metric.name)),
    );
    if scenario.counts().is_some() {
        cells.push(median(INSTRUCTIONS));
    }
    if scenario.counts_calls() {
        let calls = spread(CALLS);
        cells.push(calls.map_or(NOTHING.to_owned(), |calls| format!("{:.3}", calls.median)));
        cells.push(cell.map_or(String::new(), |cell| calls_by_name(&cell.once)));
    }
    cells
}

fn calls_by_name(counted: &BTreeMap<String, f64>) -> String {
    let calls = counted.iter().filter_map(|(name, &count)| {
        let name = name.strip_prefix(CALLS)?.strip_prefix(':')?;
        Some((name, count))
    });
    let mut calls: Vec<_> = calls.collect();
    calls.sort_by(|one, other| other.1.total_cmp(&one.1));
    let calls = calls
        .iter()
        .map(|(name, count)| format!("{name} {count:.3}"));
    calls.collect::<Vec<_>>().join(", ")
}

/// Lists why figures are missing; contestants with the same reason stand together.
fn problems(scenario: &Scenario, results: &Results) -> String {
    let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for contestant in &results.contestants {
        let cell = results.cell(&scenario.name, contestant);
        for problem in cell.iter().flat_map(|cell| &cell.problems) {
            reasons.entry(problem).or_default().push(contestant);
        }
    }
    let mut text = String::new();
    for (reason, contestants) in reasons {
        write!(text, "\n* {}: {reason}", contestants.join(", "))
            .expect("a string takes everything");
    }
    text + "\n"
}

fn head(titles: &[&str]) -> String {
    let mut table = String::new();
    row(&mut table, titles);
    let mut rules = vec!["---"];
    rules.resize(titles.len(), "---:");
    row(&mut table, &rules);
    table
}

fn row(table: &mut String, cells: &[impl AsRef<str>]) {
    for cell in cells {
        write!(table, "| {} ", cell.as_ref()).expect("a string takes everything");
    }
    table.push_str("|\n");
}

fn range(spread: Spread) -> String {
    let (least, most) = (number(spread.least), number(spread.most));
    format!("{} ({least}–{most})", number(spread.median))
}

/// Writes a number with three digits that mean something.
fn number(value: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is positive, rounded, and no measurement exceeds 64 bits"
    )]
    match value.abs() {
        100.0.. if value > 0.0 => thousands(value.round() as u64),
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

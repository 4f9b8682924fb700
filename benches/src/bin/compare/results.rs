//! What has been measured, and the file that keeps it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use runtime_benches::session::Metrics;
use serde::{Deserialize, Serialize};

use crate::setting::Setting;
use crate::stats::Spread;

/// Everything that one or several runs of `compare` have measured in one setting.
#[derive(Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) setting: Setting,
    /// The day of the newest measurement.
    pub(crate) date: String,
    /// The contestants' names, in the order in which they are shown.
    pub(crate) contestants: Vec<String>,
    /// By scenario, then by contestant.
    pub(crate) cells: BTreeMap<String, BTreeMap<String, Cell>>,
}

/// What one contestant has brought in one scenario: what remains of a [`Run`].
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Cell {
    /// The median, the least and the most of each metric.
    pub(crate) spreads: BTreeMap<String, Spread>,
    /// For each metric what it was in proportion to those that tables compare with, in the median of the rounds.
    pub(crate) ratios: BTreeMap<String, Metrics>,
    /// What is counted once: instructions and system calls.
    pub(crate) once: Metrics,
    /// Why something is missing.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) problems: BTreeSet<String>,
}

/// The runs of one scenario, by contestant.
pub(crate) type Runs = BTreeMap<String, Run>;

/// What one contestant measures in one scenario.
#[derive(Default)]
pub(crate) struct Run {
    /// What each round measured; empty where it failed, so that rounds keep their places.
    pub(crate) rounds: Vec<Metrics>,
    once: Metrics,
    problems: BTreeSet<String>,
}

impl Run {
    /// Adds a round, or why there is none.
    pub(crate) fn add_round(&mut self, outcome: io::Result<Metrics>) {
        let metrics = outcome.unwrap_or_else(|error| {
            self.problems.insert(error.to_string());
            Metrics::new()
        });
        self.rounds.push(metrics);
    }

    /// Adds what is counted once, or why it cannot be counted.
    pub(crate) fn add_once(&mut self, what: &str, outcome: io::Result<Metrics>) {
        match outcome {
            Ok(metrics) => self.once.extend(metrics),
            Err(error) => {
                self.problems.insert(format!("{what}: {error}"));
            }
        }
    }

    /// What is kept of it, as `contestant`'s, beside the others.
    pub(crate) fn cell(&self, contestant: &str, all: &Runs) -> Cell {
        let is_compared = |other: &str| {
            let is_lead = ["raw", "tokio"].contains(&other);
            other != contestant && (is_lead || contestant == "runtime")
        };
        let mut cell = Cell {
            once: self.once.clone(),
            problems: self.problems.clone(),
            ..Cell::default()
        };
        let metrics: BTreeSet<_> = self.rounds.iter().flat_map(BTreeMap::keys).collect();
        for metric in metrics {
            let values = self
                .rounds
                .iter()
                .filter_map(|round| round.get(metric).copied());
            let spread = Spread::of(values.collect());
            cell.spreads
                .extend(spread.map(|spread| (metric.clone(), spread)));
            let others = all.iter().filter(|(other, _)| is_compared(other));
            let ratios =
                others.filter_map(|(other, run)| Some((other.clone(), self.ratio(metric, run)?)));
            cell.ratios.insert(metric.clone(), ratios.collect());
        }
        cell
    }

    /// The median of the rounds' ratios, since the two figures of one round were measured one right after the other.
    fn ratio(&self, metric: &str, other: &Self) -> Option<f64> {
        let rounds = self.rounds.iter().zip(&other.rounds);
        let ratios = rounds.filter_map(|(own, other)| Some(own.get(metric)? / other.get(metric)?));
        Spread::of(ratios.filter(|ratio| ratio.is_finite()).collect()).map(|spread| spread.median)
    }
}

impl Results {
    /// Reads saved results; `None` if there are none.
    pub(crate) fn load(path: &Path) -> io::Result<Option<Self>> {
        match fs::read_to_string(path) {
            Ok(text) => Ok(Some(serde_json::from_str(&text)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn save(&self, path: &Path) -> io::Result<()> {
        let mut text = serde_json::to_string_pretty(&Self {
            cells: BTreeMap::new(),
            setting: self.setting.clone(),
            date: self.date.clone(),
            contestants: self.contestants.clone(),
        })?;
        // Each cell on a line of its own: what changes is then seen at once.
        let scenarios: Vec<_> = self
            .cells
            .iter()
            .map(|(scenario, cells)| {
                let lines = cells.iter().map(|(contestant, cell)| {
                    Ok(format!(
                        "      {contestant:?}: {}",
                        serde_json::to_string(cell)?
                    ))
                });
                Ok(format!(
                    "    {scenario:?}: {{\n{}\n    }}",
                    lines.collect::<io::Result<Vec<_>>>()?.join(",\n")
                ))
            })
            .collect::<io::Result<_>>()?;
        text = text.replace(
            "\"cells\": {}",
            &format!("\"cells\": {{\n{}\n  }}", scenarios.join(",\n")),
        );
        fs::write(path, text + "\n")
    }

    /// Puts these results into older ones: what both measured becomes what was measured now.
    ///
    /// # Errors
    ///
    /// If the older ones come from another machine or other versions: figures of one table must be comparable.
    pub(crate) fn merge_into(mut self, older: Self) -> io::Result<Self> {
        if older.setting != self.setting {
            return Err(io::Error::other(
                "the saved results are of another machine or other versions: measure everything, without --only and --contestants",
            ));
        }
        for contestant in older.contestants {
            if !self.contestants.contains(&contestant) {
                self.contestants.push(contestant);
            }
        }
        for (scenario, cells) in older.cells {
            let newer = self.cells.entry(scenario).or_default();
            for (contestant, cell) in cells {
                newer.entry(contestant).or_insert(cell);
            }
        }
        Ok(self)
    }

    /// What one contestant has brought in one scenario.
    pub(crate) fn cell(&self, scenario: &str, contestant: &str) -> Option<&Cell> {
        self.cells.get(scenario)?.get(contestant)
    }
}

//! What has been measured, and the file that keeps it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use runtime_benches::session::Metrics;
use serde::{Deserialize, Serialize};

use crate::setting::Setting;

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

/// What one contestant has brought in one scenario.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Cell {
    /// What each round measured; empty where it failed, so that rounds keep their places.
    pub(crate) rounds: Vec<Metrics>,
    /// What is counted once: instructions and system calls.
    pub(crate) once: Metrics,
    /// Why something is missing.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) problems: BTreeSet<String>,
}

impl Cell {
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
        fs::write(path, serde_json::to_string_pretty(self)? + "\n")
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

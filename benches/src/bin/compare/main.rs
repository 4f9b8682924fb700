//! The comparison: measures this runtime beside its peers and a hand-written epoll loop.
//!
//! `docs/benchmarks.md` says how it measures and how to read what it prints.

mod build;
mod charts;
mod document;
mod measure;
mod metrics;
mod perf;
mod plot;
mod results;
mod scenarios;
mod setting;
mod stats;
mod tables;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, ExitCode};

use runtime_benches::callgrind;
use runtime_benches::programs::Programs;

use crate::measure::Measure;
use crate::results::{Results, Runs};
use crate::scenarios::Scenario;
use crate::setting::Setting;

const USAGE: &str = "\
usage: compare [--rounds NUMBER] [--only PART,PART...] [--contestants NAME,NAME...] [--quick] [--write]
       compare --render
  --rounds       measure so often, contestants in turn (5)
  --only         run only the scenarios whose name has one of these parts in it
  --contestants  run only these (see `contestant list`)
  --quick        measure briefly, once or as often as --rounds says: shows that everything runs, not how fast
  --write        keep the results, and write tables and charts into docs
  --render       only write tables and charts, from the results that were kept";

/// What was asked for.
struct Options {
    rounds: usize,
    only: Vec<String>,
    contestants: Option<Vec<String>>,
    is_quick: bool,
    writes: bool,
    renders: bool,
}

fn main() -> ExitCode {
    let outcome = Options::parse(env::args().skip(1)).and_then(|options| run(&options));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> io::Result<()> {
    let scenarios = scenarios::all();
    let docs = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs"));
    let kept = docs.join("benchmarks/results.json");
    if options.renders {
        let results =
            Results::load(&kept)?.ok_or_else(|| io::Error::other("no results are kept"))?;
        return document::write(docs, &scenarios, &results);
    }
    let setting = Setting::detect(Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../Cargo.lock"
    )))?;
    let results = compare(options, setting, &scenarios)?;
    if !options.writes {
        return Ok(());
    }
    fs::create_dir_all(docs.join("benchmarks"))?;
    let results = match Results::load(&kept)? {
        Some(older) if options.is_partial() => results.merge_into(older)?,
        _ => results,
    };
    results.save(&kept)?;
    document::write(docs, &scenarios, &results)
}

/// Runs the scenarios that were asked for, and prints each one's table as soon as it is there.
fn compare(options: &Options, setting: Setting, scenarios: &[Scenario]) -> io::Result<Results> {
    let programs = Programs::build(true)?;
    let mut results = Results {
        setting,
        date: setting::today()?,
        contestants: options.chosen(&programs)?,
        cells: BTreeMap::new(),
    };
    let measure = Measure {
        programs: &programs,
        is_quick: options.is_quick,
    };
    for scenario in scenarios {
        if !options.asks_for(scenario) {
            continue;
        }
        let runs = run_scenario(&measure, scenario, options.rounds, &results.contestants);
        let cells = runs
            .iter()
            .map(|(contestant, run)| (contestant.clone(), run.cell(contestant, &runs)));
        results.cells.insert(scenario.name.clone(), cells.collect());
        println!("\n{} ({})\n", scenario.title, scenario.name);
        println!("{}", tables::detail(scenario, &results));
    }
    Ok(results)
}

/// Runs one scenario with all contestants in turn, round by round, so that whatever else changes on the machine
/// changes for all of them.
fn run_scenario(
    measure: &Measure<'_>,
    scenario: &Scenario,
    rounds: usize,
    contestants: &[String],
) -> Runs {
    let mut runs = Runs::new();
    for _ in 0..rounds {
        for contestant in contestants {
            let run = runs.entry(contestant.clone()).or_default();
            // Who fails once may have been unlucky; who fails with the same words twice is not asked again.
            if run.rounds.iter().filter(|round| round.is_empty()).count() < 2 {
                run.add_round(measure.round(scenario, contestant));
            }
        }
    }
    let no_instructions = callgrind::missing();
    for (contestant, run) in &mut runs {
        if run.rounds.iter().all(BTreeMap::is_empty) {
            continue; // it has said why
        }
        if scenario.counts_calls() {
            run.add_once("system calls", measure.calls(scenario, contestant));
        }
        if scenario.counts().is_some() {
            let outcome = match &no_instructions {
                Some(reason) => Err(io::Error::other(reason.as_str())),
                None => measure.instructions(scenario, contestant),
            };
            run.add_once("instructions", outcome);
        }
    }
    runs
}

impl Options {
    fn parse(mut words: impl Iterator<Item = String>) -> io::Result<Self> {
        let mut options = Self {
            rounds: 0,
            only: Vec::new(),
            contestants: None,
            is_quick: false,
            writes: false,
            renders: false,
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| io::Error::other(USAGE));
            match word.as_str() {
                "--rounds" => {
                    options.rounds = value()?.parse().map_err(|_| io::Error::other(USAGE))?;
                }
                "--only" => options.only = value()?.split(',').map(str::to_owned).collect(),
                "--contestants" => {
                    options.contestants = Some(value()?.split(',').map(str::to_owned).collect());
                }
                "--quick" => options.is_quick = true,
                "--write" => options.writes = true,
                "--render" => options.renders = true,
                _ => return Err(io::Error::other(USAGE)),
            }
        }
        if options.rounds == 0 {
            options.rounds = if options.is_quick { 1 } else { 5 };
        }
        Ok(options)
    }

    fn asks_for(&self, scenario: &Scenario) -> bool {
        let is_part = |part: &String| scenario.name.contains(part);
        self.only.is_empty() || self.only.iter().any(is_part)
    }

    fn is_partial(&self) -> bool {
        !self.only.is_empty() || self.contestants.is_some()
    }

    /// The contestants that are built and were asked for.
    fn chosen(&self, programs: &Programs) -> io::Result<Vec<String>> {
        let output = Command::new(&programs.contestant).arg("list").output()?;
        let all = String::from_utf8_lossy(&output.stdout);
        let mut names: Vec<_> = all.lines().map(str::to_owned).collect();
        let Some(chosen) = &self.contestants else {
            return Ok(names);
        };
        if let Some(unknown) = chosen.iter().find(|name| !names.contains(name)) {
            return Err(io::Error::other(format!(
                "there is no contestant {unknown:?}, but {}",
                names.join(", ")
            )));
        }
        names.retain(|name| chosen.contains(name));
        Ok(names)
    }
}

//! Medians and ratios of rounds.

use serde::{Deserialize, Serialize};

use crate::results::{Cell, Results};

/// The middle and the ends of what rounds have measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// `None` of no values.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let half = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[half]
        } else {
            f64::midpoint(values[half - 1], values[half])
        };
        Some(Self {
            median,
            least,
            most,
        })
    }
}

impl Cell {
    /// What the rounds have measured of `metric`, or what was counted of it once.
    pub(crate) fn spread(&self, metric: &str) -> Option<Spread> {
        match self.once.get(metric) {
            Some(&value) => Spread::of(vec![value]),
            None => self.spreads.get(metric).copied(),
        }
    }
}

impl Results {
    /// What `contestant` needs of `metric` for what `other` needs of it.
    pub(crate) fn ratio(
        &self,
        scenario: &str,
        metric: &str,
        contestant: &str,
        other: &str,
    ) -> Option<f64> {
        let cell = self.cell(scenario, contestant)?;
        if contestant == other {
            return cell.spread(metric).map(|_| 1.0);
        }
        if let Some(own) = cell.once.get(metric) {
            return Some(own / self.cell(scenario, other)?.once.get(metric)?);
        }
        cell.ratios.get(metric)?.get(other).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::Spread;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        let spread = Spread::of(vec![4.0, 1.0, 2.0, 8.0]);
        let (median, least, most) = (3.0, 1.0, 8.0);
        assert_eq!(
            spread,
            Some(Spread {
                median,
                least,
                most
            })
        );
        assert_eq!(Spread::of(Vec::new()), None);
    }
}

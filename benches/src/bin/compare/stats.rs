//! Medians and ratios of rounds.

use crate::results::{Cell, Results};

/// The middle and the ends of what rounds have measured.
#[derive(Clone, Copy, Debug, PartialEq)]
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
        if let Some(&value) = self.once.get(metric) {
            return Spread::of(vec![value]);
        }
        let rounds = self.rounds.iter();
        Spread::of(
            rounds
                .filter_map(|round| round.get(metric).copied())
                .collect(),
        )
    }
}

impl Results {
    /// What `contestant` needs of `metric` for what `other` needs of it: the median of the rounds' ratios, since the two
    /// of one round were measured one right after the other.
    pub(crate) fn ratio(
        &self,
        scenario: &str,
        metric: &str,
        contestant: &str,
        other: &str,
    ) -> Option<f64> {
        let (cell, other) = (
            self.cell(scenario, contestant)?,
            self.cell(scenario, other)?,
        );
        if let (Some(own), Some(others)) = (cell.once.get(metric), other.once.get(metric)) {
            return Some(own / others);
        }
        let rounds = cell.rounds.iter().zip(&other.rounds);
        let ratios = rounds.filter_map(|(own, other)| Some(own.get(metric)? / other.get(metric)?));
        Spread::of(ratios.filter(|ratio| ratio.is_finite()).collect()).map(|spread| spread.median)
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

//! Percentiles of samples that are all kept.

/// Returns the sample that `fraction` (from 0 to 1) of them do not exceed, and reorders them; 0 of none.
pub fn percentile(samples: &mut [u64], fraction: f64) -> u64 {
    let Some(last) = samples.len().checked_sub(1) else {
        return 0;
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a place in a slice, between 0 and `last`"
    )]
    let place = (last as f64 * fraction.clamp(0.0, 1.0)).round() as usize;
    *samples.select_nth_unstable(place).1
}

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn the_ends_and_the_middle_are_found_in_any_order() {
        let mut samples = [5, 1, 4, 2, 3];
        assert_eq!(percentile(&mut samples, 0.0), 1);
        assert_eq!(percentile(&mut samples, 0.5), 3);
        assert_eq!(percentile(&mut samples, 1.0), 5);
        assert_eq!(percentile(&mut [], 0.5), 0);
    }
}

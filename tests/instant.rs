//! Instants are nanoseconds on the monotonic clock, whose arithmetic stops at the ends of its range.

mod common;

use common::run;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use runtime::time::{Duration, Instant, sleep_until};

const SECOND: Duration = Duration::from_secs(1);
const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The start of the clock's range.
fn start() -> Instant {
    Instant::now() - Duration::MAX
}

/// The end of the clock's range.
fn end() -> Instant {
    Instant::now() + Duration::MAX
}

#[test]
fn the_clock_never_goes_back() {
    let mut before = Instant::now();
    for _ in 0..10_000 {
        let now = Instant::now();
        assert!(now >= before);
        before = now;
    }
}

#[test]
fn sums_and_differences_agree_to_the_nanosecond() {
    let now = Instant::now();
    let later = now + Duration::new(5, 7);
    assert_eq!(later - now, Duration::new(5, 7));
    assert_eq!(later - Duration::new(5, 7), now);
    assert_eq!(later.duration_since(now), Duration::new(5, 7));
    assert_eq!(later.checked_duration_since(now), Some(Duration::new(5, 7)));
    assert_eq!(later.saturating_duration_since(now), Duration::new(5, 7));
    let mut moved = now;
    moved += SECOND;
    assert_eq!(moved, now + SECOND);
    moved -= SECOND;
    assert_eq!(moved, now);
    assert!(now < later && now == moved);
}

#[test]
fn a_difference_that_would_be_negative_is_zero_or_none() {
    let now = Instant::now();
    let later = now + SECOND;
    assert_eq!(now - later, Duration::ZERO);
    assert_eq!(now.duration_since(later), Duration::ZERO);
    assert_eq!(now.saturating_duration_since(later), Duration::ZERO);
    assert_eq!(now.checked_duration_since(later), None);
    assert_eq!(later.elapsed(), Duration::ZERO);
    assert_eq!(now.checked_duration_since(now), Some(Duration::ZERO));
}

#[test]
fn sums_stop_at_the_end_and_differences_at_the_start_of_the_clock() {
    let now = Instant::now();
    for far in [Duration::MAX, Duration::from_secs(u64::MAX), 6 * CENTURY] {
        assert_eq!(now.checked_add(far), None);
        assert_eq!(now.checked_sub(far), None);
        assert_eq!(now + far, end());
        assert_eq!(now - far, start());
    }
    let mut moved = now;
    moved += Duration::MAX;
    assert_eq!(moved, end());
    moved -= Duration::MAX;
    assert_eq!(moved, start());
    assert_eq!(end() + Duration::from_nanos(1), end());
    assert_eq!(start() - Duration::from_nanos(1), start());
    assert_eq!(end() - start(), Duration::from_nanos(u64::MAX));
    assert_eq!(
        start().checked_add(Duration::from_nanos(u64::MAX)),
        Some(end())
    );
}

#[test]
fn elapsed_time_is_that_of_the_standard_clock() {
    let (std_before, before) = (std::time::Instant::now(), Instant::now());
    let inner = before.elapsed();
    assert!(std_before.elapsed() >= inner);
}

#[test]
fn an_instant_of_the_standard_library_is_never_taken_for_an_earlier_one() {
    for _ in 0..1000 {
        let before = Instant::now();
        let std = std::time::Instant::now();
        assert!(Instant::from_std(std) >= before);
        assert_eq!(Instant::from(std), Instant::from_std(std));
    }
}

#[test]
fn a_sleep_until_an_instant_of_the_standard_library_is_not_early() {
    run(async {
        for micros in [1, 100, 1000] {
            let deadline = std::time::Instant::now() + Duration::from_micros(micros);
            sleep_until(deadline.into()).await;
            assert!(std::time::Instant::now() >= deadline);
        }
    });
}

#[test]
fn a_conversion_and_back_changes_nothing() {
    let now = std::time::Instant::now();
    let instants = [
        Some(now),
        now.checked_add(CENTURY),
        now.checked_add(SECOND),
        now.checked_sub(Duration::from_nanos(1)),
    ];
    for std in instants.into_iter().flatten() {
        assert_eq!(Instant::from_std(std).into_std(), std);
        assert_eq!(std::time::Instant::from(Instant::from(std)), std);
    }
}

#[test]
fn the_ends_of_both_clocks_convert_without_a_panic_and_in_order() {
    let ours = [start(), Instant::now(), end()].map(Instant::into_std);
    assert!(ours.is_sorted(), "{ours:?}");
    let now = std::time::Instant::now();
    let mut far = now;
    for bit in (0..63).rev() {
        far = far
            .checked_add(Duration::from_secs(1 << bit))
            .unwrap_or(far);
    }
    assert_eq!(Instant::from_std(far), end(), "it means never");
    let mut early = now;
    for bit in (0..63).rev() {
        early = early
            .checked_sub(Duration::from_secs(1 << bit))
            .unwrap_or(early);
    }
    assert!(Instant::from_std(early) <= Instant::from_std(now));
}

#[test]
fn the_debug_form_is_the_time_on_the_clock() {
    assert_eq!(format!("{:?}", start()), "Instant(0ns)");
    assert_eq!(
        format!("{:?}", start() + Duration::new(3, 5)),
        "Instant(3.000000005s)"
    );
}

proptest! {
    #[test]
    fn arithmetic_agrees_with_that_of_whole_numbers(at in any::<u64>(), by in any::<u64>()) {
        let instant = start() + Duration::from_nanos(at);
        let duration = Duration::from_nanos(by);
        let nanos = |instant: Instant| instant.duration_since(start()).as_nanos();
        prop_assert_eq!(nanos(instant + duration), u128::from(at.saturating_add(by)));
        prop_assert_eq!(nanos(instant - duration), u128::from(at.saturating_sub(by)));
        prop_assert_eq!(
            instant.checked_add(duration).map(nanos),
            at.checked_add(by).map(u128::from)
        );
        prop_assert_eq!(
            instant.checked_sub(duration).map(nanos),
            at.checked_sub(by).map(u128::from)
        );
        let other = start() + duration;
        prop_assert_eq!(instant.cmp(&other), at.cmp(&by));
    }

    #[test]
    fn nothing_panics(seconds in any::<u64>(), nanos in 0..1_000_000_000_u32) {
        let duration = Duration::new(seconds, nanos);
        let now = Instant::now();
        prop_assert!(now + duration >= now);
        prop_assert!(now - duration <= now);
        let _ = (now + duration).into_std();
        let _ = (now - duration).into_std();
    }
}

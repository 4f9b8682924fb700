//! A runtime runs on its thread as often as it is asked to, and is set up by its builder.

mod common;

use std::cell::{Cell, RefCell};
use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::thread;

use common::panics::panic_of;
use common::{LIMIT, Trace, Traced, pair, within};
use runtime::io::{AsyncReadExt, AsyncWriteExt};
use runtime::task::yield_now;
use runtime::time::{Duration, sleep};
use runtime::{Builder, Runtime};

#[test]
fn a_runtime_can_be_run_again_and_again() {
    within(LIMIT, || {
        let runtime = Runtime::new().unwrap();
        for number in 0..100 {
            let output = runtime.block_on(async move {
                let task = runtime::spawn(async move { number });
                yield_now().await;
                task.await.unwrap()
            });
            assert_eq!(output, number);
        }
        for _ in 0..3 {
            runtime.block_on(sleep(Duration::from_micros(100)));
        }
    });
}

#[test]
fn the_free_function_makes_a_new_runtime_each_time() {
    within(LIMIT, || {
        let trace = Trace::default();
        for round in 0..3 {
            let kept = Traced(trace.clone(), "task");
            let output = runtime::block_on(async move {
                runtime::spawn(async move {
                    let _kept = kept;
                    std::future::pending::<()>().await;
                });
                yield_now().await;
                round
            });
            assert_eq!(output, round);
            assert_eq!(trace.take(), ["drop task"], "it went with its runtime");
        }
    });
}

#[test]
fn a_future_may_borrow_from_its_caller() {
    within(LIMIT, || {
        let words = vec!["hello".to_owned(), "world".to_owned()];
        let mut lengths = Vec::new();
        let longest = runtime::block_on(async {
            for word in &words {
                yield_now().await;
                lengths.push(word.len());
            }
            words.iter().map(String::as_str).max().unwrap()
        });
        assert_eq!((longest, lengths), ("world", vec![5, 5]));
    });
}

#[test]
fn tasks_rest_between_two_runs_and_go_on_in_the_next() {
    within(LIMIT, || {
        let runtime = Builder::new().event_interval(1).build().unwrap();
        let steps = Rc::new(Cell::new(0));
        let task = runtime.spawn({
            let steps = Rc::clone(&steps);
            async move {
                for _ in 0..3 {
                    steps.set(steps.get() + 1);
                    yield_now().await;
                }
                "done"
            }
        });
        assert_eq!(steps.get(), 0, "nothing runs by itself");
        for expected in [1, 2, 3] {
            // One poll of a task lies between two of the main future.
            runtime.block_on(yield_now());
            assert_eq!(steps.get(), expected);
        }
        assert!(!task.is_finished());
        assert_eq!(runtime.block_on(task).unwrap(), "done");
    });
}

#[test]
fn timers_and_sockets_of_one_run_serve_in_the_next() {
    within(LIMIT, || {
        let runtime = Runtime::new().unwrap();
        let (mut client, mut server) = runtime.block_on(pair());
        let reading = runtime.spawn(async move {
            let mut byte = [0];
            server.read_exact(&mut byte).await.unwrap();
            byte[0]
        });
        let sleeping = runtime.spawn(sleep(Duration::from_millis(1)));
        runtime.block_on(yield_now());
        assert!(!reading.is_finished());
        runtime.block_on(client.write_all(b"!")).unwrap();
        assert_eq!(runtime.block_on(reading).unwrap(), b'!');
        runtime.block_on(sleeping).unwrap();
    });
}

#[test]
fn a_wake_that_comes_between_two_runs_counts_in_the_next() {
    within(LIMIT, || {
        let runtime = Runtime::new().unwrap();
        let (sender, receiver) = async_channel::bounded::<u32>(1);
        let task = runtime.spawn(async move { receiver.recv().await.unwrap() });
        runtime.block_on(yield_now());
        let thread = thread::spawn(move || sender.send_blocking(7).unwrap());
        thread.join().unwrap();
        assert_eq!(runtime.block_on(task).unwrap(), 7);
    });
}

#[test]
fn two_runtimes_on_one_thread_run_in_turn() {
    within(LIMIT, || {
        let trace = Trace::default();
        let runtimes = [Runtime::new().unwrap(), Runtime::new().unwrap()];
        let note = |name: &'static str| {
            let trace = trace.clone();
            async move { trace.push(name) }
        };
        runtimes[0].spawn(note("first"));
        runtimes[1].spawn(note("second"));
        runtimes[1].block_on(yield_now());
        assert_eq!(trace.take(), ["second"]);
        runtimes[0].block_on(yield_now());
        assert_eq!(trace.take(), ["first"]);
    });
}

#[test]
fn a_panic_of_the_main_future_goes_to_the_caller_and_the_runtime_lives_on() {
    within(LIMIT, || {
        let runtime = Runtime::new().unwrap();
        let task = runtime.spawn(async {
            yield_now().await;
            5
        });
        let panic = panic_of(|| {
            runtime.block_on(async {
                yield_now().await;
                panic!("on purpose");
            })
        });
        assert_eq!(panic.message, "on purpose");
        assert_eq!(runtime.block_on(task).unwrap(), 5);
        let caught = catch_unwind(AssertUnwindSafe(|| runtime.block_on(async { 6 })));
        assert_eq!(caught.unwrap(), 6);
    });
}

#[test]
fn the_main_future_is_polled_before_the_tasks_and_after_them() {
    within(LIMIT, || {
        let order = Rc::new(RefCell::new(Vec::new()));
        let runtime = Runtime::new().unwrap();
        for name in ["before", "too"] {
            let order = Rc::clone(&order);
            runtime.spawn(async move { order.borrow_mut().push(name) });
        }
        runtime.block_on(async {
            order.borrow_mut().push("main");
            yield_now().await;
            order.borrow_mut().push("main again");
        });
        assert_eq!(order.take(), ["main", "before", "too", "main again"]);
    });
}

#[test]
fn looking_for_events_after_each_poll_serves_as_well() {
    for polls in [1, 2, 7] {
        within(LIMIT, || {
            let runtime = Builder::new().event_interval(polls).build().unwrap();
            runtime.block_on(async {
                let (mut client, mut server) = pair().await;
                let echo = runtime::spawn(async move {
                    let mut byte = [0];
                    while server.read_exact(&mut byte).await.is_ok() {
                        server.write_all(&byte).await.unwrap();
                    }
                });
                for sent in 0..50 {
                    client.write_all(&[sent]).await.unwrap();
                    let mut byte = [0];
                    client.read_exact(&mut byte).await.unwrap();
                    assert_eq!(byte, [sent]);
                    sleep(Duration::from_micros(10)).await;
                }
                drop(client);
                echo.await.unwrap();
            });
        });
    }
}

#[test]
fn the_ends_of_every_range_build_a_runtime_that_runs() {
    within(LIMIT, || {
        let largest = |builder: &mut Builder| {
            builder
                .event_interval(u32::MAX)
                .budget(u32::MAX)
                .max_events(1 << 20)
                .build()
        };
        let smallest =
            |builder: &mut Builder| builder.event_interval(1).budget(1).max_events(1).build();
        for runtime in [
            largest(&mut Builder::new()),
            smallest(&mut Builder::default()),
        ] {
            runtime.unwrap().block_on(async {
                let (mut client, mut server) = pair().await;
                client.write_all(b"!").await.unwrap();
                server.read_exact(&mut [0]).await.unwrap();
                sleep(Duration::from_micros(10)).await;
            });
        }
    });
}

#[test]
fn a_knob_out_of_its_range_panics_where_it_was_turned() {
    let first = line!() + 2;
    let panics = [
        panic_of(|| Builder::new().event_interval(0).build()),
        panic_of(|| Builder::new().budget(0).build()),
        panic_of(|| Builder::new().max_events(0).build()),
        panic_of(|| Builder::new().max_events((1 << 20) + 1).build()),
    ];
    let messages = [
        "`event_interval` must be at least 1",
        "`budget` must be at least 1",
        "`max_events` must be between 1 and 1,048,576",
        "`max_events` must be between 1 and 1,048,576",
    ];
    for ((line, panic), message) in (first..).zip(panics).zip(messages) {
        assert_eq!(panic.message, message);
        assert_eq!((panic.file.as_str(), panic.line), (file!(), line));
    }
}

#[test]
fn a_builder_can_be_used_again() {
    within(LIMIT, || {
        let mut builder = Builder::new();
        builder.event_interval(3);
        let runtimes = [builder.build().unwrap(), builder.clone().build().unwrap()];
        for runtime in runtimes {
            assert_eq!(runtime.block_on(async { 1 }), 1);
        }
    });
}

#[test]
fn the_building_thread_is_named_and_the_name_is_cut_at_15_bytes() {
    for (name, kept) in [
        ("shard-0", "shard-0"),
        ("a name of many bytes", "a name of many "),
    ] {
        let thread = thread::spawn(move || {
            let runtime = Builder::new().thread_name(name).build().unwrap();
            let comm = runtime.block_on(async { fs::read_to_string("/proc/thread-self/comm") });
            drop(runtime);
            let after = fs::read_to_string("/proc/thread-self/comm").unwrap();
            assert_eq!(after, comm.unwrap(), "the name stays");
            after
        });
        assert_eq!(thread.join().unwrap(), format!("{kept}\n"));
    }
}

#[test]
fn a_thread_name_with_a_nul_is_an_error_and_no_runtime() {
    let error = Builder::new().thread_name("a\0b").build().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}

//! The operations, and how bytes spell them.

/// An operation. Numbers that name a register are taken modulo the number of registers; a place is how far
/// ahead in the code something begins.
#[derive(Clone, Copy, Debug)]
pub(super) enum Op {
    /// Ends a poll with an output, and every other run.
    Return,
    /// Ends a poll after a wake of itself.
    Yield,
    /// Ends a poll.
    Pend,
    Panic,
    Spawn {
        handle: u8,
        place: u8,
        runtime: u8,
    },
    /// Says what the task's destructor will run.
    OnDrop {
        place: u8,
    },
    /// Says what the output's destructor will run.
    OnOutput {
        place: u8,
    },
    /// Keeps a waker of whoever runs this, or a foreign one.
    KeepWaker {
        waker: u8,
        place: u8,
    },
    CopyWaker {
        from: u8,
        to: u8,
    },
    Wake {
        waker: u8,
    },
    WakeByRef {
        waker: u8,
    },
    DropWaker {
        waker: u8,
    },
    Abort {
        handle: u8,
    },
    KeepAbort {
        handle: u8,
        abort: u8,
    },
    AbortVia {
        abort: u8,
    },
    DropAbort {
        abort: u8,
    },
    DropHandle {
        handle: u8,
    },
    PollHandle {
        handle: u8,
        place: u8,
    },
    /// Waits for a task.
    Join {
        handle: u8,
    },
    /// Keeps a handle in the task.
    Hold {
        handle: u8,
    },
    NewTimer {
        timer: u8,
        when: u8,
    },
    PollTimer {
        timer: u8,
        place: u8,
    },
    ResetTimer {
        timer: u8,
        when: u8,
    },
    DropTimer {
        timer: u8,
    },
    Sleep {
        when: u8,
    },
    NewPair {
        pair: u8,
    },
    TryWrite {
        end: u8,
        length: u8,
    },
    TryRead {
        end: u8,
        length: u8,
    },
    /// Waits until something can be written.
    Write {
        end: u8,
        length: u8,
    },
    /// Waits until something can be read.
    Read {
        end: u8,
        length: u8,
    },
    Shutdown {
        end: u8,
    },
    DropEnd {
        end: u8,
    },
    /// Enters a runtime's `block_on`; inside of it, lets the runtime come to rest and leaves.
    Run {
        runtime: u8,
    },
    /// Drops a runtime, and makes another if there was none.
    Switch {
        runtime: u8,
    },
}

/// How many operations there are: bytes that are equal modulo this stand for the same one.
pub(super) const COUNT: u8 = 34;

/// A place in the code.
pub(super) type Place = usize;

/// Takes the operation at `at`, which moves on; `None` at the end of the code.
pub(super) fn decode(code: &[u8], at: &mut Place) -> Option<Op> {
    let mut next = || {
        let byte = code.get(*at).copied();
        *at += 1;
        byte
    };
    let kind = next()?;
    let mut byte = || next().unwrap_or(0);
    Some(match kind % COUNT {
        0 => Op::Return,
        1 => Op::Yield,
        2 => Op::Pend,
        3 => Op::Panic,
        4 => Op::Spawn {
            handle: byte(),
            place: byte(),
            runtime: byte(),
        },
        5 => Op::OnDrop { place: byte() },
        6 => Op::OnOutput { place: byte() },
        7..20 => decode_tasks(kind % COUNT, byte),
        _ => decode_kernel(kind % COUNT, byte),
    })
}

fn decode_tasks(kind: u8, mut byte: impl FnMut() -> u8) -> Op {
    let first = byte();
    match kind {
        7 => Op::KeepWaker {
            waker: first,
            place: byte(),
        },
        8 => Op::CopyWaker {
            from: first,
            to: byte(),
        },
        9 => Op::Wake { waker: first },
        10 => Op::WakeByRef { waker: first },
        11 => Op::DropWaker { waker: first },
        12 => Op::Abort { handle: first },
        13 => Op::KeepAbort {
            handle: first,
            abort: byte(),
        },
        14 => Op::AbortVia { abort: first },
        15 => Op::DropAbort { abort: first },
        16 => Op::DropHandle { handle: first },
        17 => Op::PollHandle {
            handle: first,
            place: byte(),
        },
        18 => Op::Join { handle: first },
        _ => Op::Hold { handle: first },
    }
}

fn decode_kernel(kind: u8, mut byte: impl FnMut() -> u8) -> Op {
    let first = byte();
    match kind {
        20 => Op::NewTimer {
            timer: first,
            when: byte(),
        },
        21 => Op::PollTimer {
            timer: first,
            place: byte(),
        },
        22 => Op::ResetTimer {
            timer: first,
            when: byte(),
        },
        23 => Op::DropTimer { timer: first },
        24 => Op::Sleep { when: first },
        25 => Op::NewPair { pair: first },
        26 => Op::TryWrite {
            end: first,
            length: byte(),
        },
        27 => Op::TryRead {
            end: first,
            length: byte(),
        },
        28 => Op::Write {
            end: first,
            length: byte(),
        },
        29 => Op::Read {
            end: first,
            length: byte(),
        },
        30 => Op::Shutdown { end: first },
        31 => Op::DropEnd { end: first },
        32 => Op::Run { runtime: first },
        _ => Op::Switch { runtime: first },
    }
}

//! The mixture: what is done next.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use fastrand::Rng;

use super::client::{self, Echo};
use super::shard::{Errand, Shared};
use super::tally::Kind;
use super::tasks;
use super::timers;

/// How often what is done, in percent.
const MIXTURE: [(Kind, u8); 17] = [
    (Kind::Echo, 15),
    (Kind::Upload, 10),
    (Kind::Download, 10),
    (Kind::Reset, 7),
    (Kind::Exchange, 3),
    (Kind::Errand, 9),
    (Kind::Refusal, 4),
    (Kind::Resolution, 2),
    (Kind::Storm, 4),
    (Kind::Set, 5),
    (Kind::Abort, 5),
    (Kind::Panic, 5),
    (Kind::Channel, 5),
    (Kind::Wake, 6),
    (Kind::Question, 3),
    (Kind::Timers, 5),
    (Kind::Interval, 2),
];

/// Does one operation after the other until the deadline.
pub(crate) async fn drive(shared: Arc<Shared>, mut random: Rng, deadline: Instant) {
    while Instant::now() < deadline {
        let kind = choose(&mut random);
        shared.tally.begin(kind);
        if let Err(error) = operate(kind, &shared, &mut random).await {
            panic!("{kind:?} failed: {error}");
        }
        shared.tally.end(kind);
    }
}

fn choose(random: &mut Rng) -> Kind {
    let mut rest = random.u8(..100);
    let chosen = MIXTURE
        .iter()
        .find(|(_, share)| match rest.checked_sub(*share) {
            Some(left) => {
                rest = left;
                false
            }
            None => true,
        });
    chosen.expect("the shares add up to 100").0
}

async fn operate(kind: Kind, shared: &Shared, random: &mut Rng) -> io::Result<()> {
    match kind {
        Kind::Echo => client::echo(shared, random).await?,
        Kind::Upload => client::upload(shared, random).await?,
        Kind::Download => client::download(shared, random).await?,
        Kind::Reset => client::reset(shared, random).await?,
        Kind::Exchange => {
            let echo = Echo::begin(shared, random).await?;
            echo.finish(shared, random).await?;
        }
        Kind::Errand => errand(shared, random).await?,
        Kind::Refusal => client::refusal().await?,
        Kind::Resolution => client::resolve().await?,
        Kind::Storm => tasks::storm(random).await,
        Kind::Set => tasks::set(random).await,
        Kind::Abort => tasks::abort(random).await,
        Kind::Panic => tasks::panic(random).await,
        Kind::Channel => tasks::channel(random).await,
        Kind::Wake => shared.threads.wake(random).await,
        Kind::Question => shared.threads.ask(random).await,
        Kind::Timers => timers::timers(random).await,
        Kind::Interval => timers::ticks(random).await,
        Kind::Runtime => unreachable!("a runtime cannot run within another"),
    }
    Ok(())
}

/// Begins a conversation that another runtime, or this one, finishes.
async fn errand(shared: &Shared, random: &mut Rng) -> io::Result<()> {
    let echo = Echo::begin(shared, random).await?;
    let (done, is_done) = async_channel::bounded(1);
    let seed = random.u64(..);
    shared.send(Errand { echo, seed, done }, random).await;
    is_done.recv().await.map_err(io::Error::other)
}

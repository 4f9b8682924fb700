//! The floor: what the kernel and a few lines by hand cost, without a runtime.

mod connections;
mod echo;
mod epoll;

use serde_json::Value;

use crate::contestant::Contestant;
use crate::scenarios::{Scenario, unsupported};
use crate::server::Echo;

/// Edge-triggered epoll and `libc`, by hand.
pub(crate) struct Raw;

impl Contestant for Raw {
    fn serve_echo(server: Echo) {
        echo::serve(server);
    }

    fn measure(_scenario: Scenario, _count: u64) -> Value {
        unsupported("this needs a runtime")
    }
}

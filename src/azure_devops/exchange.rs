//! What was asked and what came back, for whoever listens: never a body, and of an address only the
//! template of its route.

use std::cell::RefCell;
use std::future::Future;
use std::time::Duration;

/// Most exchanges that one listener hears of.
const MAX_HEARD: usize = 500;

tokio::task_local! {
    static HEARD: RefCell<Vec<Exchange>>;
}

/// A request that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// Method.
    pub method: String,
    /// Template of the route.
    pub route: &'static str,
    /// Status; none where no answer came.
    pub status: Option<u16>,
    /// Azure DevOps' id of the request, where it gave one.
    pub activity_id: Option<String>,
    /// How long it took until the answer began.
    pub took: Duration,
}

/// Does `work`, and gives what it asked of Azure DevOps: of every client, in its own task.
pub async fn listening<T>(work: impl Future<Output = T>) -> (T, Vec<Exchange>) {
    let heard = HEARD.scope(RefCell::default(), async {
        let done = work.await;
        (done, HEARD.with(RefCell::take))
    });
    heard.await
}

/// Tells whoever listens.
pub(super) fn tell(exchange: Exchange) {
    // Most often nobody does.
    let _ = HEARD.try_with(|heard| {
        let mut heard = heard.borrow_mut();
        if heard.len() < MAX_HEARD {
            heard.push(exchange);
        }
    });
}

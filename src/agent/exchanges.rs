//! What a tool call asked of Azure DevOps, for the record.

use crate::azure_devops;
use crate::journal::{Entry, Exchange, Holder, Outcome};
use crate::tools::{Call, Interrupted, Toolbox};

/// Works on a call; what it asked of Azure DevOps is written down together with what comes next.
pub(super) async fn run(
    toolbox: &Toolbox,
    holder: &mut Holder,
    call: Call<'_>,
) -> Result<Outcome, Interrupted> {
    let step = call.step;
    let (done, heard) = azure_devops::listening(toolbox.run(holder, call)).await;
    let exchanges: Vec<Exchange> = heard.into_iter().map(recorded).collect();
    if !exchanges.is_empty() {
        holder.defer(Entry::Exchanged { step, exchanges });
    }
    done
}

fn recorded(heard: azure_devops::Exchange) -> Exchange {
    Exchange {
        method: heard.method,
        route: heard.route.to_owned(),
        status: heard.status,
        activity_id: heard.activity_id,
        duration_ms: u64::try_from(heard.took.as_millis()).unwrap_or(u64::MAX),
    }
}

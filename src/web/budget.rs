//! How far budgets are used up, as the page and the API show it.

use serde_json::{Value, json};

use super::State;
use super::problem::Problem;
use crate::journal::RunId;
use crate::policy::{Meter, Quantity, Scope};

/// From this percentage on a limit stands out.
const NEARLY: u64 = 80;

/// The budgets of a run's page.
pub(super) struct Shown {
    /// The limit that is nearest.
    pub(super) nearest: Bar,
    /// Limits that something was used of: all of the run's own, and the nearest of each wider scope.
    pub(super) bars: Vec<Bar>,
}

/// One limit.
pub(super) struct Bar {
    /// `12 of 60 model calls`.
    pub(super) words: String,
    /// Of what: `this run`.
    pub(super) scope: &'static str,
    pub(super) percent: u64,
    /// `quiet`, `wait` or `bad`.
    pub(super) tone: &'static str,
}

/// Every limit that a run counts in, the narrowest scope first.
pub(super) async fn of_run(state: &State, run: &RunId) -> Result<Vec<Meter>, Problem> {
    let spent = state.journal.spent(run, state.clock.now().as_microsecond()).await?;
    let policy = state.policy.get();
    let of = |scope: Scope| policy.budgets().meters(scope, spent.of(scope));
    Ok(Scope::ALL.into_iter().flat_map(of).collect())
}

/// The limits in the API.
pub(super) fn json(meters: &[Meter]) -> Value {
    let one = |meter: &Meter| {
        // Millionths and milliseconds are this program's; a reader wants units.
        let (unit, by) = match &meter.quantity {
            Quantity::Money => (meter.currency.as_str(), 1e6),
            Quantity::WallTime => ("seconds", 1e3),
            _ => ("", 1.0),
        };
        let number = |value: u64| match unit {
            "" => json!(value),
            _ => json!(value as f64 / by),
        };
        json!({
            "scope": meter.scope,
            "limit_of": meter.quantity.key(),
            "spent": number(meter.spent),
            "limit": number(meter.limit),
            "unit": unit,
            "percent": meter.percent(),
            "words": meter.words(),
        })
    };
    meters.iter().map(one).collect()
}

impl Shown {
    /// What the page of a run shows; none before anything was used.
    pub(super) fn of(meters: &[Meter]) -> Option<Self> {
        let nearest = |scope: Option<Scope>| {
            let of = meters.iter().filter(|meter| scope.is_none_or(|scope| meter.scope == scope));
            // Of several that are as near, the first: money before tokens before calls.
            of.rev().max_by_key(|meter| meter.percent())
        };
        let own = meters.iter().filter(|meter| meter.scope == Scope::Run && meter.spent > 0);
        let wider = Scope::ALL.into_iter().filter(|scope| *scope != Scope::Run);
        let wider = wider.filter_map(|scope| nearest(Some(scope))).filter(|meter| meter.spent > 0);
        let bars: Vec<Bar> = own.chain(wider).map(Bar::of).collect();
        let nearest = nearest(None).filter(|_| !bars.is_empty())?;
        Some(Self { nearest: Bar::of(nearest), bars })
    }
}

impl Bar {
    fn of(meter: &Meter) -> Self {
        let percent = meter.percent();
        let tone = match percent {
            100.. => "bad",
            NEARLY.. => "wait",
            _ => "quiet",
        };
        Self { words: meter.words(), scope: meter.scope.words(), percent, tone }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{DEFAULT_POLICY, SpentBy, parse};

    #[test]
    fn the_nearest_limit_stands_first_and_what_is_not_used_is_left_out() {
        let policy = parse(DEFAULT_POLICY).unwrap();
        let mut spent = SpentBy::default();
        spent.of_mut(Scope::Run).turns = 6;
        spent.of_mut(Scope::Run).writes.insert("git.push".into(), 36);
        spent.of_mut(Scope::Day).turns = 500;
        let of = |scope: Scope| policy.budgets().meters(scope, spent.of(scope));
        let meters: Vec<Meter> = Scope::ALL.into_iter().flat_map(of).collect();
        let shown = Shown::of(&meters).unwrap();
        assert_eq!(
            (shown.nearest.words.as_str(), shown.nearest.tone),
            ("36 of 40 writes of git.push", "wait")
        );
        let words: Vec<&str> = shown.bars.iter().map(|bar| bar.words.as_str()).collect();
        assert_eq!(
            words,
            [
                "6 of 60 model calls",
                "36 of 150 writes",
                "36 of 40 writes of git.push",
                "500 of 50,000 model calls"
            ]
        );
        let told = json(&meters);
        let turns = told.as_array().unwrap().iter().find(|meter| meter["limit_of"] == "turns").unwrap();
        assert_eq!(
            (&turns["scope"], &turns["spent"], &turns["limit"]),
            (&json!("run"), &json!(6), &json!(60))
        );
    }
}

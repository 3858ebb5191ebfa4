//! How much is enough: limits on what runs may use, and what they have used, as plain numbers.
//!
//! The limits stand in the policy file (`[budget]`), so that who may do what and how much of it are
//! changed in one place by the same people. What was used is counted by the journal.

mod form;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use globset::GlobMatcher;
use serde::{Deserialize, Serialize};

use crate::weaken::{Defence, off};

pub(super) use form::Form;

/// Millionths of the currency in one.
const MICROS: u64 = 1_000_000;

/// Over what is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// One run, from its beginning.
    Run,
    /// All runs about one work item or pull request, in one day (UTC).
    Thread,
    /// All runs, in one day (UTC).
    Day,
    /// All runs of one project, in one month (UTC).
    Project,
}

impl Scope {
    /// All of them, the narrowest first.
    pub const ALL: [Self; 4] = [Self::Run, Self::Thread, Self::Day, Self::Project];

    /// The name of its table in the policy file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Thread => "thread",
            Self::Day => "day",
            Self::Project => "project",
        }
    }

    /// What it is about, in words that follow "of" or "budget of".
    pub fn words(self) -> &'static str {
        match self {
            Self::Run => "this run",
            Self::Thread => "this work item or pull request today",
            Self::Day => "all runs today",
            Self::Project => "this project this month",
        }
    }
}

/// Tokens of one deployment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Read by the model.
    pub input: u64,
    /// Of those, from its cache.
    pub cached: u64,
    /// Written by the model.
    pub output: u64,
}

/// What was used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Calls of the model.
    pub turns: u64,
    /// Calls of tools.
    pub steps: u64,
    /// Time that calls of models and tools took, in milliseconds. Waiting for people does not count.
    pub worked_ms: u64,
    /// Tokens, by deployment.
    pub tokens: BTreeMap<String, Tokens>,
    /// Writes to Azure DevOps, by the name of the action.
    pub writes: BTreeMap<String, u64>,
}

/// What was used, over everything that a run counts in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpentBy([Spent; 4]);

impl SpentBy {
    /// What was used in one scope.
    pub fn of(&self, scope: Scope) -> &Spent {
        &self.0[scope as usize]
    }

    /// The same, to be added to.
    pub fn of_mut(&mut self, scope: Scope) -> &mut Spent {
        &mut self.0[scope as usize]
    }

    /// Adds a turn of the model to every scope.
    pub fn turn(&mut self, deployment: &str, used: Tokens, worked_ms: u64) {
        for spent in &mut self.0 {
            spent.turns += 1;
            spent.worked_ms += worked_ms;
            let tokens = spent.tokens.entry(deployment.to_owned()).or_default();
            tokens.input += used.input;
            tokens.cached += used.cached;
            tokens.output += used.output;
        }
    }
}

/// What is about to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ahead<'a> {
    /// A call of the model.
    Turn,
    /// A call of a tool.
    Step,
    /// A write of this action.
    Write(&'a str),
}

/// What is limited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// Calls of the model.
    Turns,
    /// Calls of tools.
    Steps,
    /// Tokens, read and written.
    Tokens,
    /// Money, in millionths of the currency.
    Money,
    /// Time worked, in milliseconds.
    WallTime,
    /// Writes of the actions that this pattern names.
    Writes(String),
}

impl Quantity {
    /// The key in the policy file, below the table of its scope.
    pub fn key(&self) -> String {
        match self {
            Self::Turns => "turns".to_owned(),
            Self::Steps => "steps".to_owned(),
            Self::Tokens => "tokens".to_owned(),
            Self::Money => "money".to_owned(),
            Self::WallTime => "wall_time".to_owned(),
            Self::Writes(pattern) => format!("writes.\"{pattern}\""),
        }
    }

    /// What it is called.
    pub fn words(&self) -> String {
        match self {
            Self::Turns => "model calls".to_owned(),
            Self::Steps => "tool calls".to_owned(),
            Self::Tokens => "tokens".to_owned(),
            Self::Money => "money".to_owned(),
            Self::WallTime => "time worked".to_owned(),
            Self::Writes(pattern) if pattern == "*" => "writes".to_owned(),
            Self::Writes(pattern) => format!("writes of {pattern}"),
        }
    }
}

/// One limit, and how far it is used up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meter {
    /// Over what.
    pub scope: Scope,
    /// Of what.
    pub quantity: Quantity,
    /// How much was used, in the quantity's unit.
    pub spent: u64,
    /// How much may be.
    pub limit: u64,
    /// The currency of money.
    pub currency: String,
}

impl Meter {
    /// How far, in percent, at most 100.
    pub fn percent(&self) -> u64 {
        match self.limit {
            0 => 100,
            limit => self.spent.saturating_mul(100).checked_div(limit).unwrap_or(100).min(100),
        }
    }

    /// How far, in words: `12 of 60 model calls`.
    pub fn words(&self) -> String {
        let of = |spent: String, limit: String| format!("{spent} of {limit}");
        match &self.quantity {
            Quantity::Money => {
                format!("{} {}", of(money(self.spent), money(self.limit)), self.currency)
            }
            Quantity::WallTime => of(time(self.spent), time(self.limit)) + " worked",
            other => of(grouped(self.spent), grouped(self.limit)) + " " + &other.words(),
        }
    }
}

/// A limit that leaves no room for what is ahead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Over(pub Meter);

impl Over {
    /// Whose limit it is.
    pub fn scope(&self) -> Scope {
        self.0.scope
    }

    /// Who can raise it, and how.
    pub fn remedy(&self) -> String {
        format!(
            "Whoever keeps the rules can raise {} in [budget.{}] of the policy file (POLICY_FILE).",
            self.0.quantity.key(),
            self.0.scope.as_str()
        )
    }
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "The budget of {} is spent: {}.", self.0.scope.words(), self.0.words())
    }
}

/// The limits of one scope. What is absent is not limited.
#[derive(Clone, Debug, Default)]
struct Limits {
    turns: Option<u64>,
    steps: Option<u64>,
    tokens: Option<u64>,
    money: Option<u64>,
    wall_time_ms: Option<u64>,
    writes: Vec<WriteLimit>,
}

#[derive(Clone, Debug)]
struct WriteLimit {
    pattern: String,
    matcher: GlobMatcher,
    limit: u64,
}

/// What is limited, as it stands in the limits.
#[derive(Clone, Copy)]
enum Limited<'a> {
    Turns,
    Steps,
    Tokens,
    Money,
    WallTime,
    Writes(&'a WriteLimit),
}

/// A limit: of what, how much was used, how much may be.
type UsedUp<'a> = (Limited<'a>, u64, u64);

/// What tokens of a deployment cost, in millionths of the currency for a token.
#[derive(Clone, Debug)]
struct Price {
    deployment: GlobMatcher,
    input: f64,
    cached: f64,
    output: f64,
}

/// All limits, and what tokens cost.
#[derive(Clone, Debug)]
pub struct Budgets {
    currency: String,
    limits: [Limits; 4],
    prices: Vec<Price>,
}

impl Budgets {
    /// What these tokens cost, in millionths of the currency; by the first price that fits.
    pub fn cost(&self, spent: &Spent) -> u64 {
        let one = |(deployment, tokens): (&String, &Tokens)| {
            let price = self.prices.iter().find(|price| price.deployment.is_match(deployment))?;
            let cached = tokens.cached.min(tokens.input);
            let fresh = tokens.input - cached;
            let all = fresh as f64 * price.input
                + cached as f64 * price.cached
                + tokens.output as f64 * price.output;
            Some(all)
        };
        // A float that is too large becomes the largest number: then the budget is spent.
        spent.tokens.iter().filter_map(one).sum::<f64>().ceil() as u64
    }

    /// The currency of prices and limits.
    pub fn currency(&self) -> &str {
        &self.currency
    }

    /// Every limit of a scope, and how far it is used up.
    pub fn meters(&self, scope: Scope, spent: &Spent) -> Vec<Meter> {
        self.used(scope, spent).map(|used| self.meter(scope, used)).collect()
    }

    fn used<'a>(&'a self, scope: Scope, spent: &'a Spent) -> impl Iterator<Item = UsedUp<'a>> {
        let limits = &self.limits[scope as usize];
        let tokens: u64 = spent.tokens.values().map(|tokens| tokens.input + tokens.output).sum();
        let plain = [
            (Limited::Money, self.cost(spent), limits.money),
            (Limited::Tokens, tokens, limits.tokens),
            (Limited::Turns, spent.turns, limits.turns),
            (Limited::Steps, spent.steps, limits.steps),
            (Limited::WallTime, spent.worked_ms, limits.wall_time_ms),
        ];
        let plain = plain.into_iter().filter_map(|(of, spent, limit)| Some((of, spent, limit?)));
        let writes = limits.writes.iter().map(|limit| {
            let written = spent.writes.iter().filter(|(action, _)| limit.matcher.is_match(action));
            (Limited::Writes(limit), written.map(|(_, n)| n).sum(), limit.limit)
        });
        plain.chain(writes)
    }

    fn meter(&self, scope: Scope, (of, spent, limit): UsedUp<'_>) -> Meter {
        let quantity = match of {
            Limited::Money => Quantity::Money,
            Limited::Tokens => Quantity::Tokens,
            Limited::Turns => Quantity::Turns,
            Limited::Steps => Quantity::Steps,
            Limited::WallTime => Quantity::WallTime,
            Limited::Writes(limit) => Quantity::Writes(limit.pattern.clone()),
        };
        Meter { scope, quantity, spent, limit, currency: self.currency.clone() }
    }

    /// The first limit that leaves no room for what is ahead, the narrowest scope first.
    pub fn over(&self, spent: &SpentBy, ahead: Ahead<'_>) -> Option<Over> {
        if off(Defence::Budgets) {
            return None;
        }
        let concerns = |of: Limited<'_>| match (of, ahead) {
            (Limited::Turns, Ahead::Turn) | (Limited::Steps, Ahead::Step) => true,
            (Limited::Tokens | Limited::Money | Limited::WallTime, Ahead::Turn | Ahead::Step) => true,
            (Limited::Writes(limit), Ahead::Write(action)) => limit.matcher.is_match(action),
            _ => false,
        };
        Scope::ALL.into_iter().find_map(|scope| {
            let mut used = self.used(scope, spent.of(scope));
            let over = used.find(|(of, spent, limit)| spent >= limit && concerns(*of))?;
            Some(Over(self.meter(scope, over)))
        })
    }
}

/// Money with two digits behind the point, more where it is less than a hundredth.
fn money(micros: u64) -> String {
    let (whole, part) = (micros / MICROS, micros % MICROS);
    match micros {
        1..10_000 => format!("0.{part:06}"),
        _ => format!("{}.{:02}", grouped(whole), part / (MICROS / 100)),
    }
}

fn time(ms: u64) -> String {
    let seconds = ms / 1_000;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}

/// A number with commas between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

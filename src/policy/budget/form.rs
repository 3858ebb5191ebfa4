//! The tables of `[budget]` in a policy file. What a file leaves out is as in the rules that ship, so
//! that no slip lifts a limit.

use std::collections::BTreeMap;

use globset::{GlobBuilder, GlobMatcher};
use serde::Deserialize;

use super::{Budgets, Limits, MICROS, Price, Scope, WriteLimit};
use crate::policy::{DEFAULT_POLICY, PolicyError, actions};

/// Most prices in one file.
const MAX_PRICES: usize = 200;
/// Longest name of a currency, in characters.
const MAX_CURRENCY: usize = 8;
/// Greatest amount of money that a limit or a price can be.
const MAX_MONEY: f64 = 1e9;
/// Greatest number that any other limit can be.
const MAX_NUMBER: u64 = 1_000_000_000_000;

/// `[budget]` as written.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::policy) struct Form {
    currency: Option<String>,
    run: LimitsForm,
    thread: LimitsForm,
    day: LimitsForm,
    project: LimitsForm,
    price: Vec<PriceForm>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LimitsForm {
    turns: Option<u64>,
    steps: Option<u64>,
    tokens: Option<u64>,
    money: Option<f64>,
    wall_time: Option<String>,
    writes: BTreeMap<String, u64>,
}

/// What a million tokens cost.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceForm {
    deployment: String,
    input: f64,
    cached: Option<f64>,
    output: f64,
}

/// Of the rules that ship, the budgets only.
#[derive(Deserialize)]
struct Shipped {
    budget: Form,
}

impl Form {
    /// The limits: those of this form, over those of the rules that ship.
    ///
    /// # Errors
    /// [`PolicyError::Budget`] for a limit, price or kind of write that means nothing.
    pub(in crate::policy) fn read(self) -> Result<Budgets, PolicyError> {
        let shipped: Shipped = toml::from_str(DEFAULT_POLICY)?;
        let nothing = Budgets { currency: String::new(), limits: Default::default(), prices: Vec::new() };
        self.over(shipped.budget.over(nothing)?)
    }

    fn over(self, below: Budgets) -> Result<Budgets, PolicyError> {
        let currency = self.currency.unwrap_or(below.currency);
        let plain = currency.chars().all(|c| c.is_ascii_uppercase());
        if !plain || currency.is_empty() || currency.len() > MAX_CURRENCY {
            return Err(wrong("currency", "write a code such as \"USD\" or \"EUR\""));
        }
        if self.price.len() > MAX_PRICES {
            return Err(wrong("price", &format!("at most {MAX_PRICES} prices are read")));
        }
        let mut limits = below.limits;
        for (scope, form) in Scope::ALL.into_iter().zip([self.run, self.thread, self.day, self.project]) {
            form.read(scope.as_str(), &mut limits[scope as usize])?;
        }
        let mut prices = self.price.into_iter().map(PriceForm::read).collect::<Result<Vec<_>, _>>()?;
        // What the file does not price is priced as shipped: the last of those fits everything.
        prices.extend(below.prices);
        Ok(Budgets { currency, limits, prices })
    }
}

impl LimitsForm {
    fn read(self, table: &str, limits: &mut Limits) -> Result<(), PolicyError> {
        for (key, given, limit) in [
            ("turns", self.turns, &mut limits.turns),
            ("steps", self.steps, &mut limits.steps),
            ("tokens", self.tokens, &mut limits.tokens),
        ] {
            let Some(given) = given else { continue };
            *limit = Some(number(&format!("{table}.{key}"), given)?);
        }
        if let Some(given) = self.money {
            limits.money = Some(micros(&format!("{table}.money"), given)?);
        }
        if let Some(given) = &self.wall_time {
            let ms = milliseconds(given).ok_or_else(|| {
                wrong(
                    &format!("{table}.wall_time"),
                    "write a time such as \"90s\", \"45m\", \"8h\" or \"30d\"",
                )
            })?;
            limits.wall_time_ms = Some(ms);
        }
        for (pattern, given) in self.writes {
            let key = format!("{table}.writes.\"{pattern}\"");
            let limit = number(&key, given)?;
            let matcher = matcher(&key, &pattern)?;
            let writes = || actions::KNOWN.iter().filter(|action| !actions::is_read(action));
            if !writes().any(|action| matcher.is_match(action)) {
                let known: Vec<&str> = writes().copied().collect();
                return Err(wrong(&key, &format!("there is no such write; known are: {}", known.join(", "))));
            }
            limits.writes.retain(|known| known.pattern != pattern);
            limits.writes.push(WriteLimit { pattern, matcher, limit });
        }
        Ok(())
    }
}

impl PriceForm {
    fn read(self) -> Result<Price, PolicyError> {
        let key = |part: &str| format!("price of {}: {part}", self.deployment);
        for (part, price) in
            [("input", self.input), ("cached", self.cached.unwrap_or(self.input)), ("output", self.output)]
        {
            micros(&key(part), price)?;
        }
        // Per million tokens in the currency is per token in millionths of it.
        Ok(Price {
            deployment: matcher(&key("deployment"), &self.deployment)?,
            input: self.input,
            cached: self.cached.unwrap_or(self.input),
            output: self.output,
        })
    }
}

fn wrong(key: &str, reason: &str) -> PolicyError {
    PolicyError::Budget { key: key.to_owned(), reason: reason.to_owned() }
}

fn number(key: &str, given: u64) -> Result<u64, PolicyError> {
    match given <= MAX_NUMBER {
        true => Ok(given),
        false => Err(wrong(key, &format!("at most {MAX_NUMBER}"))),
    }
}

fn micros(key: &str, given: f64) -> Result<u64, PolicyError> {
    match given.is_finite() && (0.0..=MAX_MONEY).contains(&given) {
        true => Ok((given * MICROS as f64).round() as u64),
        false => Err(wrong(key, "write an amount of 0 or more, such as 12.50")),
    }
}

fn matcher(key: &str, pattern: &str) -> Result<GlobMatcher, PolicyError> {
    let glob = GlobBuilder::new(pattern).build();
    glob.map(|glob| glob.compile_matcher()).map_err(|error| wrong(key, &error.kind().to_string()))
}

fn milliseconds(text: &str) -> Option<u64> {
    let split = text.len().checked_sub(1).filter(|at| text.is_char_boundary(*at))?;
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().ok()?;
    let unit: u64 = match unit {
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(unit).filter(|ms| *ms > 0 && *ms <= MAX_NUMBER)
}

use super::*;
use crate::policy::{PolicyError, parse};

const RULE: &str = "version = 1\n[[rule]]\nid = \"a\"\neffect = \"allow\"\naction = [\"git.read\"]\n";

fn budgets(text: &str) -> Result<Budgets, PolicyError> {
    parse(&format!("{RULE}{text}")).map(|policy| policy.budgets().clone())
}

fn read(text: &str) -> Budgets {
    budgets(text).unwrap()
}

/// What one run used, the same in every scope.
fn spent(change: impl Fn(&mut Spent)) -> SpentBy {
    let mut spent = SpentBy::default();
    Scope::ALL.into_iter().for_each(|scope| change(spent.of_mut(scope)));
    spent
}

#[test]
fn the_rules_that_ship_limit_every_quantity_in_every_scope() {
    let shipped = read("");
    for scope in Scope::ALL {
        let meters = shipped.meters(scope, &Spent::default());
        let keys: Vec<String> = meters.iter().map(|meter| meter.quantity.key()).collect();
        for key in ["money", "tokens", "turns", "steps", "wall_time", "writes.\"*\""] {
            assert!(keys.iter().any(|known| known == key), "{key} is not limited for {scope:?}: {keys:?}");
        }
    }
}

#[test]
fn what_a_file_leaves_out_is_as_shipped_and_what_it_says_counts() {
    let (shipped, own) = (read(""), read("[budget.run]\nturns = 3\n[budget.run.writes]\n\"git.push\" = 1\n"));
    let limit = |budgets: &Budgets, key: &str| {
        let meters = budgets.meters(Scope::Run, &Spent::default());
        meters.into_iter().find(|meter| meter.quantity.key() == key).map(|meter| meter.limit)
    };
    assert_eq!(limit(&own, "turns"), Some(3));
    assert_eq!(limit(&own, "writes.\"git.push\""), Some(1));
    for same in ["steps", "tokens", "money", "wall_time", "writes.\"*\""] {
        assert_eq!(limit(&own, same), limit(&shipped, same), "{same}");
    }
}

#[test]
fn a_budget_with_a_doubt_is_refused() {
    for bad in [
        "[budget]\nmoney = 1\n",
        "[budget.week]\nsteps = 1\n",
        "[budget.run]\nstep = 1\n",
        "[budget.run]\nsteps = -1\n",
        "[budget.run]\nmoney = -0.5\n",
        "[budget.run]\nmoney = inf\n",
        "[budget.run]\nmoney = nan\n",
        "[budget.run]\nwall_time = \"2 weeks\"\n",
        "[budget.run.writes]\n\"git.pull\" = 1\n",
        "[budget.run.writes]\n\"git.read\" = 1\n",
        "[budget]\ncurrency = \"dollars\"\n",
        "[[budget.price]]\ndeployment = \"x\"\ninput = 1\n",
        "[[budget.price]]\ndeployment = \"x\"\ninput = -1\noutput = 1\n",
    ] {
        assert!(budgets(bad).is_err(), "{bad}");
    }
}

#[test]
fn each_limit_stops_what_it_is_about_when_it_is_reached_and_not_before() {
    let limits = "[budget.run]\nturns = 2\nsteps = 3\ntokens = 100\nmoney = 0.001\nwall_time = \"1s\"\n\
                  [budget.run.writes]\n\"thread.*\" = 2\n[[budget.price]]\ndeployment = \"m\"\ninput = 10\noutput = 20\n";
    let budgets = read(limits);
    let over = |spent: &SpentBy, ahead| budgets.over(spent, ahead).map(|over| over.0.quantity.key());
    let turns = |n| spent(move |spent| spent.turns = n);
    assert_eq!(over(&turns(1), Ahead::Turn), None);
    assert_eq!(over(&turns(2), Ahead::Turn).as_deref(), Some("turns"));
    assert_eq!(over(&turns(2), Ahead::Step), None, "tools may still be called");
    let steps = |n| spent(move |spent| spent.steps = n);
    assert_eq!(over(&steps(2), Ahead::Step), None);
    assert_eq!(over(&steps(3), Ahead::Step).as_deref(), Some("steps"));
    let tokens = |deployment: &'static str, input, output| {
        spent(move |spent| {
            spent.tokens.insert(deployment.to_owned(), Tokens { input, cached: 0, output });
        })
    };
    assert_eq!(over(&tokens("m", 50, 20), Ahead::Turn), None);
    assert_eq!(over(&tokens("m", 60, 20), Ahead::Turn).as_deref(), Some("money"), "1,000 millionths");
    assert_eq!(over(&tokens("stand-in", 60, 40), Ahead::Step).as_deref(), Some("tokens"));
    let worked = |n| spent(move |spent| spent.worked_ms = n);
    assert_eq!(over(&worked(999), Ahead::Turn), None);
    assert_eq!(over(&worked(1_000), Ahead::Turn).as_deref(), Some("wall_time"));
    let writes = spent(|spent| {
        spent.writes.insert("thread.reply".into(), 1);
        spent.writes.insert("thread.create".into(), 1);
    });
    assert_eq!(over(&writes, Ahead::Write("thread.set_status")).as_deref(), Some("writes.\"thread.*\""));
    assert_eq!(over(&writes, Ahead::Write("git.push")), None, "another kind");
    assert_eq!(over(&writes, Ahead::Turn), None, "reading and answering go on");
}

#[test]
fn it_is_said_which_budget_how_far_and_who_can_raise_it() {
    let mut spent = SpentBy::default();
    spent.of_mut(Scope::Day).turns = 7;
    let over = read("[budget.day]\nturns = 7\n").over(&spent, Ahead::Turn).unwrap();
    assert_eq!(over.to_string(), "The budget of all runs today is spent: 7 of 7 model calls.");
    assert_eq!(
        over.remedy(),
        "Whoever keeps the rules can raise turns in [budget.day] of the policy file (POLICY_FILE)."
    );
}

#[test]
fn tokens_from_the_cache_cost_less_and_the_first_price_that_fits_counts() {
    let text = "[[budget.price]]\ndeployment = \"big*\"\ninput = 10\ncached = 1\noutput = 30\n\
                [[budget.price]]\ndeployment = \"*\"\ninput = 1\noutput = 1\n";
    let budgets = read(text);
    let one = |deployment: &str, tokens| {
        let tokens = BTreeMap::from([(deployment.to_owned(), tokens)]);
        budgets.cost(&Spent { tokens, ..Spent::default() })
    };
    assert_eq!(one("big-1", Tokens { input: 100, cached: 60, output: 10 }), 40 * 10 + 60 + 10 * 30);
    assert_eq!(one("small", Tokens { input: 100, cached: 60, output: 10 }), 110);
    assert!(
        read("").cost(&Spent {
            tokens: BTreeMap::from([(
                "nobody-knows-it".to_owned(),
                Tokens { input: 1_000, ..Tokens::default() }
            )]),
            ..Spent::default()
        }) > 0,
        "a deployment without a price is not free"
    );
}

#[test]
fn numbers_are_readable() {
    assert_eq!(money(12_345_678_900), "12,345.67");
    assert_eq!(money(0), "0.00");
    assert_eq!(money(1_234), "0.001234");
    assert_eq!(time(3_660_000), "1 h 1 min");
    assert_eq!(grouped(1_234_567), "1,234,567");
}

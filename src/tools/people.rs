//! Finding people, and asking the one who gave the order.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Desk, Fault, Tool, Work, read, schema, trust, words};
use crate::azure_devops::Person;
use crate::journal::Outcome;
use crate::policy::Label;

/// Most people that one search gives.
const MOST_PEOPLE: usize = 10;
/// Longest question, in characters.
const MAX_QUESTION: usize = 2_000;

pub(super) const FIND: Tool = Tool {
    name: "find_person",
    description: "Finds people of the organisation by name or mail address.",
    parameters: schema::strict::<Find>,
    run: |desk, arguments| Box::pin(find(desk, arguments)) as Work<'_>,
};

pub(super) const ASK: Tool = Tool {
    name: super::ASK_PERSON,
    description: "Asks the person who gave the order, when something needed is missing. The work waits for the \
                  answer. Do not ask what you can find out.",
    parameters: schema::strict::<Ask>,
    run: |desk, arguments| Box::pin(ask(desk, arguments)) as Work<'_>,
};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Find {
    name: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Ask {
    question: String,
}

async fn find(desk: &mut Desk<'_>, arguments: Value) -> Result<Outcome, Fault> {
    let Find { name } = read(arguments)?;
    let people = search(desk, &name).await?;
    let names: Vec<&str> = people.iter().map(|person| person.name.as_str()).collect();
    let found = trust::source(desk, "person", name.clone(), &names.join("\n"), Label::Internal);
    desk.saw(found);
    let shown: Vec<Value> =
        people.iter().map(|p| json!({ "name": p.name, "account": p.account, "id": p.id })).collect();
    let summary = match people.as_slice() {
        [] => format!("Nobody is called '{name}'"),
        [one] => one.name.clone(),
        many => format!("{} people", many.len()),
    };
    Ok(Outcome { ok: true, content: json!({ "people": shown }).to_string(), summary, ..Outcome::default() })
}

async fn search(desk: &mut Desk<'_>, name: &str) -> Result<Vec<Person>, Fault> {
    if name.trim().is_empty() {
        return Err(words("The name is empty.", "Give a name or a mail address."));
    }
    desk.gate.read("identity.read").await?;
    let found = desk.toolbox.azure.find_people(name.trim(), MOST_PEOPLE).await?;
    desk.toolbox.remember(&found);
    Ok(found)
}

/// The one person that `name` means.
pub(super) async fn resolve(desk: &mut Desk<'_>, name: &str) -> Result<Person, Fault> {
    let people = search(desk, name).await?;
    let same = |person: &&Person| {
        person.name.eq_ignore_ascii_case(name)
            || person.account.as_ref().is_some_and(|account| account.eq_ignore_ascii_case(name))
    };
    let exact: Vec<&Person> = people.iter().filter(same).collect();
    match (exact.as_slice(), people.as_slice()) {
        ([one], _) => Ok((*one).clone()),
        (_, [one]) => Ok(one.clone()),
        (_, []) => Err(words(
            format!("Nobody in the organisation is called '{name}'."),
            "Leave the person out, or use find_person with another part of the name.",
        )),
        (_, many) => {
            let names: Vec<String> = many
                .iter()
                .map(|p| format!("{} <{}>", p.name, p.account.as_deref().unwrap_or("?")))
                .collect();
            Err(words(
                format!("'{name}' can mean several people: {}.", names.join(", ")),
                "Use the mail address of the one that is meant.",
            ))
        }
    }
}

async fn ask(_desk: &mut Desk<'_>, arguments: Value) -> Result<Outcome, Fault> {
    let Ask { question } = read(arguments)?;
    let question = question.trim();
    if question.is_empty() || question.chars().count() > MAX_QUESTION {
        return Err(words("The question is empty or too long.", "Ask in at most 2,000 characters."));
    }
    let content = json!({ "asked": question, "note": "The answer comes as the person's next message." });
    Ok(Outcome { ok: true, content: content.to_string(), summary: question.to_owned(), ..Outcome::default() })
}

//! `token show`: the tokens that the agent identity can get, claim by claim. Never a token.

use std::time::Duration;

use serde_json::{Value, json};

use super::{cli, login};
use crate::clock::Clock;
use crate::config::{self, Settings};
use crate::identity::{Audience, Claim, Examined, Identity, IdentityError, TokenKind};

/// Longest time that one token is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// One of the kinds beside the agent user's.
struct Beside {
    kind: TokenKind,
    /// Whose it is, in words.
    whose: String,
    claims: Result<Vec<Claim>, String>,
}

/// Prints the claims of the agent user's token beside those of the other kinds. Gives the exit status: 1
/// when the agent user's would not be used.
pub(super) async fn show(told: &cli::Told) -> anyhow::Result<u8> {
    let config = Settings::read()?.check()?;
    let identity = Identity::with_patience(&config.identity, config::http_client()?, Clock::Real, PATIENCE);
    let examined = match identity.examine(Audience::AzureDevOps).await {
        Ok(examined) => examined,
        Err(error) => anyhow::bail!("{error}\n{}", error.remedy()),
    };
    let beside = [application(&identity).await, on_behalf_of(&identity).await];
    match told.json {
        true => println!("{}", serde_json::to_string_pretty(&as_json(&examined, &beside))?),
        false => print!("{}", printed(&examined, &beside)),
    }
    Ok(u8::from(examined.who.is_err()))
}

fn told(error: &IdentityError) -> String {
    format!("{error}. {}", error.remedy())
}

async fn application(identity: &Identity) -> Beside {
    let kind = TokenKind::Application;
    let claims = identity.look_at(kind, None).await.map_err(|error| told(&error));
    Beside { kind, whose: "application alone".into(), claims }
}

async fn on_behalf_of(identity: &Identity) -> Beside {
    let kind = TokenKind::OnBehalfOf;
    let (whose, claims) = match login::whoever().await {
        Ok(Some(person)) => {
            let whose = person.verified.account.unwrap_or(person.verified.name);
            (whose, identity.look_at(kind, Some(&person.token)).await.map_err(|error| told(&error)))
        }
        Ok(None) => {
            let why = "nobody is signed in. Run `ado-coworker login` to see one (it needs SIGN_IN_CLIENT_ID and BLUEPRINT_ID).";
            ("a person".into(), Err(why.to_owned()))
        }
        Err(error) => ("a person".into(), Err(format!("{error:#}"))),
    };
    Beside { kind, whose: format!("on behalf of {whose}"), claims }
}

fn as_json(examined: &Examined, beside: &[Beside]) -> Value {
    let refused = examined.who.as_ref().err();
    let mut shown = json!({
        "accepted": refused.is_none(), "reason": refused.map(ToString::to_string),
        "remedy": refused.map(|error| error.remedy()), "claims": examined.claims, "beside": {},
    });
    for other in beside {
        let name = match other.kind {
            TokenKind::Application => "application",
            TokenKind::AgentUser => "agent_user",
            TokenKind::OnBehalfOf => "on_behalf_of",
        };
        shown["beside"][name] = match &other.claims {
            Ok(claims) => json!({ "of": other.whose, "claims": claims }),
            Err(reason) => json!({ "of": other.whose, "reason": reason }),
        };
    }
    shown
}

fn printed(examined: &Examined, beside: &[Beside]) -> String {
    let mut text = match &examined.who {
        Ok(_) => "The sidecar gives the agent user's token for Azure DevOps. Everything is done with it.\n"
            .to_owned(),
        Err(error) => format!("This token would not be used: {error}.\n{}\n", error.remedy()),
    };
    text.push_str("Beside it, for comparison, the other kinds that an agent identity can get; nothing is done with the first.\n");
    let mut columns: Vec<(&str, &[Claim])> = vec![("agent user", &examined.claims)];
    for other in beside {
        match &other.claims {
            Ok(claims) => columns.push((&other.whose, claims)),
            Err(reason) => text.push_str(&format!("No token {}: {reason}\n", other.whose)),
        }
    }
    let wide = columns.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let mut names: Vec<(&str, &str)> = Vec::new();
    for claim in columns.iter().flat_map(|(_, claims)| claims.iter()) {
        if !names.iter().any(|(name, _)| *name == claim.name) {
            names.push((&claim.name, claim.meaning));
        }
    }
    for (name, meaning) in names {
        text.push_str(&format!("\n{name}"));
        if !meaning.is_empty() {
            text.push_str(&format!("  {meaning}"));
        }
        text.push('\n');
        for (whose, claims) in &columns {
            let value =
                claims.iter().find(|claim| claim.name == name).map_or("-", |claim| claim.value.as_str());
            text.push_str(&format!("  {whose:wide$}  {value}\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_claim_is_explained_once_with_the_value_of_every_kind() {
        let claim =
            |name: &str, value: &str, meaning| Claim { name: name.into(), value: value.into(), meaning };
        let examined = Examined {
            who: Err(IdentityError::ParametersIgnored),
            issued_at: None,
            claims: vec![claim("oid", "5555", "Whom it stands for."), claim("xms_sub_fct", "3 13", "")],
        };
        let beside = [
            Beside {
                kind: TokenKind::Application,
                whose: "application alone".into(),
                claims: Ok(vec![claim("oid", "4444", "Whom it stands for."), claim("roles", "[]", "")]),
            },
            Beside {
                kind: TokenKind::OnBehalfOf,
                whose: "on behalf of a person".into(),
                claims: Err("why.".into()),
            },
        ];
        let text = printed(&examined, &beside);
        assert!(
            text.contains("oid  Whom it stands for.\n  agent user         5555\n  application alone  4444\n"),
            "{text}"
        );
        assert!(text.contains("No token on behalf of a person: why."), "{text}");
        assert!(text.contains("roles\n  agent user         -\n"), "{text}");
        let shown = as_json(&examined, &beside);
        assert_eq!(shown["beside"]["application"]["claims"][0]["value"], "4444");
        assert_eq!(
            (&shown["accepted"], &shown["beside"]["on_behalf_of"]["reason"]),
            (&json!(false), &json!("why."))
        );
    }
}

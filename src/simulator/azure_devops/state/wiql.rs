//! Reading flat WIQL: `SELECT … FROM WorkItems WHERE … ORDER BY …`.

use super::fields::{self, Field};

/// Longest query, in characters.
const QUERY: usize = 32_000;
/// Deepest nesting of parentheses and NOT.
const DEPTH: usize = 64;

/// A query.
#[derive(Debug)]
pub struct Query {
    /// Columns in the order given.
    pub columns: Vec<&'static Field>,
    /// The condition, when there is one.
    pub condition: Option<Condition>,
    /// Sort fields, and whether each is descending.
    pub order: Vec<(&'static Field, bool)>,
}

/// A condition.
#[derive(Debug)]
pub enum Condition {
    /// All of them.
    And(Vec<Condition>),
    /// One of them.
    Or(Vec<Condition>),
    /// Not this one.
    Not(Box<Condition>),
    /// Field, operator, operands.
    Test(&'static Field, Operator, Vec<Operand>),
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `=`
    Equal,
    /// `<>`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterEqual,
    /// `CONTAINS`
    Contains,
    /// `CONTAINS WORDS`
    ContainsWords,
    /// `UNDER`
    Under,
    /// `IN`
    In,
    /// `IS EMPTY`
    Empty,
}

/// What a field is compared with.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// A quoted text.
    Text(String),
    /// A number.
    Number(f64),
    /// Another field.
    Field(&'static str),
    /// `@me`
    Me,
    /// `@project`
    Project,
    /// `@today` with days added.
    Today(i64),
    /// `@currentIteration`
    CurrentIteration,
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Field(String),
    Text(String),
    Number(f64),
    Macro(String),
    Sign(&'static str),
}

/// Reads a query.
///
/// # Errors
/// A text that says what cannot be read or is not served.
pub fn parse(query: &str) -> Result<Query, String> {
    if query.chars().count() > QUERY {
        return Err(format!("The query text is longer than {QUERY} characters."));
    }
    let mut parser = Parser { tokens: lex(query)?, at: 0 };
    parser.expect_word("SELECT")?;
    let columns = parser.columns()?;
    parser.expect_word("FROM")?;
    match parser.next() {
        Some(Token::Word(w)) if w.eq_ignore_ascii_case("WorkItems") => {}
        Some(Token::Word(w)) if w.eq_ignore_ascii_case("WorkItemLinks") => {
            return Err("Queries of links are not served; use FROM WorkItems.".into());
        }
        _ => return Err("Expecting FROM WorkItems.".into()),
    }
    let condition = if parser.take_word("WHERE") { Some(parser.any(0)?) } else { None };
    let order = if parser.take_word("ORDER") { parser.order()? } else { Vec::new() };
    if parser.at < parser.tokens.len() {
        return Err(format!("Unexpected text after the query: {}.", parser.here()));
    }
    Ok(Query { columns, condition, order })
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    fn here(&self) -> String {
        self.peek().map_or_else(|| "the end".into(), |t| format!("{t:?}"))
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Word(w)) if w.eq_ignore_ascii_case(word));
        self.at += usize::from(found);
        found
    }

    fn take_sign(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Sign(s)) if *s == sign);
        self.at += usize::from(found);
        found
    }

    fn expect_word(&mut self, word: &str) -> Result<(), String> {
        if self.take_word(word) { Ok(()) } else { Err(format!("Expecting {word}, found {}.", self.here())) }
    }

    fn field(&mut self) -> Result<&'static Field, String> {
        let name = match self.next() {
            Some(Token::Field(name) | Token::Word(name)) => name,
            _ => return Err("Expecting a field name.".into()),
        };
        fields::find(&name).ok_or_else(|| {
            format!(
                "TF51005: The query references a field that does not exist. The error is caused by «{name}»."
            )
        })
    }

    fn columns(&mut self) -> Result<Vec<&'static Field>, String> {
        let mut columns = vec![self.field()?];
        while self.take_sign(",") {
            columns.push(self.field()?);
        }
        Ok(columns)
    }

    fn order(&mut self) -> Result<Vec<(&'static Field, bool)>, String> {
        self.expect_word("BY")?;
        let mut order = Vec::new();
        loop {
            let field = self.field()?;
            let descending = self.take_word("DESC");
            if !descending {
                self.take_word("ASC");
            }
            order.push((field, descending));
            if !self.take_sign(",") {
                return Ok(order);
            }
        }
    }

    fn any(&mut self, depth: usize) -> Result<Condition, String> {
        let mut terms = vec![self.all(depth)?];
        while self.take_word("OR") {
            terms.push(self.all(depth)?);
        }
        Ok(if terms.len() == 1 { terms.remove(0) } else { Condition::Or(terms) })
    }

    fn all(&mut self, depth: usize) -> Result<Condition, String> {
        let mut terms = vec![self.one(depth)?];
        while self.take_word("AND") {
            terms.push(self.one(depth)?);
        }
        Ok(if terms.len() == 1 { terms.remove(0) } else { Condition::And(terms) })
    }

    fn one(&mut self, depth: usize) -> Result<Condition, String> {
        if depth > DEPTH {
            return Err("The query is nested too deeply.".into());
        }
        if self.take_word("NOT") {
            return Ok(Condition::Not(Box::new(self.one(depth + 1)?)));
        }
        if self.take_sign("(") {
            let inner = self.any(depth + 1)?;
            return if self.take_sign(")") {
                Ok(inner)
            } else {
                Err("Expecting a closing parenthesis.".into())
            };
        }
        let field = self.field()?;
        let negated = self.take_word("NOT");
        let (operator, negated) = self.operator(negated)?;
        let operands = match operator {
            Operator::Empty => Vec::new(),
            Operator::In => self.list()?,
            _ => vec![self.operand()?],
        };
        let test = Condition::Test(field, operator, operands);
        Ok(if negated { Condition::Not(Box::new(test)) } else { test })
    }

    fn operator(&mut self, mut negated: bool) -> Result<(Operator, bool), String> {
        let operator = match self.next() {
            Some(Token::Sign("=")) => Operator::Equal,
            Some(Token::Sign("<>")) => Operator::NotEqual,
            Some(Token::Sign("<")) => Operator::Less,
            Some(Token::Sign("<=")) => Operator::LessEqual,
            Some(Token::Sign(">")) => Operator::Greater,
            Some(Token::Sign(">=")) => Operator::GreaterEqual,
            Some(Token::Word(word)) => match word.to_ascii_uppercase().as_str() {
                "IN" => Operator::In,
                "UNDER" => Operator::Under,
                "CONTAINS" if self.take_word("WORDS") => Operator::ContainsWords,
                "CONTAINS" => Operator::Contains,
                "IS" => {
                    negated ^= self.take_word("NOT");
                    self.expect_word("EMPTY")?;
                    Operator::Empty
                }
                other => return Err(format!("The operator {other} is not served.")),
            },
            _ => return Err("Expecting a comparison operator.".into()),
        };
        Ok((operator, negated))
    }

    fn list(&mut self) -> Result<Vec<Operand>, String> {
        if !self.take_sign("(") {
            return Err("Expecting a list in parentheses after IN.".into());
        }
        let mut operands = vec![self.operand()?];
        while self.take_sign(",") {
            operands.push(self.operand()?);
        }
        if self.take_sign(")") { Ok(operands) } else { Err("Expecting a closing parenthesis.".into()) }
    }

    fn operand(&mut self) -> Result<Operand, String> {
        Ok(match self.next() {
            Some(Token::Text(text)) => Operand::Text(text),
            Some(Token::Number(number)) => Operand::Number(number),
            Some(Token::Word(word))
                if word.eq_ignore_ascii_case("true") || word.eq_ignore_ascii_case("false") =>
            {
                Operand::Text(word)
            }
            Some(Token::Field(name)) => {
                let known = fields::find(&name);
                Operand::Field(known.ok_or_else(|| format!("TF51005: The query references a field that does not exist. The error is caused by «{name}»."))?.reference)
            }
            Some(Token::Macro(name)) => match name.to_ascii_lowercase().as_str() {
                "me" => Operand::Me,
                "project" => Operand::Project,
                "today" => Operand::Today(self.days()?),
                "currentiteration" => Operand::CurrentIteration,
                _ => return Err(format!("The macro @{name} is not served.")),
            },
            _ => return Err("Expecting a value.".into()),
        })
    }

    fn days(&mut self) -> Result<i64, String> {
        let sign = if self.take_sign("-") {
            -1
        } else if self.take_sign("+") {
            1
        } else {
            // `@today-7` may reach us as a negative number.
            return Ok(0);
        };
        match self.next() {
            #[allow(clippy::cast_possible_truncation, reason = "bounded right here")]
            Some(Token::Number(n)) if n.abs() <= 100_000.0 => Ok(sign * n as i64),
            _ => Err("Expecting a number of days after @today.".into()),
        }
    }
}

fn lex(query: &str) -> Result<Vec<Token>, String> {
    let letters: Vec<char> = query.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < letters.len() {
        let c = letters[at];
        let word = |from: usize| {
            letters[from..].iter().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '.')).count()
        };
        match c {
            _ if c.is_whitespace() => at += 1,
            '[' => {
                let end = letters[at..]
                    .iter()
                    .position(|c| *c == ']')
                    .ok_or("A field name lacks its closing bracket.")?;
                tokens.push(Token::Field(letters[at + 1..at + end].iter().collect()));
                at += end + 1;
            }
            '\'' | '"' => {
                let (text, used) = quoted(&letters[at..])?;
                tokens.push(Token::Text(text));
                at += used;
            }
            '@' => {
                let length = word(at + 1);
                tokens.push(Token::Macro(letters[at + 1..at + 1 + length].iter().collect()));
                at += 1 + length;
            }
            _ if c.is_ascii_digit() => {
                let length = letters[at..].iter().take_while(|c| c.is_ascii_digit() || **c == '.').count();
                let text: String = letters[at..at + length].iter().collect();
                tokens.push(Token::Number(text.parse().map_err(|_| format!("{text} is not a number."))?));
                at += length;
            }
            _ if c.is_alphabetic() => {
                let length = word(at);
                tokens.push(Token::Word(letters[at..at + length].iter().collect()));
                at += length;
            }
            _ => {
                let pair: String = letters[at..].iter().take(2).collect();
                let sign = ["<>", "<=", ">=", "<", ">", "=", "(", ")", ",", "-", "+"];
                let found = sign.iter().find(|s| pair.starts_with(**s));
                let found = found.ok_or_else(|| format!("Unexpected character {}.", c.escape_default()))?;
                tokens.push(Token::Sign(found));
                at += found.len();
            }
        }
    }
    Ok(tokens)
}

/// A quoted text; a doubled quote stands for one.
fn quoted(letters: &[char]) -> Result<(String, usize), String> {
    let quote = letters[0];
    let mut text = String::new();
    let mut at = 1;
    while let Some(c) = letters.get(at) {
        if *c == quote {
            if letters.get(at + 1) != Some(&quote) {
                return Ok((text, at + 1));
            }
            at += 1;
        }
        text.push(*c);
        at += 1;
    }
    Err("A text lacks its closing quote.".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_queries_are_read() {
        for query in [
            "SELECT [System.Id] FROM WorkItems",
            "select [System.Id], [System.Title] from workitems where [System.TeamProject] = @project and ([System.State] <> 'Done' or not [System.AssignedTo] = @me) order by [System.ChangedDate] desc, [System.Id]",
            "SELECT [System.Id] FROM WorkItems WHERE [System.ChangedDate] >= @today - 7 AND [System.WorkItemType] IN ('Issue', 'Task') AND [System.AreaPath] UNDER 'Fabrikam' AND [System.Title] NOT CONTAINS 'it''s'",
            "SELECT [System.Id] FROM WorkItems WHERE [System.Description] IS NOT EMPTY AND [System.Tags] CONTAINS 'a' AND [System.Id] > 3",
        ] {
            parse(query).unwrap();
        }
    }

    #[test]
    fn what_is_not_served_is_refused_with_a_reason() {
        for query in [
            "",
            "SELECT",
            "SELECT [No.Such] FROM WorkItems",
            "SELECT [System.Id] FROM WorkItemLinks",
            "SELECT [System.Id] FROM WorkItems WHERE [System.State] EVER 'Done'",
            "SELECT [System.Id] FROM WorkItems WHERE [System.State] = 'Done",
            "SELECT [System.Id] FROM WorkItems ASOF '1'",
            "SELECT [System.Id] FROM WorkItems WHERE ([System.Id] = 1",
            "SELECT [System.Id] FROM WorkItems WHERE [System.Id] = @what",
            "SELECT [System.Id FROM",
            "SELECT [System.Id] FROM WorkItems WHERE [System.Id] = ;",
        ] {
            assert!(!parse(query).unwrap_err().is_empty(), "{query}");
        }
        let deep = format!("SELECT [System.Id] FROM WorkItems WHERE {}[System.Id] = 1", "(".repeat(5000));
        assert!(parse(&deep).unwrap_err().contains("deeply"));
    }
}

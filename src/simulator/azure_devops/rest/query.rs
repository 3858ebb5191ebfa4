//! Query strings: names in any case, enumerations and booleans as text.

use crate::simulator::azure_devops::refusal::Refusal;
use crate::simulator::azure_devops::state::Outcome;

/// Parameters one query may have.
const PARAMETERS: usize = 200;

/// A query string.
#[derive(Clone, Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads the part after the question mark.
    pub fn parse(text: &str) -> Self {
        let pairs = url::form_urlencoded::parse(text.as_bytes()).take(PARAMETERS);
        Self(pairs.map(|(k, v)| (k.into_owned(), v.into_owned())).collect())
    }

    /// A value by name, ignoring case and a dollar in front; an empty value counts as absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        let same = |key: &str| {
            key.strip_prefix('$').unwrap_or(key).eq_ignore_ascii_case(name.strip_prefix('$').unwrap_or(name))
        };
        self.0.iter().find(|(k, v)| same(k) && !v.is_empty()).map(|(_, v)| v.as_str())
    }

    /// A criterion: `searchCriteria.name`, or `name` alone.
    pub fn criterion(&self, name: &str) -> Option<&str> {
        self.get(&format!("searchCriteria.{name}")).or_else(|| self.get(name))
    }

    /// Whether a flag is set.
    pub fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(|v| v.eq_ignore_ascii_case("true") || v == "1")
    }

    /// A number that counts something, `$top` or `$skip`; also as a criterion.
    ///
    /// # Errors
    /// 400 when it is no such number.
    pub fn count(&self, name: &str) -> Outcome<Option<usize>> {
        let bad = |v: &str| Refusal::invalid(format!("${name} ('{}' is not a count)", v.escape_default()));
        self.criterion(&format!("${name}")).map(|v| v.parse().map_err(|_| bad(v))).transpose()
    }

    /// All values of a name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(k, _)| k.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_ignore_case_and_dollar() {
        let query = Query::parse("$Top=5&searchCriteria.Status=active&a=1%2F2+3&empty=");
        assert_eq!(query.count("top").unwrap(), Some(5));
        assert_eq!(query.criterion("status"), Some("active"));
        assert_eq!(query.get("A"), Some("1/2 3"));
        assert_eq!(query.get("empty"), None);
        assert!(Query::parse("$top=-1").count("top").is_err());
    }
}

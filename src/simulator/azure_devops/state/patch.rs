//! JSON Patch as the service takes it.

use serde_json::Value;

use super::Outcome;
use crate::simulator::azure_devops::refusal::Refusal;

/// Operations one document may hold.
const OPERATIONS: usize = 1_000;

/// One operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// `add`, `replace`, `remove`, `test`, `move`, `copy`.
    pub op: String,
    /// Where, from the first slash.
    pub path: String,
    /// Source of `move` and `copy`.
    pub from: Option<String>,
    /// Value; null when absent.
    pub value: Value,
}

/// Reads a JSON Patch document.
///
/// # Errors
/// 400 when it is not a list of operations with `op` and `path`.
pub fn parse(document: &Value) -> Outcome<Vec<Operation>> {
    let bad = |why: &str| {
        Refusal::new(400, "VssPropertyValidationException", format!("The patch document is invalid: {why}"))
    };
    let list = document.as_array().ok_or_else(|| bad("it must be a JSON array of operations"))?;
    if list.is_empty() || list.len() > OPERATIONS {
        return Err(bad(&format!("it must hold 1 to {OPERATIONS} operations")));
    }
    let operation = |entry: &Value| {
        let text = |key: &str| entry[key].as_str().map(str::to_owned);
        let op = match &entry["op"] {
            // Node sends the number of the operation: 0 add, 1 remove, 2 replace, 3 move, 4 copy, 5 test.
            Value::Number(n) => ["add", "remove", "replace", "move", "copy", "test"]
                .get(usize::try_from(n.as_u64()?).ok()?)
                .map(|s| (*s).to_owned())?,
            other => other.as_str()?.to_ascii_lowercase(),
        };
        let known = matches!(op.as_str(), "add" | "remove" | "replace" | "move" | "copy" | "test");
        let path = text("path")?;
        let placed = path.is_empty() || path.starts_with('/');
        (known && placed).then(|| Operation { op, path, from: text("from"), value: entry["value"].clone() })
    };
    list.iter()
        .map(|entry| {
            operation(entry).ok_or_else(|| bad("an operation needs a known op and a path that starts with /"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_document_is_read_and_a_broken_one_is_refused() {
        let read = parse(&json!([{"op": "Add", "path": "/fields/System.Title", "value": "t"}, {"op": 5, "path": "/rev", "value": 3}])).unwrap();
        assert_eq!((read[0].op.as_str(), read[1].op.as_str()), ("add", "test"));
        for bad in [
            json!({}),
            json!([]),
            json!([{"op": "add"}]),
            json!([{"op": "burn", "path": "/x"}]),
            json!([{"op": "add", "path": "x"}]),
            json!([7]),
        ] {
            assert_eq!(parse(&bad).unwrap_err().status, 400, "{bad}");
        }
    }
}

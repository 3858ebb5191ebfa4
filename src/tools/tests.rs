use serde_json::json;

use super::results::MAX_RESULT_BYTES;
use super::*;

#[test]
fn every_schema_is_strict_and_the_whole_is_small() {
    for tool in TOOLS {
        schema::check_strict(&(tool.parameters)()).unwrap_or_else(|e| panic!("{}: {e}", tool.name));
    }
    let text: usize =
        TOOLS.iter().map(|t| t.name.len() + t.description.len() + (t.parameters)().to_string().len()).sum();
    // CONTRACTS: under 3,000 tokens; about four characters each.
    assert!(text < 12_000, "the tools take {text} characters");
    Toolbox::schemas().unwrap();
}

#[test]
fn what_the_model_sees_of_the_tools_has_not_changed_unnoticed() {
    let tools: Vec<Value> = TOOLS
        .iter()
        .map(|t| json!({"name": t.name, "description": t.description, "parameters": (t.parameters)()}))
        .collect();
    insta::assert_json_snapshot!(tools);
}

#[test]
fn a_long_result_is_cut_in_the_middle_and_says_so() {
    let outcome = Outcome { content: "é".repeat(MAX_RESULT_BYTES), ..Outcome::default() };
    let content = limited(outcome).content;
    assert!(content.len() < 2 * MAX_RESULT_BYTES && content.contains("left out"));
}

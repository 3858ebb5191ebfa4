//! JSON schemas of arguments, fit for strict function calling.
//!
//! Strict mode wants every property required (optional ones nullable), no additional properties,
//! no references and no keywords it does not know; what the derive gives is brought to that form.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value, json};

/// Keywords that say nothing a model needs or that strict mode refuses.
const DROPPED: [&str; 7] = ["$schema", "title", "format", "minimum", "maximum", "default", "$defs"];

/// The strict schema of `T`.
pub(super) fn strict<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    make_strict(&mut schema);
    schema
}

fn make_strict(schema: &mut Value) {
    let Value::Object(map) = schema else { return };
    for name in DROPPED {
        map.shift_remove(name);
    }
    if let Some(Value::Array(kinds)) = map.get_mut("oneOf") {
        simplify_enum(kinds);
    }
    flatten_enum(map);
    for name in ["anyOf", "oneOf"] {
        if let Some(Value::Array(parts)) = map.get_mut(name) {
            parts.iter_mut().for_each(make_strict);
        }
    }
    if let Some(items) = map.get_mut("items") {
        make_strict(items);
    }
    let Some(Value::Object(properties)) = map.get_mut("properties") else { return };
    let names: Vec<Value> = properties.keys().map(|name| json!(name)).collect();
    properties.values_mut().for_each(make_strict);
    map.insert("required".into(), Value::Array(names));
    map.insert("additionalProperties".into(), json!(false));
}

/// An enum whose variants have doc comments comes as `oneOf` of constants: the comments are ours,
/// not the model's.
fn simplify_enum(kinds: &mut [Value]) {
    for kind in kinds.iter_mut().filter_map(Value::as_object_mut) {
        if kind.contains_key("const") {
            kind.shift_remove("description");
        }
    }
}

fn flatten_enum(map: &mut Map<String, Value>) {
    let Some(Value::Array(kinds)) = map.get("oneOf") else { return };
    let constants: Option<Vec<Value>> = kinds.iter().map(|kind| kind.get("const").cloned()).collect();
    if let Some(constants) = constants {
        map.shift_remove("oneOf");
        map.insert("type".into(), json!("string"));
        map.insert("enum".into(), Value::Array(constants));
    }
}

/// Says what in a schema is not strict.
#[cfg(test)]
pub(super) fn check_strict(schema: &Value) -> Result<(), String> {
    match schema {
        Value::Object(map) => {
            if map.contains_key("$ref")
                || DROPPED.iter().any(|name| map.contains_key(*name) && *name != "title")
            {
                return Err(format!("has a keyword that strict mode refuses: {schema}"));
            }
            if let Some(properties) = map.get("properties").and_then(Value::as_object) {
                let required = map.get("required").and_then(Value::as_array).ok_or("no required list")?;
                if required.len() != properties.len()
                    || map.get("additionalProperties") != Some(&json!(false))
                {
                    return Err(format!("not every property is required: {schema}"));
                }
                return properties.values().try_for_each(check_strict);
            }
            if map.get("type") == Some(&json!("object")) {
                return Err(format!("an object without properties: {schema}"));
            }
            map.values().try_for_each(check_strict)
        }
        Value::Array(items) => items.iter().try_for_each(check_strict),
        _ => Ok(()),
    }
}

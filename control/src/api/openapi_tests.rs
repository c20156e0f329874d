//! `openapi.json` against the handlers: every route, method, field and type of one is in the
//! other.

use super::Backend;
use super::fake::Fake;
use super::routes::{Call, OPENAPI, ROUTES};
use super::types::{AttachRequest, PublishRequest};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

fn doc() -> Value {
    serde_json::from_str(OPENAPI).unwrap()
}

fn resolve<'a>(doc: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(r) => {
            let at = doc.pointer(r.strip_prefix('#').unwrap());
            at.unwrap_or_else(|| panic!("{r} does not exist"))
        }
        None => schema,
    }
}

fn keys(m: &Map<String, Value>) -> BTreeSet<&str> {
    m.keys().map(String::as_str).collect()
}

/// Strict: an object has exactly the properties of its schema.
fn conforms(doc: &Value, schema: &Value, v: &Value, at: &str) {
    let schema = resolve(doc, schema);
    if let Some(any) = schema["oneOf"].as_array() {
        let some = any
            .iter()
            .find(|s| resolve(doc, s)["type"] != "null")
            .unwrap();
        assert!(any.iter().any(|s| s["type"] == "null"), "{at}");
        if !v.is_null() {
            conforms(doc, some, v, at);
        }
        return;
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(t) => vec![t],
        Value::Array(ts) => ts.iter().filter_map(Value::as_str).collect(),
        _ => panic!("{at}: the schema has no type"),
    };
    let is = match v {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    assert!(types.contains(&is), "{at} is {is}, the file says {types:?}");
    if let Some(allowed) = schema["enum"].as_array() {
        assert!(allowed.contains(v), "{at}: {v} is not in {allowed:?}");
    }
    match v {
        Value::Object(m) if schema.get("properties").is_some() => {
            let properties = schema["properties"].as_object().unwrap();
            assert_eq!(keys(m), keys(properties), "fields of {at}");
            let required: BTreeSet<&str> = schema["required"]
                .as_array()
                .unwrap()
                .iter()
                .filter_map(Value::as_str)
                .collect();
            assert_eq!(required, keys(properties), "required fields of {at}");
            for (k, v) in m {
                conforms(doc, &properties[k], v, &format!("{at}.{k}"));
            }
        }
        Value::Array(all) => {
            assert!(
                !all.is_empty(),
                "{at}: the sample is empty, so nothing was compared"
            );
            for v in all {
                conforms(doc, &schema["items"], v, &format!("{at}[]"));
            }
        }
        _ => {}
    }
}

#[test]
fn every_route_is_in_the_file_and_the_reverse() {
    let doc = doc();
    let ours: BTreeSet<(String, String)> = ROUTES
        .iter()
        .map(|r| (r.path.to_owned(), r.method.to_lowercase()))
        .collect();
    assert_eq!(ours.len(), ROUTES.len(), "a route is in the table twice");
    let theirs: BTreeSet<(String, String)> = doc["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(p, ops)| {
            ops.as_object()
                .unwrap()
                .keys()
                .map(move |m| (p.clone(), m.clone()))
        })
        .collect();
    assert_eq!(ours, theirs);
}

#[test]
fn every_answer_has_the_fields_and_types_of_the_file() {
    let doc = doc();
    for r in ROUTES {
        let op = &doc["paths"][r.path][r.method.to_lowercase()];
        let call = Call {
            name: r.path.contains('{').then(|| "web".to_owned()),
            body: br#"{"spec": "web"}"#.to_vec(),
        };
        let body = (r.handler)(&Fake::default() as &dyn Backend, &call).unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        let at = format!("{} {}", r.method, r.path);
        let ok: Vec<&String> = op["responses"]
            .as_object()
            .unwrap()
            .keys()
            .filter(|k| k.starts_with('2'))
            .collect();
        assert_eq!(ok, [&r.status.as_str().to_owned()], "{at}");
        let schema = &op["responses"][ok[0]]["content"]["application/json"]["schema"];
        conforms(&doc, schema, &body, &at);
        assert_eq!(op["parameters"].is_array(), r.path.contains('{'), "{at}");
        assert_eq!(op["requestBody"].is_object(), r.method == "POST", "{at}");
        for (status, answer) in op["responses"].as_object().unwrap() {
            if !status.starts_with('2') {
                assert_eq!(
                    answer["content"]["application/json"]["schema"]["$ref"],
                    "#/components/schemas/Error",
                    "{at} {status}"
                );
            }
        }
    }
}

/// The request type takes what its schema describes, needs all of it, and takes nothing else.
fn request<T: DeserializeOwned>(doc: &Value, name: &str) {
    let schema = &doc["components"]["schemas"][name];
    let properties = schema["properties"].as_object().unwrap();
    let whole: Map<String, Value> = properties
        .iter()
        .map(|(k, s)| {
            assert_eq!(s["type"], "string", "{name}.{k}");
            (k.clone(), json!("x"))
        })
        .collect();
    let takes = |m: &Map<String, Value>| serde_json::from_value::<T>(Value::Object(m.clone()));
    takes(&whole).unwrap_or_else(|e| panic!("{name}: {e}"));
    for k in properties.keys() {
        let mut less = whole.clone();
        less.remove(k);
        assert!(takes(&less).is_err(), "{name} is taken without {k}");
    }
    let mut more = whole;
    more.insert("another".into(), json!("x"));
    assert!(takes(&more).is_err(), "{name} takes an unknown field");
}

#[test]
fn requests_are_what_the_file_says() {
    let doc = doc();
    request::<AttachRequest>(&doc, "AttachRequest");
    request::<PublishRequest>(&doc, "PublishRequest");
    for (path, name) in [
        ("/v1/ports", "AttachRequest"),
        ("/v1/publications", "PublishRequest"),
    ] {
        assert_eq!(
            doc["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"],
            format!("#/components/schemas/{name}")
        );
    }
}

#[test]
fn the_error_body_is_the_files() {
    let doc = doc();
    let e = super::error::ErrorBody { error: "x".into() };
    let schema = &doc["components"]["schemas"]["Error"];
    conforms(&doc, schema, &serde_json::to_value(e).unwrap(), "Error");
}

#[test]
fn every_schema_is_used() {
    let doc = doc();
    let text = doc.to_string();
    for name in doc["components"]["schemas"].as_object().unwrap().keys() {
        assert!(
            text.contains(&format!("\"#/components/schemas/{name}\"")),
            "{name} is described and never used"
        );
    }
}

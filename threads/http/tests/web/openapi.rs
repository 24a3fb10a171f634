//! Checks the server's responses against the OpenAPI description.

use serde_json::{Map, Value};

use crate::node::Node;

/// Validates values against the description. Supports the JSON Schema keywords that the description uses, and panics on
/// others. Undescribed fields are errors here, although clients must tolerate them.
struct Description(Value);

impl Description {
    fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema.get("$ref") {
            Some(path) => self.0.pointer(path.as_str().unwrap().strip_prefix('#').unwrap()).unwrap(),
            None => schema,
        }
    }

    /// Adds an error, with its path, for each deviation of a value from a schema.
    fn check(&self, schema: &Value, value: &Value, at: &str, errors: &mut Vec<String>) {
        let schema = self.resolve(schema).as_object().unwrap();
        for (keyword, expected) in schema {
            let is_valid = match keyword.as_str() {
                "description" | "default" => true,
                "type" => match expected {
                    Value::Array(kinds) => kinds.iter().any(|kind| is_kind(value, kind.as_str().unwrap())),
                    kind => is_kind(value, kind.as_str().unwrap()),
                },
                "enum" => expected.as_array().unwrap().contains(value),
                "minimum" => value.as_f64().is_none_or(|value| value >= expected.as_f64().unwrap()),
                "maximum" => value.as_f64().is_none_or(|value| value <= expected.as_f64().unwrap()),
                "minLength" => value.as_str().is_none_or(|text| text.len() as u64 >= expected.as_u64().unwrap()),
                "maxLength" => value.as_str().is_none_or(|text| text.len() as u64 <= expected.as_u64().unwrap()),
                "maxItems" => value.as_array().is_none_or(|items| items.len() as u64 <= expected.as_u64().unwrap()),
                "items" => {
                    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.check(expected, item, &format!("{at}[{index}]"), errors);
                    }
                    true
                }
                "required" | "properties" | "additionalProperties" => true,
                other => panic!("{at}: unsupported keyword {other}"),
            };
            if !is_valid {
                errors.push(format!("{at} is {value}, but {keyword} is {expected}"));
            }
        }
        if let Value::Object(fields) = value {
            self.check_fields(schema, fields, at, errors);
        }
    }

    fn check_fields(
        &self,
        schema: &Map<String, Value>,
        fields: &Map<String, Value>,
        at: &str,
        errors: &mut Vec<String>,
    ) {
        let properties = schema.get("properties").and_then(Value::as_object);
        for name in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
            if !fields.contains_key(name.as_str().unwrap()) {
                errors.push(format!("{at} lacks {name}"));
            }
        }
        for (name, field) in fields {
            let known = properties.and_then(|properties| properties.get(name));
            match known.or(schema.get("additionalProperties")) {
                Some(schema) => self.check(schema, field, &format!("{at}.{name}"), errors),
                None if properties.is_none() => {}
                None => errors.push(format!("{at} has an undescribed field {name}")),
            }
        }
    }
}

fn is_kind(value: &Value, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("unknown type {other}"),
    }
}

/// Requests every described path and validates the responses.
fn check_all_paths(node: &Node, share: &str) {
    let description = Description(node.json("/api/v1/openapi.json"));
    let paths = description.0["paths"].as_object().unwrap();
    let mut count = 0;
    for (path, methods) in paths {
        let responses = methods["get"]["responses"].as_object().unwrap();
        let requests = match path.as_str() {
            "/api/v1/share/{hash}" => {
                vec![
                    format!("/api/v1/share/{share}"),
                    format!("/api/v1/share/{}", "0".repeat(64)),
                    "/api/v1/share/1".into(),
                ]
            }
            "/api/v1/history" => {
                vec!["/api/v1/history".into(), "/api/v1/history?window=30d".into(), "/api/v1/history?window=2h".into()]
            }
            path => vec![path.to_owned()],
        };
        for request in requests {
            let response = node.get(&request);
            let described = &responses[&response.status.to_string()];
            let (media_type, content) = described["content"].as_object().unwrap().iter().next().unwrap();
            assert_eq!(response.header("content-type"), Some(media_type.as_str()), "{request}");
            let mut errors = Vec::new();
            if media_type == "application/json" {
                let value = response.json();
                description.check(&content["schema"], &value, &request, &mut errors);
            }
            assert!(errors.is_empty(), "{errors:#?}");
            count += 1;
        }
    }
    assert!(count >= 14, "{count} requests");
}

#[test]
fn responses_of_a_working_node_match_the_description() {
    let node = Node::start();
    let tip = node.json("/api/v1/status")["tip_hash"].as_str().unwrap().to_owned();
    check_all_paths(&node, &tip);
}

#[test]
fn responses_of_an_empty_node_match_the_description() {
    let node = Node::start_empty();
    check_all_paths(&node, &"0".repeat(64));
}

#[test]
fn every_path_is_described() {
    let node = Node::start_empty();
    let description = node.json("/api/v1/openapi.json");
    for path in [
        "/api/v1/status",
        "/api/v1/payouts",
        "/api/v1/miners",
        "/api/v1/shares",
        "/api/v1/peers",
        "/api/v1/bans",
        "/api/v1/blocks",
        "/api/v1/history",
        "/healthz",
        "/metrics",
    ] {
        assert!(description["paths"][path].is_object(), "{path}");
    }
}

#[test]
fn the_validator_detects_errors() {
    let node = Node::start();
    let description = Description(node.json("/api/v1/openapi.json"));
    let schema = serde_json::json!({"$ref": "#/components/schemas/Status"});
    let status = node.json("/api/v1/status");
    let errors = |change: &dyn Fn(&mut Value)| {
        let (mut changed, mut errors) = (status.clone(), Vec::new());
        change(&mut changed);
        description.check(&schema, &changed, "status", &mut errors);
        errors.len()
    };
    assert_eq!(errors(&|_| ()), 0);
    assert_eq!(errors(&|status| drop(status.as_object_mut().unwrap().remove("tip_hash"))), 1);
    assert_eq!(errors(&|status| status["more"] = 1.into()), 1);
    assert_eq!(errors(&|status| status["uptime_secs"] = "1".into()), 1);
    assert_eq!(errors(&|status| status["uptime_secs"] = (-1).into()), 1);
    assert_eq!(errors(&|status| status["recent_shares"][0]["hash"] = "00".into()), 1);
    assert_eq!(errors(&|status| status["network"] = "litecoin".into()), 1);
    assert_eq!(errors(&|status| status["state"]["code"] = "fine".into()), 1);
    assert_eq!(errors(&|status| status["reach"]["state"] = "somehow".into()), 1);
    for peer in 0..2 {
        assert_eq!(errors(&|status| status["peers"][peer]["latency_us"] = "fast".into()), 1);
        assert_eq!(errors(&|status| status["peers"][peer]["direction"] = "sideways".into()), 1);
        assert_eq!(errors(&|status| status["peers"][peer]["route"] = "scenic".into()), 1);
    }
}

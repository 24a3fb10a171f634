//! The server held to its own description.

use serde_json::{Map, Value};

use crate::node::Node;

/// The part of JSON Schema that the description uses; anything else in it is a mistake. Fields that an object's schema
/// does not name are mistakes as well, though clients are told to expect more.
struct Description(Value);

impl Description {
    fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema.get("$ref") {
            Some(path) => self.0.pointer(path.as_str().unwrap().strip_prefix('#').unwrap()).unwrap(),
            None => schema,
        }
    }

    /// Mistakes of a value, each with its place.
    fn check(&self, schema: &Value, value: &Value, place: &str, mistakes: &mut Vec<String>) {
        let schema = self.resolve(schema).as_object().unwrap();
        for (keyword, wanted) in schema {
            let is_right = match keyword.as_str() {
                "description" | "default" => true,
                "type" => match wanted {
                    Value::Array(kinds) => kinds.iter().any(|kind| is_kind(value, kind.as_str().unwrap())),
                    kind => is_kind(value, kind.as_str().unwrap()),
                },
                "enum" => wanted.as_array().unwrap().contains(value),
                "minimum" => value.as_f64().is_none_or(|value| value >= wanted.as_f64().unwrap()),
                "maximum" => value.as_f64().is_none_or(|value| value <= wanted.as_f64().unwrap()),
                "minLength" => value.as_str().is_none_or(|text| text.len() as u64 >= wanted.as_u64().unwrap()),
                "maxLength" => value.as_str().is_none_or(|text| text.len() as u64 <= wanted.as_u64().unwrap()),
                "maxItems" => value.as_array().is_none_or(|items| items.len() as u64 <= wanted.as_u64().unwrap()),
                "items" => {
                    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.check(wanted, item, &format!("{place}[{index}]"), mistakes);
                    }
                    true
                }
                "required" | "properties" | "additionalProperties" => true,
                other => panic!("{place}: the description uses {other}, which this test does not know"),
            };
            if !is_right {
                mistakes.push(format!("{place} is {value}, which is not {keyword} {wanted}"));
            }
        }
        if let Value::Object(fields) = value {
            self.check_fields(schema, fields, place, mistakes);
        }
    }

    fn check_fields(
        &self,
        schema: &Map<String, Value>,
        fields: &Map<String, Value>,
        place: &str,
        mistakes: &mut Vec<String>,
    ) {
        let properties = schema.get("properties").and_then(Value::as_object);
        for name in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
            if !fields.contains_key(name.as_str().unwrap()) {
                mistakes.push(format!("{place} has no {name}"));
            }
        }
        for (name, field) in fields {
            let known = properties.and_then(|properties| properties.get(name));
            match known.or(schema.get("additionalProperties")) {
                Some(schema) => self.check(schema, field, &format!("{place}.{name}"), mistakes),
                None if properties.is_none() => {}
                None => mistakes.push(format!("{place} has {name}, which is not described")),
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
        other => panic!("{other} is no kind of JSON"),
    }
}

/// Asks for everything that is described, and compares.
fn hold_to_description(node: &Node, share: &str) {
    let description = Description(node.json("/api/openapi.json"));
    let paths = description.0["paths"].as_object().unwrap();
    let mut asked = 0;
    for (path, methods) in paths {
        let responses = methods["get"]["responses"].as_object().unwrap();
        let questions = match path.as_str() {
            "/api/share/{hash}" => {
                vec![format!("/api/share/{share}"), format!("/api/share/{}", "0".repeat(64)), "/api/share/1".into()]
            }
            "/api/history" => {
                vec!["/api/history".into(), "/api/history?window=30d".into(), "/api/history?window=2h".into()]
            }
            path => vec![path.to_owned()],
        };
        for question in questions {
            let answer = node.get(&question);
            let response = &responses[&answer.status.to_string()];
            let (media_type, content) = response["content"].as_object().unwrap().iter().next().unwrap();
            assert_eq!(answer.header("content-type"), Some(media_type.as_str()), "{question}");
            let mut mistakes = Vec::new();
            if media_type == "application/json" {
                let value = serde_json::from_slice(&answer.body).unwrap();
                description.check(&content["schema"], &value, &question, &mut mistakes);
            }
            assert!(mistakes.is_empty(), "{mistakes:#?}");
            asked += 1;
        }
    }
    assert!(asked >= 14, "{asked} questions");
}

#[test]
fn a_node_at_work_answers_as_described() {
    let node = Node::start();
    let tip = node.json("/api/status")["tip_hash"].as_str().unwrap().to_owned();
    hold_to_description(&node, &tip);
}

#[test]
fn a_node_that_has_nothing_answers_as_described() {
    let node = Node::start_empty();
    hold_to_description(&node, &"0".repeat(64));
}

#[test]
fn every_path_that_answers_is_described() {
    let node = Node::start_empty();
    let description = node.json("/api/openapi.json");
    for path in [
        "/api/status",
        "/api/payouts",
        "/api/miners",
        "/api/peers",
        "/api/blocks",
        "/api/history",
        "/healthz",
        "/metrics",
    ] {
        assert!(description["paths"][path].is_object(), "{path}");
    }
}

#[test]
fn the_check_finds_mistakes() {
    let node = Node::start();
    let description = Description(node.json("/api/openapi.json"));
    let schema = serde_json::json!({"$ref": "#/components/schemas/Status"});
    let status = node.json("/api/status");
    let mistakes = |change: &dyn Fn(&mut Value)| {
        let (mut changed, mut mistakes) = (status.clone(), Vec::new());
        change(&mut changed);
        description.check(&schema, &changed, "status", &mut mistakes);
        mistakes.len()
    };
    assert_eq!(mistakes(&|_| ()), 0);
    assert_eq!(mistakes(&|status| drop(status.as_object_mut().unwrap().remove("tip_hash"))), 1);
    assert_eq!(mistakes(&|status| status["more"] = 1.into()), 1);
    assert_eq!(mistakes(&|status| status["uptime_secs"] = "1".into()), 1);
    assert_eq!(mistakes(&|status| status["uptime_secs"] = (-1).into()), 1);
    assert_eq!(mistakes(&|status| status["recent_shares"][0]["hash"] = "00".into()), 1);
    assert_eq!(mistakes(&|status| status["network"] = "litecoin".into()), 1);
    assert_eq!(mistakes(&|status| status["state"]["code"] = "fine".into()), 1);
    for peer in 0..2 {
        assert_eq!(mistakes(&|status| status["peers"][peer]["latency_us"] = "fast".into()), 1);
        assert_eq!(mistakes(&|status| status["peers"][peer]["direction"] = "sideways".into()), 1);
    }
}

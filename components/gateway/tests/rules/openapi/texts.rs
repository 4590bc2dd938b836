//! What bodies of requests for texts look like.

use brink_gateway::forms::text::MAX_CHOICES;
use brink_protocol::generate::{MAX_LOGPROBS, MAX_MESSAGES, MAX_STOPS};
use serde_json::{Value, json};

use super::schemas::{described, inputs, list, model, object, reference};

/// The schemas by name. Requests may have members that are not named here: they are ignored, unless they would change
/// the text.
pub(super) fn schemas() -> Value {
    json!({
        "ChatRequest": request("messages", json!({
            "type": "array", "minItems": 1, "maxItems": MAX_MESSAGES, "items": reference("Message")}), json!({
            "max_completion_tokens": {"type": "integer", "minimum": 1},
            "logprobs": {"type": "boolean", "default": false},
            "top_logprobs": {"type": "integer", "minimum": 0, "maximum": MAX_LOGPROBS}})),
        "CompletionRequest": request("prompt", inputs(), json!({
            "logprobs": {"type": "integer", "minimum": 0, "maximum": MAX_LOGPROBS}})),
        "StreamRequest": {"oneOf": [reference("ChatRequest"), reference("CompletionRequest")]},
        "Events": {"type": "string", "description": "Server-sent events: open, start, text ({\"t\": ...}), end or error."},
        "Message": object(&["role", "content"], json!({
            "role": {"enum": ["system", "developer", "user", "assistant"]},
            "content": {"oneOf": [{"type": "string"}, list(reference("Part"))]}})),
        "Part": object(&["type", "text"], json!({"type": {"const": "text"}, "text": {"type": "string"}})),
        "ChatCompletion": answer("chat.completion", json!({
            "message": object(&["role", "content", "refusal"], json!({
                "role": {"const": "assistant"}, "content": {"type": "string"}, "refusal": {"type": "null"}}))})),
        "Completion": answer("text_completion", json!({"text": {"type": "string"}})),
        "TextUsage": object(&["prompt_tokens", "completion_tokens", "total_tokens"], json!({
            "prompt_tokens": {"type": "integer"}, "completion_tokens": {"type": "integer"},
            "total_tokens": {"type": "integer"},
            "prompt_tokens_details": object(&["cached_tokens"], json!({"cached_tokens": {"type": "integer"}}))})),
    })
}

fn request(member: &str, of: Value, more: Value) -> Value {
    let share = json!({"type": "number", "minimum": 0, "maximum": 1});
    let penalty = json!({"type": "number", "minimum": -2, "maximum": 2, "default": 0});
    let stop = json!({"oneOf": [{"type": "string"}, {"type": "array", "maxItems": MAX_STOPS, "items": {"type": "string"}}]});
    let mut schema = object(
        &["model", member],
        json!({
            "model": model(),
            "max_tokens": {"type": "integer", "minimum": 1},
            "temperature": {"type": "number", "minimum": 0, "maximum": 2, "default": 1},
            "top_p": described(share.clone(), "Above 0."),
            "top_k": {"type": "integer", "minimum": 0, "default": 0},
            "min_p": share,
            "seed": described(json!({"type": "integer"}), "With it, or with temperature 0, a text repeats and is stored."),
            "stop": stop,
            "presence_penalty": penalty,
            "frequency_penalty": penalty,
            "n": {"type": "integer", "minimum": 1, "maximum": MAX_CHOICES, "default": 1},
            "stream": {"type": "boolean", "default": false},
            "stream_options": {"type": "object", "properties": {"include_usage": {"type": "boolean"}}},
        }),
    );
    let Value::Object(more) = more else {
        panic!("members are an object");
    };
    let properties = schema["properties"].as_object_mut().unwrap();
    properties.extend(more);
    properties.insert(member.to_owned(), of);
    schema["additionalProperties"] = true.into();
    schema
}

fn answer(object_name: &str, content: Value) -> Value {
    let mut choice = object(
        &["index", "finish_reason"],
        json!({
            "index": {"type": "integer"},
            "logprobs": {"type": ["object", "null"]},
            "finish_reason": {"enum": ["stop", "length"]},
        }),
    );
    let Value::Object(content) = content else {
        panic!("members are an object");
    };
    choice["properties"]
        .as_object_mut()
        .unwrap()
        .extend(content);
    object(
        &["id", "object", "created", "model", "choices", "usage"],
        json!({
            "id": {"type": "string"}, "object": {"const": object_name}, "created": {"type": "integer"},
            "model": {"type": "string"}, "system_fingerprint": {"type": "string"}, "choices": list(choice),
            "usage": reference("TextUsage"),
        }),
    )
}

//! What bodies look like. Limits come from the code.

use brink_gateway::forms::classify::{DEFAULT_TOP_K, MAX_TOP_K};
use brink_gateway::forms::infer::{MAX_ID_BYTES, MAX_TENSORS};
use brink_protocol::limits::{MAX_INPUT_BYTES, MAX_INPUT_TOKENS, MAX_INPUTS};
use brink_protocol::tensor::{Datatype, MAX_RANK};
use serde_json::{Value, json};

pub(super) fn object(required: &[&str], properties: Value) -> Value {
    json!({"type": "object", "required": required, "properties": properties, "additionalProperties": false})
}

pub(super) fn list(items: Value) -> Value {
    json!({"type": "array", "items": items})
}

pub(super) fn described(mut schema: Value, text: &str) -> Value {
    schema["description"] = text.into();
    schema
}

pub(super) fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn text() -> Value {
    reference("Text")
}

fn tokens() -> Value {
    reference("Tokens")
}

fn texts() -> Value {
    reference("Texts")
}

/// A text, texts, token ids, or lists of those.
pub(super) fn inputs() -> Value {
    reference("Inputs")
}

fn class() -> Value {
    reference("Class")
}

/// What others are made of.
fn parts() -> Value {
    let what = format!("At most {MAX_INPUT_BYTES} bytes of UTF-8.");
    let many = |items: Value| json!({"type": "array", "minItems": 1, "maxItems": MAX_INPUTS, "items": items});
    json!({
        "Text": {"type": "string", "minLength": 1, "maxLength": MAX_INPUT_BYTES, "description": what},
        "Tokens": {"type": "array", "minItems": 1, "maxItems": MAX_INPUT_TOKENS,
            "items": {"type": "integer", "minimum": 0, "maximum": u32::MAX}},
        "Texts": many(text()),
        "TokenLists": many(tokens()),
        "Inputs": {"oneOf": [text(), texts(), tokens(), reference("TokenLists")]},
        "Class": object(&["label", "score"], json!({"label": {"type": "string"}, "score": {"type": "number"}})),
        "Usage": object(&["prompt_tokens", "total_tokens"], json!({
            "prompt_tokens": {"type": "integer"}, "total_tokens": {"type": "integer"}})),
    })
}

pub(super) fn model() -> Value {
    json!({"type": "string", "minLength": 1, "description": "A name that GET /v1/models lists."})
}

fn truncate() -> Value {
    let what = "Cuts texts above the model's limit instead of refusing them.";
    json!({"type": "boolean", "default": false, "description": what})
}

fn dimensions() -> Value {
    let what = "Fewer elements than the model's; the vector has length one again.";
    json!({"type": "integer", "minimum": 1, "description": what})
}

/// All schemas by name.
pub(super) fn all() -> Value {
    let mut all = json!({
        "EmbeddingsRequest": embeddings_request(),
        "Embeddings": embeddings(),
        "ClassifyRequest": classify_request(),
        "Classifications": classifications(),
        "Model": object(&["id", "object", "created", "owned_by"], json!({
            "id": {"type": "string"}, "object": {"const": "model"}, "created": {"type": "integer"},
            "owned_by": {"type": "string"}, "root": {"type": "string"}})),
        "Models": object(&["object", "data"], json!({"object": {"const": "list"}, "data": list(reference("Model"))})),
        "Error": object(&["error"], json!({"error": object(&["message", "type", "param", "code"], json!({
            "message": {"type": "string"}, "type": {"type": "string"}, "param": {"type": ["string", "null"]},
            "code": {"type": "string"}}))})),
    });
    for more in [
        parts(),
        super::texts::schemas(),
        inference_protocol(),
        text_embeddings_inference(),
    ] {
        let Value::Object(more) = more else {
            panic!("schemas are an object");
        };
        all.as_object_mut().unwrap().extend(more);
    }
    all
}

fn embeddings_request() -> Value {
    object(
        &["model", "input"],
        json!({
            "model": model(),
            "input": inputs(),
            "encoding_format": {"enum": ["float", "base64"], "default": "float"},
            "dimensions": dimensions(),
            "truncate": truncate(),
            "user": {"type": "string", "description": "Read and ignored."},
        }),
    )
}

fn embeddings() -> Value {
    let vector = json!({"oneOf": [list(json!({"type": "number"})), {"type": "string", "contentEncoding": "base64"}]});
    let item = object(
        &["object", "index", "embedding"],
        json!({
        "object": {"const": "embedding"}, "index": {"type": "integer"}, "embedding": vector}),
    );
    object(
        &["object", "data", "model", "usage"],
        json!({
        "object": {"const": "list"}, "data": list(item), "model": {"type": "string"}, "usage": reference("Usage")}),
    )
}

fn classify_request() -> Value {
    let input = "What a string is follows from what the model reads: a text, or a picture or file as base64 or as a \
                 data URL. Token ids are for models that read texts.";
    object(
        &["model", "input"],
        json!({
            "model": model(),
            "input": described(json!({"oneOf": [
                {"type": "string"}, {"type": "array", "minItems": 1, "maxItems": MAX_INPUTS, "items": {"type": "string"}},
                tokens(), reference("TokenLists")]}), input),
            "top_k": top_k(),
            "truncate": truncate(),
        }),
    )
}

pub(super) fn top_k() -> Value {
    json!({"type": "integer", "minimum": 1, "maximum": MAX_TOP_K, "default": DEFAULT_TOP_K})
}

fn classifications() -> Value {
    let item = object(
        &["object", "index", "label", "score", "top"],
        json!({
        "object": {"const": "classification"}, "index": {"type": "integer"}, "label": {"type": "string"},
        "score": {"type": "number"}, "top": list(class())}),
    );
    object(
        &["object", "data", "model", "usage"],
        json!({
        "object": {"const": "list"}, "data": list(item), "model": {"type": "string"}, "usage": reference("Usage")}),
    )
}

fn inference_protocol() -> Value {
    let parameters = json!({"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}});
    let shape = |element: Value| json!({"type": "array", "maxItems": MAX_RANK, "items": element});
    let size = json!({"type": "integer", "minimum": 0});
    let datatype = json!({"enum": Datatype::ALL.map(Datatype::name)});
    let data = "Elements in one list, or nested as the shape has them.";
    let tensor = |required: &[&str]| {
        object(
            required,
            json!({
        "name": {"type": "string"}, "datatype": datatype, "shape": shape(size.clone()), "parameters": parameters,
        "data": {"type": "array", "description": data}}),
        )
    };
    let wanted = object(
        &["name"],
        json!({"name": {"type": "string"}, "parameters": parameters}),
    );
    let metadata = object(
        &["name", "datatype", "shape"],
        json!({
        "name": {"type": "string"}, "datatype": datatype,
        "shape": shape(json!({"type": "integer", "minimum": -1}))}),
    );
    json!({
        "InferRequest": object(&["inputs"], json!({
            "id": {"type": "string", "maxLength": MAX_ID_BYTES},
            "parameters": parameters,
            "inputs": {"type": "array", "maxItems": MAX_TENSORS, "items": tensor(&["name", "datatype", "shape"])},
            "outputs": {"type": "array", "maxItems": MAX_TENSORS, "items": wanted}})),
        "InferAnswer": object(&["model_name", "model_version", "outputs"], json!({
            "model_name": {"type": "string"}, "model_version": {"type": "string"}, "id": {"type": "string"},
            "outputs": list(tensor(&["name", "datatype", "shape"]))})),
        "InferError": object(&["error"], json!({"error": {"type": "string"}})),
        "ServerMetadata": object(&["name", "version", "extensions"], json!({
            "name": {"type": "string"}, "version": {"type": "string"}, "extensions": list(json!({"type": "string"}))})),
        "ModelMetadata": object(&["name", "versions", "platform", "inputs", "outputs"], json!({
            "name": {"type": "string"}, "versions": list(json!({"type": "string"})), "platform": {"type": "string"},
            "inputs": list(metadata.clone()), "outputs": list(metadata)})),
        "RepositoryIndex": list(object(&["name", "version", "state", "reason"], json!({
            "name": {"type": "string"}, "version": {"type": "string"}, "state": {"const": "READY"},
            "reason": {"type": "string"}}))),
    })
}

fn text_embeddings_inference() -> Value {
    let right = json!({"enum": ["Right"], "default": "Right"});
    let compared = object(
        &["source_sentence", "sentences"],
        json!({
        "source_sentence": text(),
        "sentences": {"type": "array", "minItems": 1, "maxItems": MAX_INPUTS - 1, "items": text()}}),
    );
    let one = json!({"type": "array", "minItems": 1, "maxItems": 1, "items": text()});
    let token = object(
        &["id", "text", "special", "start", "stop"],
        json!({
        "id": {"type": "integer"}, "text": {"type": "string"}, "special": {"type": "boolean"},
        "start": {"type": ["integer", "null"]}, "stop": {"type": ["integer", "null"]}}),
    );
    json!({
        "TeiEmbedRequest": object(&["inputs"], json!({
            "inputs": inputs(), "model": model(), "dimensions": dimensions(), "truncate": truncate(),
            "truncation_direction": right, "normalize": {"const": true, "default": true}})),
        "TeiSimilarityRequest": object(&["inputs"], json!({
            "inputs": compared, "model": model(),
            "parameters": object(&[], json!({"truncate": truncate(), "truncation_direction": right}))})),
        "TeiPredictRequest": object(&["inputs"], json!({
            "inputs": {"oneOf": [text(), one, {"type": "array", "minItems": 1, "maxItems": MAX_INPUTS, "items": one}]},
            "model": model(), "truncate": truncate(), "truncation_direction": right,
            "raw_scores": {"const": false, "default": false}})),
        "TeiTokenizeRequest": object(&["inputs"], json!({
            "inputs": {"oneOf": [text(), texts()]}, "model": model(),
            "add_special_tokens": {"type": "boolean", "default": true}})),
        "TeiVectors": list(list(json!({"type": "number"}))),
        "TeiSimilarities": list(json!({"type": "number"})),
        "TeiPredictions": {"oneOf": [list(class()), list(list(class()))]},
        "TeiTokens": list(list(token)),
        "TeiInfo": {"type": "object"},
        "TeiError": object(&["error", "error_type"], json!({
            "error": {"type": "string"},
            "error_type": {"enum": ["Validation", "Overloaded", "Backend", "Unhealthy"]}})),
    })
}

//! Every route with its method, its bodies and its answer.

use serde_json::{Value, json};

/// In which form a route tells errors.
#[derive(Clone, Copy)]
pub(super) enum Errors {
    OpenAi,
    Infer,
    Tei,
}

/// A route with one method.
pub(super) struct Operation {
    pub(super) path: &'static str,
    pub(super) method: &'static str,
    pub(super) id: &'static str,
    pub(super) summary: &'static str,
    pub(super) errors: Errors,
    /// The schema of the body, and bodies that are right.
    pub(super) body: Option<(&'static str, Vec<Value>)>,
    /// The schema of the answer; `None` where it has no content.
    pub(super) answer: Option<&'static str>,
}

impl Errors {
    /// Of the schema, and of the answer that has it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "Error",
            Self::Infer => "InferError",
            Self::Tei => "TeiError",
        }
    }
}

impl Operation {
    fn new(errors: Errors, method: &'static str, path: &'static str, id: &'static str) -> Self {
        Self {
            path,
            method,
            id,
            summary: "",
            errors,
            body: None,
            answer: None,
        }
    }

    fn does(self, summary: &'static str) -> Self {
        Self { summary, ..self }
    }

    fn reads<const N: usize>(self, schema: &'static str, examples: [Value; N]) -> Self {
        let body = Some((schema, examples.into()));
        Self { body, ..self }
    }

    fn gives(self, schema: &'static str) -> Self {
        let answer = Some(schema);
        Self { answer, ..self }
    }
}

pub(super) fn openai() -> Vec<Operation> {
    let get = |path, id| Operation::new(Errors::OpenAi, "get", path, id);
    let post = |path, id| Operation::new(Errors::OpenAi, "post", path, id);
    let model = "all-MiniLM-L6-v2";
    let texts = ["The cat sits outside", "The new movie is awesome"];
    let tokens = [101, 1996, 4937, 102];
    let picture = "data:image/png;base64,iVBORw0KGgo=";
    let texts = json!({"model": model, "input": texts});
    let tokens =
        json!({"model": model, "input": tokens, "encoding_format": "base64", "dimensions": 128});
    let file = json!({"model": "magika", "input": "IyEvYmluL3NoCg==", "top_k": 3});
    let picture = json!({"model": "efficientnet-lite0", "input": [picture]});
    let writer = "smollm2-135m-instruct";
    let said = [json!({"role": "user", "content": "What is the capital of France?"})];
    let chat = json!({"model": writer, "messages": said, "temperature": 0});
    let streamed = json!({"model": writer, "messages": said, "seed": 7, "stream": true, "stream_options": {"include_usage": true}});
    let kept = json!({"model": writer, "messages": said, "max_tokens": 64});
    let completion =
        json!({"model": writer, "prompt": "Once upon a time", "max_tokens": 32, "n": 2});
    vec![
        post("/v1/embeddings", "embeddings")
            .does("Vectors of texts, as OpenAI's API has them.")
            .reads("EmbeddingsRequest", [texts, tokens])
            .gives("Embeddings"),
        post("/v1/classify", "classify")
            .does("Labels of texts, pictures or files.")
            .reads("ClassifyRequest", [file, picture])
            .gives("Classifications"),
        post("/v1/chat/completions", "chatCompletions")
            .does("An answer in a conversation, whole or as server-sent events.")
            .reads("ChatRequest", [chat, streamed])
            .gives("ChatCompletion"),
        post("/v1/completions", "completions")
            .does("What a model writes on from a text, whole or as server-sent events.")
            .reads("CompletionRequest", [completion])
            .gives("Completion"),
        post("/v1/streams", "stream")
            .does("One text as a stream of events that can be gone on with after a lost connection.")
            .reads("StreamRequest", [kept])
            .gives("Events"),
        get("/v1/streams/{id}", "resumeStream")
            .does("Goes on with a stream, behind the event that Last-Event-ID or the parameter cursor names.")
            .gives("Events"),
        Operation::new(Errors::OpenAi, "delete", "/v1/streams/{id}", "giveUpStream")
            .does("Gives a stream up."),
        get("/v1/models", "models")
            .does("All models.")
            .gives("Models"),
        get("/v1/models/{id}", "model")
            .does("One model.")
            .gives("Model"),
        get("/openapi.json", "openapi").does("This document."),
    ]
}

pub(super) fn inference_protocol() -> Vec<Operation> {
    let get = |path, id| Operation::new(Errors::Infer, "get", path, id);
    let post = |path, id| Operation::new(Errors::Infer, "post", path, id);
    let texts = json!({"name": "text", "shape": [2], "datatype": "BYTES", "data": ["one", "two"]});
    let example = json!({"id": "1", "inputs": [texts], "outputs": [{"name": "embedding"}]});
    let infer = |path, id| {
        post(path, id)
            .does("Tensors in, tensors out; each row of a batch has an entry of its own.")
            .reads("InferRequest", [example.clone()])
            .gives("InferAnswer")
    };
    let change = |path, id| post(path, id).does("Refused with 403: models are the operator's.");
    vec![
        get("/v2", "serverMetadata")
            .does("What this server is.")
            .gives("ServerMetadata"),
        get("/v2/health/live", "serverLive").does("Whether it answers. Needs no key."),
        get("/v2/health/ready", "serverReady").does("Whether it knows its models. Needs no key."),
        get("/v2/models/{name}", "modelMetadata")
            .does("A model's tensors.")
            .gives("ModelMetadata"),
        get("/v2/models/{name}/versions/{version}", "versionMetadata")
            .does("A version's tensors.")
            .gives("ModelMetadata"),
        get("/v2/models/{name}/ready", "modelReady").does("Whether a model answers."),
        get("/v2/models/{name}/versions/{version}/ready", "versionReady")
            .does("Whether a version answers."),
        infer("/v2/models/{name}/infer", "infer"),
        infer("/v2/models/{name}/versions/{version}/infer", "inferVersion"),
        post("/v2/repository/index", "repositoryIndex")
            .does("All models and versions.")
            .gives("RepositoryIndex"),
        change("/v2/repository/models/{name}/load", "load"),
        change("/v2/repository/models/{name}/unload", "unload"),
    ]
}

pub(super) fn text_embeddings_inference() -> Vec<Operation> {
    let get = |path, id| Operation::new(Errors::Tei, "get", path, id);
    let post = |path, id| Operation::new(Errors::Tei, "post", path, id);
    let lacks = |path, id| post(path, id).does("Refused with 424: no model here can answer it.");
    let compared = json!({"source_sentence": "one", "sentences": ["two", "three"]});
    vec![
        post("/embed", "teiEmbed")
            .does("Vectors of texts.")
            .reads("TeiEmbedRequest", [json!({"inputs": ["one", "two"]})])
            .gives("TeiVectors"),
        post("/similarity", "teiSimilarity")
            .does("How near texts are to one.")
            .reads("TeiSimilarityRequest", [json!({"inputs": compared})])
            .gives("TeiSimilarities"),
        post("/predict", "teiPredict")
            .does("Labels of texts.")
            .reads("TeiPredictRequest", [json!({"inputs": [["one"], ["two"]]})])
            .gives("TeiPredictions"),
        post("/tokenize", "teiTokenize")
            .does("Tokens of texts.")
            .reads("TeiTokenizeRequest", [json!({"inputs": "one"})])
            .gives("TeiTokens"),
        get("/info", "teiInfo")
            .does("The model behind these routes.")
            .gives("TeiInfo"),
        get("/health", "teiHealth").does("Whether the edge knows its models. Needs no key."),
        get("/ping", "teiPing").does("The same."),
        lacks("/embed_all", "teiEmbedAll"),
        lacks("/embed_sparse", "teiEmbedSparse"),
        lacks("/rerank", "teiRerank"),
        lacks("/decode", "teiDecode"),
    ]
}

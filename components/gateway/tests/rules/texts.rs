//! Requests for texts: what is asked of the host, what is stored, and how answers and streams are written.

use std::time::Duration;

use brink_gateway::hit::{Missing, Settled};
use brink_gateway::items::{Gathered, Progress, TextWaits, answer};
use brink_gateway::reply::Reply;
use brink_protocol::generate::{
    Delta, FinishReason, GenerateEvent, GenerateRequest, Logprob, Prompt, TokenLogprob, Usage,
};
use brink_protocol::{Fault, FaultCode};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::world::{At, NOW, World, begin};

const WAITS: TextWaits = TextWaits {
    timeout: Duration::from_secs(300),
    heartbeat: Duration::from_secs(15),
};

fn delta(text: &str, tokens: u32) -> GenerateEvent {
    GenerateEvent::Delta(Delta {
        text: text.to_owned(),
        tokens,
        logprobs: Vec::new(),
    })
}

/// What a host writes: the last message or the prompt once more, then the seed if there is one.
fn written(call: &GenerateRequest) -> Vec<GenerateEvent> {
    let said = match &call.prompt {
        Prompt::Messages(messages) => messages.last().unwrap().content.clone(),
        Prompt::Text(text) => text.clone(),
        Prompt::Tokens(tokens) => format!("{tokens:?}"),
    };
    let seed = call
        .sampling
        .seed
        .map_or_else(String::new, |seed| format!(" {seed}"));
    vec![
        GenerateEvent::Started {
            prompt_tokens: 3,
            is_shared: false,
        },
        delta("so: ", 1),
        GenerateEvent::Idle,
        delta(&format!("{said}{seed}"), 2),
        GenerateEvent::Finished {
            reason: FinishReason::Stop,
            usage: Usage {
                prompt_tokens: 3,
                cached_tokens: 1,
                completion_tokens: 3,
                ..Usage::default()
            },
        },
    ]
}

/// What a client gets, and what the host was asked for.
struct Got {
    reply: Reply,
    body: String,
    calls: Vec<GenerateRequest>,
}

impl Got {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("a JSON answer")
    }

    /// The data of a stream, which must end with `[DONE]`.
    fn chunks(&self) -> Vec<Value> {
        let events = self.body.split("\n\n").filter(|event| !event.is_empty());
        let data: Vec<_> = events
            .filter_map(|event| event.strip_prefix("data: "))
            .collect();
        let (last, chunks) = data.split_last().expect("events");
        assert_eq!(*last, "[DONE]");
        chunks
            .iter()
            .map(|chunk| serde_json::from_str(chunk).expect("a chunk"))
            .collect()
    }

    /// The text of one choice of a stream.
    fn streamed(&self, index: u64, member: &str) -> String {
        let choices = self
            .chunks()
            .into_iter()
            .flat_map(|chunk| chunk["choices"].as_array().unwrap().clone());
        choices
            .filter(|choice| choice["index"] == index)
            .filter_map(|choice| choice.pointer(member)?.as_str().map(str::to_owned))
            .collect()
    }
}

fn ask_with(world: &mut World, path: &str, body: &Value, control: &str) -> Got {
    let head = format!("POST {path}\nx-request-id: abc\ncache-control: {control}");
    let policy = world.policy.clone();
    let pending = begin(&policy, &head, body.to_string().as_bytes()).expect("a request");
    match pending.settle(world, &At(NOW)).expect("no error") {
        Settled::Answered(reply) => Got {
            body: String::from_utf8(reply.body.to_vec()).unwrap(),
            reply,
            calls: Vec::new(),
        },
        Settled::Missing(missing) => compute(world, *missing),
        Settled::Stale(..) => panic!("nothing is stale"),
    }
}

fn ask(world: &mut World, path: &str, body: &Value) -> Got {
    ask_with(world, path, body, "")
}

fn compute(world: &mut World, missing: Missing) -> Got {
    let calls = missing.text_calls("abc", WAITS);
    let Some((reply, mut streaming)) = missing.begin_stream(&At(NOW)) else {
        let items = calls.iter().map(|call| {
            let mut gathered = Gathered::default();
            let mut ends = written(call)
                .into_iter()
                .filter_map(|event| gathered.add(&event));
            ends.next().expect("an end").expect("no failure")
        });
        let told = missing
            .complete(answer(items), &At(NOW))
            .expect("results that fit");
        world.keep(&told.store);
        let body = String::from_utf8(told.reply.body.to_vec()).unwrap();
        return Got {
            reply: told.reply,
            body,
            calls,
        };
    };
    let mut body = String::new();
    streaming.begin(&mut body);
    let mut progress = Progress::Open;
    for (place, call) in calls.iter().enumerate() {
        for event in written(call) {
            assert_eq!(progress, Progress::Open);
            progress = streaming.event(place, &event, &mut body);
        }
    }
    assert_eq!(progress, Progress::Complete);
    let told = missing
        .complete(streaming.into_answer(), &At(NOW))
        .expect("results that fit");
    world.keep(&told.store);
    Got { reply, body, calls }
}

const CHAT: &str = "/v1/chat/completions";
const COMPLETION: &str = "/v1/completions";

fn hello() -> Value {
    json!({"model": "writer", "messages": [{"role": "user", "content": "hello"}], "temperature": 0})
}

fn with(mut body: Value, members: Value) -> Value {
    let members = members.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(members);
    body
}

#[test]
fn an_answer_is_that_of_openai() {
    let got = ask(&mut World::default(), CHAT, &hello());
    let body = got.json();
    assert_eq!(body["id"], "chatcmpl-abc");
    assert_eq!(body["object"], "chat.completion");
    assert_eq!(body["created"], NOW.0);
    assert_eq!(body["model"], "writer");
    let message = json!({"role": "assistant", "content": "so: hello", "refusal": null});
    let choice = json!({"index": 0, "message": message, "logprobs": null, "finish_reason": "stop"});
    assert_eq!(body["choices"], json!([choice]));
    let usage = json!({"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6,
        "prompt_tokens_details": {"cached_tokens": 1}});
    assert_eq!(body["usage"], usage);

    let prompt = json!({"model": "goes-on", "prompt": "once", "temperature": 0});
    let got = ask(&mut World::default(), COMPLETION, &prompt);
    let choice = json!({"text": "so: once", "index": 0, "logprobs": null, "finish_reason": "stop"});
    assert_eq!(got.json()["choices"], json!([choice]));
    assert_eq!(
        got.calls[0].sampling.max_tokens,
        Some(16),
        "as OpenAI has it"
    );
}

#[test]
fn a_stream_has_chunks_a_sign_of_life_and_an_end() {
    let body = with(
        hello(),
        json!({"stream": true, "stream_options": {"include_usage": true}}),
    );
    let got = ask(&mut World::default(), CHAT, &body);
    assert_eq!(got.reply.header("content-type"), Some("text/event-stream"));
    assert_eq!(got.reply.header("x-accel-buffering"), Some("no"));
    assert!(got.body.contains("\n\n: ping\n\n"));
    assert!(!got.body.contains("\nid:"), "clients stumble over ids");
    let chunks = got.chunks();
    assert_eq!(
        chunks[0]["choices"][0]["delta"],
        json!({"role": "assistant", "content": ""})
    );
    assert_eq!(got.streamed(0, "/delta/content"), "so: hello");
    let [.., last, usage] = &chunks[..] else {
        panic!("{chunks:?}")
    };
    assert_eq!(last["choices"][0]["finish_reason"], "stop");
    assert_eq!(last["usage"], Value::Null);
    assert_eq!(usage["choices"], json!([]));
    assert_eq!(usage["usage"]["total_tokens"], 6);
    assert!(chunks.iter().all(|chunk| chunk["id"] == "chatcmpl-abc"));
}

#[test]
fn streams_and_whole_answers_share_an_entry() {
    let mut world = World::default();
    let stream = with(hello(), json!({"stream": true, "user": "somebody"}));
    assert_eq!(ask(&mut world, CHAT, &stream).calls.len(), 1);
    let whole = ask(&mut world, CHAT, &hello());
    assert!(whole.calls.is_empty());
    assert_eq!(
        whole.json()["choices"][0]["message"]["content"],
        "so: hello"
    );
    assert_eq!(whole.json()["usage"]["completion_tokens"], 3);
    assert_eq!(whole.reply.header("brink-items"), Some("hit=1"));
    let replayed = ask(&mut world, CHAT, &stream);
    assert!(replayed.calls.is_empty());
    assert_eq!(replayed.streamed(0, "/delta/content"), "so: hello");
    assert_eq!(
        replayed.chunks().last().unwrap()["choices"][0]["finish_reason"],
        "stop"
    );
}

#[test]
fn what_cannot_repeat_is_neither_stored_nor_shared() {
    let mut world = World::default();
    let sampled = with(hello(), json!({"temperature": 0.7}));
    for _ in 0..2 {
        let got = ask(&mut world, CHAT, &sampled);
        assert_eq!(got.calls.len(), 1);
        assert_eq!(got.calls[0].sharing, None);
        let status = got.reply.header("cache-status").unwrap();
        assert!(status.contains("fwd=bypass; detail=policy"), "{status}");
    }
    assert!(world.store.is_empty());
    let seeded = with(sampled, json!({"seed": 7}));
    assert!(ask(&mut world, CHAT, &seeded).calls[0].sharing.is_some());
    assert!(ask(&mut world, CHAT, &seeded).calls.is_empty());
    let unstored = ask_with(&mut world, CHAT, &seeded, "no-store");
    assert_eq!(unstored.calls[0].sharing, None);
    let fresh = ask_with(&mut world, CHAT, &seeded, "no-cache");
    assert_eq!(fresh.calls[0].sharing, None, "an answer of one's own");
}

#[test]
fn each_of_several_texts_has_an_entry_of_its_own() {
    let mut world = World::default();
    let seeded = |seed, n| with(hello(), json!({"temperature": 1, "seed": seed, "n": n}));
    let got = ask(&mut world, CHAT, &seeded(7, 2));
    let seeds: Vec<_> = got.calls.iter().map(|call| call.sampling.seed).collect();
    assert_eq!(seeds, [Some(7), Some(8)]);
    let more = ask(
        &mut world,
        CHAT,
        &with(seeded(7, 3), json!({"stream": true})),
    );
    assert_eq!(more.calls.len(), 1, "two are known");
    assert_eq!(more.streamed(1, "/delta/content"), "so: hello 8");
    assert_eq!(more.streamed(2, "/delta/content"), "so: hello 9");
    let usage = ask(&mut world, CHAT, &seeded(7, 3)).json()["usage"].clone();
    assert_eq!(usage["prompt_tokens"], 3, "one prompt");
    assert_eq!(usage["completion_tokens"], 9);

    let greedy = ask(&mut world, CHAT, &with(hello(), json!({"n": 3})));
    assert_eq!(greedy.calls.len(), 1, "all are the same");
    assert_eq!(greedy.json()["choices"].as_array().unwrap().len(), 3);
    let sampled = with(hello(), json!({"n": 3, "temperature": 1}));
    assert_eq!(ask(&mut world, CHAT, &sampled).calls.len(), 3);
}

#[test]
fn several_prompts_are_several_choices() {
    let body =
        json!({"model": "writer", "prompt": ["one", "two"], "n": 2, "seed": 1, "stream": true});
    let got = ask(&mut World::default(), COMPLETION, &body);
    let texts: Vec<_> = (0..4).map(|index| got.streamed(index, "/text")).collect();
    assert_eq!(texts, ["so: one 1", "so: one 2", "so: two 1", "so: two 2"]);
}

#[test]
fn a_stream_of_ones_own_is_short_and_tells_where_it_is() {
    let body = json!({"model": "writer", "messages": [{"role": "user", "content": "é"}], "temperature": 0});
    let mut world = World::default();
    let got = ask(&mut world, "/v1/streams", &body);
    assert!(got.calls[0].keep);
    let expected = "event: open\ndata: {\"id\":null}\n\n\
        event: start\nid: 0\ndata: {\"model\":\"writer\",\"prompt_tokens\":3}\n\n\
        id: 4\ndata: {\"t\":\"so: \"}\n\n: ping\n\nid: 6\ndata: {\"t\":\"é\"}\n\n\
        event: end\nid: end\ndata: {\"finish_reason\":\"stop\",\"usage\":";
    assert!(got.body.starts_with(expected), "{}", got.body);
    // The same text as by the other route.
    let chat = ask(&mut world, CHAT, &body);
    assert!(chat.calls.is_empty());
    let again = ask(&mut world, "/v1/streams", &body);
    assert!(again.calls.is_empty());
    assert!(
        again.body.contains("id: 6\ndata: {\"t\":\"so: é\"}"),
        "{}",
        again.body
    );

    let both = with(body.clone(), json!({"prompt": "x"})).to_string();
    let error = begin(&world.policy, "POST /v1/streams", both.as_bytes()).map(|_| ());
    assert!(
        error
            .expect_err("both")
            .message
            .contains("give one of them")
    );
    let two = with(body, json!({"n": 2})).to_string();
    let error = begin(&world.policy, "POST /v1/streams", two.as_bytes()).map(|_| ());
    assert_eq!(error.expect_err("two").param.as_deref(), Some("n"));
}

#[test]
fn probabilities_are_told_in_the_form_of_each_route() {
    let token = |text: &str, logprob| Logprob {
        id: 1,
        bytes: text.as_bytes().to_vec(),
        logprob,
    };
    let event = |text: &str| {
        GenerateEvent::Delta(Delta {
            text: text.to_owned(),
            tokens: 1,
            logprobs: vec![TokenLogprob {
                chosen: token(text, -0.5),
                top: vec![token(text, -0.5), token("x", -2.0)],
            }],
        })
    };
    let told = |path, body: Value| {
        let head = format!("POST {path}");
        let pending = begin(&World::default().policy, &head, body.to_string().as_bytes()).unwrap();
        let Ok(Settled::Missing(missing)) = pending.settle(&mut World::default(), &At(NOW)) else {
            panic!()
        };
        let (_, mut streaming) = missing.begin_stream(&At(NOW)).expect("a stream");
        let mut out = String::new();
        for text in ["é", "b"] {
            streaming.event(0, &event(text), &mut out);
        }
        let data = out
            .split("data: ")
            .skip(1)
            .map(|data| serde_json::from_str::<Value>(data).unwrap());
        data.map(|chunk| chunk["choices"][0]["logprobs"].clone())
            .collect::<Vec<_>>()
    };
    let chat = told(
        CHAT,
        with(
            hello(),
            json!({"stream": true, "logprobs": true, "top_logprobs": 2}),
        ),
    );
    let first = &chat[0]["content"][0];
    assert_eq!(
        (&first["token"], &first["logprob"]),
        (&json!("é"), &json!(-0.5))
    );
    assert_eq!(first["bytes"], json!([0xc3, 0xa9]));
    assert_eq!(first["top_logprobs"][1]["token"], "x");
    let body = json!({"model": "writer", "prompt": "a", "logprobs": 2, "stream": true});
    let completion = told(COMPLETION, body);
    assert_eq!(completion[0]["tokens"], json!(["é"]));
    assert_eq!(completion[1]["text_offset"], json!([1]), "in characters");
    assert_eq!(completion[1]["top_logprobs"][0]["x"], json!(-2.0));
}

#[test]
fn a_text_that_fails_ends_the_stream_and_is_not_stored() {
    let mut world = World::default();
    let head = format!("POST {CHAT}");
    let body = with(hello(), json!({"stream": true})).to_string();
    let pending = begin(&world.policy.clone(), &head, body.as_bytes()).unwrap();
    let Ok(Settled::Missing(missing)) = pending.settle(&mut world, &At(NOW)) else {
        panic!()
    };
    let (_, mut streaming) = missing.begin_stream(&At(NOW)).expect("a stream");
    let mut out = String::new();
    streaming.event(0, &delta("half", 1), &mut out);
    let failed = GenerateEvent::Failed(Fault {
        code: FaultCode::Overloaded,
        message: "the model was unloaded".to_owned(),
        item: None,
        retry_after_ms: None,
    });
    assert_eq!(streaming.event(0, &failed, &mut out), Progress::Failed);
    let end = out.rsplit("data: ").nth(1).unwrap();
    let error: Value = serde_json::from_str(end).unwrap();
    assert_eq!(error["error"]["message"], "the model was unloaded");
    assert!(out.ends_with("data: [DONE]\n\n"));
    assert!(
        missing.complete(streaming.into_answer(), &At(NOW)).is_err(),
        "part of a text is no result"
    );
}

#[test]
fn messages_are_read_as_clients_send_them() {
    let messages = json!([
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "name": "x"},
        {"role": "assistant", "content": "c", "refusal": null, "tool_calls": []},
        {"role": "user", "content": "d"},
    ]);
    let body = with(
        hello(),
        json!({"messages": messages, "max_completion_tokens": 5, "tools": [], "store": true,
        "response_format": {"type": "text"}, "stop": "x", "reasoning_effort": "low", "logit_bias": {}, "n": null}),
    );
    let got = ask(&mut World::default(), CHAT, &body);
    let Prompt::Messages(messages) = &got.calls[0].prompt else {
        panic!()
    };
    let read: Vec<_> = messages
        .iter()
        .map(|one| (one.role.name(), one.content.as_str()))
        .collect();
    assert_eq!(
        read,
        [
            ("system", "be brief"),
            ("user", "a\nb"),
            ("assistant", "c"),
            ("user", "d")
        ]
    );
    let sampling = &got.calls[0].sampling;
    assert_eq!(sampling.max_tokens, Some(5));
    assert_eq!(sampling.stop, ["x"]);
    assert_eq!(got.calls[0].heartbeat_ms, 15_000);
}

/// Holds a mistake against what is told of it: the member's name, and a part of the message.
fn check(path: &str, members: Value, param: &str, part: &str) {
    let base = match path {
        CHAT => hello(),
        _ => json!({"model": "writer", "prompt": "a"}),
    };
    let body = with(base, members).to_string();
    let policy = World::default().policy;
    let error = begin(&policy, &format!("POST {path}"), body.as_bytes()).map(|_| ());
    let error = error.expect_err(&body);
    assert_eq!(error.status.as_u16(), 400, "{body}");
    assert_eq!(error.param.as_deref(), Some(param), "{}", error.message);
    assert!(error.message.contains(part), "{}", error.message);
}

#[test]
fn mistakes_in_conversations_are_refused_by_name_and_value() {
    let message = |message: Value| json!({"messages": [message]});
    check(CHAT, json!({"model": null}), "model", "missing");
    check(CHAT, json!({"model": "m"}), "model", "writes no text");
    check(CHAT, json!({"model": "goes-on"}), "model", "no template");
    check(CHAT, json!({"messages": null}), "messages", "missing");
    check(CHAT, json!({"messages": []}), "messages", "0 elements");
    check(
        CHAT,
        json!({"messages": vec![json!({"role": "user", "content": ""}); 2000]}),
        "messages",
        "2000 elements",
    );
    check(
        CHAT,
        message(json!({"role": "tool", "content": "x"})),
        "messages[0].role",
        "\"tool\"",
    );
    check(
        CHAT,
        message(json!({"content": "x"})),
        "messages[0].role",
        "missing",
    );
    check(
        CHAT,
        message(json!({"role": "user"})),
        "messages[0].content",
        "missing",
    );
    check(
        CHAT,
        message(json!({"role": "user", "content": 7})),
        "messages[0].content",
        "string or an array",
    );
    let picture =
        json!({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]});
    check(
        CHAT,
        message(picture),
        "messages[0].content[0]",
        "\"image_url\"",
    );
    check(
        CHAT,
        message(json!({"role": "system", "content": "x"})),
        "messages",
        "one of a user",
    );
    check(
        CHAT,
        message(json!({"role": "user", "content": "x".repeat(300_000)})),
        "messages",
        "300000 bytes",
    );
    let call = json!({"role": "assistant", "content": "", "tool_calls": [{"id": "1"}]});
    check(CHAT, message(call), "messages[0].tool_calls", "not offered");
}

#[test]
fn settings_that_cannot_be_followed_are_refused_by_name_and_value() {
    check(CHAT, json!({"temperature": 3}), "temperature", "is 3;");
    check(
        CHAT,
        json!({"temperature": "hot"}),
        "temperature",
        "it is a string",
    );
    check(CHAT, json!({"top_p": 0}), "top_p", "is 0;");
    check(CHAT, json!({"n": 0}), "n", "n is 0");
    check(CHAT, json!({"n": 200}), "n", "n is 200");
    check(CHAT, json!({"max_tokens": 0}), "max_tokens", "is 0");
    check(
        CHAT,
        json!({"max_tokens": 1, "max_completion_tokens": 2}),
        "max_completion_tokens",
        "is 2 and",
    );
    check(CHAT, json!({"stop": 1}), "stop", "string or an array");
    check(CHAT, json!({"stop": vec!["x"; 30]}), "stop", "30 strings");
    check(
        CHAT,
        json!({"top_logprobs": 2}),
        "top_logprobs",
        "logprobs is not true",
    );
    check(
        CHAT,
        json!({"logprobs": true, "top_logprobs": 21}),
        "top_logprobs",
        "is 21",
    );
    check(
        CHAT,
        json!({"tools": [{"type": "function"}]}),
        "tools",
        "not offered",
    );
    check(
        CHAT,
        json!({"logit_bias": {"1": 5}}),
        "logit_bias",
        "not offered",
    );
    check(
        CHAT,
        json!({"response_format": {"type": "json_object"}}),
        "response_format",
        "json_object",
    );
    check(
        CHAT,
        json!({"modalities": ["text", "audio"]}),
        "modalities",
        "nothing else",
    );
    check(
        CHAT,
        json!({"stream_options": {}}),
        "stream_options",
        "stream is not true",
    );
}

#[test]
fn mistakes_in_prompts_are_refused_by_name_and_value() {
    check(COMPLETION, json!({"prompt": null}), "prompt", "missing");
    check(COMPLETION, json!({"prompt": ""}), "prompt[0]", "empty");
    check(COMPLETION, json!({"echo": true}), "echo", "not offered");
    check(COMPLETION, json!({"suffix": "x"}), "suffix", "not offered");
    check(COMPLETION, json!({"best_of": 2}), "best_of", "is 2");
    check(
        COMPLETION,
        json!({"logprobs": true}),
        "logprobs",
        "whole number",
    );
    check(
        COMPLETION,
        json!({"prompt": ["a", "b"], "n": 100}),
        "n",
        "200 texts",
    );
}

proptest! {
    /// Members that change the text make another entry; those that do not, do not.
    #[test]
    fn keys_hold_what_changes_the_text(which in 0usize..10) {
        let mut world = World::default();
        prop_assert_eq!(ask(&mut world, CHAT, &hello()).calls.len(), 1);
        let (members, is_new) = [
            (json!({"max_tokens": 5}), true),
            (json!({"stop": ["x"]}), true),
            (json!({"presence_penalty": 1}), true),
            (json!({"logprobs": true}), true),
            (json!({"messages": [{"role": "user", "content": "hello "}]}), true),
            (json!({"temperature": 0.5, "seed": 1}), true),
            (json!({"top_p": 0.5, "top_k": 3, "seed": 9}), false),
            (json!({"stream": true}), false),
            (json!({"user": "x", "metadata": {"a": "b"}}), false),
            (json!({"n": 2}), false),
        ][which].clone();
        let got = ask(&mut world, CHAT, &with(hello(), members));
        prop_assert_eq!(got.calls.len(), usize::from(is_new));
    }
}

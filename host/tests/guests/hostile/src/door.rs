//! What the component does at its synchronous door. Everything below `/door/` is answered by the
//! other door as well, so a test sees which of them answered.
#![expect(
    unsafe_code,
    reason = "exporting a function to the host is unsafe by nature; all of it is generated"
)]

use super::behaviour;

spin_sdk::wit_bindgen::generate!({
    world: "brink:edge/door",
    path: "../../../../protocol/wit",
    runtime_path: "spin_sdk::wit_bindgen::rt",
    generate_all,
});

use exports::brink::edge::fast::{Guest, Message};

struct Door;

impl Guest for Door {
    fn answer(head: Vec<u8>, body: Vec<u8>) -> Option<Message> {
        let target = head.split(|byte| matches!(byte, b' ' | b'\n')).nth(1)?;
        match target {
            b"/door/echo" => Some(reply(
                "200\nx-door: fast",
                [head.as_slice(), b"|", &body].concat(),
            )),
            b"/door/loop" => behaviour::loop_forever()
                .err()
                .map(|_| reply("200", Vec::new())),
            b"/door/hog" => behaviour::hog_memory()
                .err()
                .map(|_| reply("200", Vec::new())),
            b"/door/trap" => panic!("trap on request"),
            b"/door/foreign-import" => {
                Some(reply("200", std::env::vars().count().to_string().into()))
            }
            b"/door/no-head" => Some(reply("nonsense", Vec::new())),
            b"/door/wrong-length" => Some(reply("200\ncontent-length: 7", Vec::new())),
            b"/door/call" => Some(reply(&call(&body), b"asked".to_vec())),
            b"/door/call-twice" | b"/door/resume-trap" | b"/door/resume-passes" => {
                Some(reply(&call(b"http://self/hello"), Vec::new()))
            }
            b"/door/stream" | b"/door/stream-trap" | b"/door/stream-ends" => Some(reply(
                &call(&body).replacen("call", "stream", 1),
                b"asked".to_vec(),
            )),
            b"/door/no-call" => Some(reply("call nonsense", Vec::new())),
            b"/door/split-response" => Some(reply("200\ntransfer-encoding: chunked", Vec::new())),
            _ => None,
        }
    }

    /// Counts the pieces, and passes them on in brackets.
    fn pass(_call: Vec<u8>, stream: Vec<u8>, piece: Vec<u8>, last: bool) -> Option<Message> {
        if piece.windows(4).any(|window| window == b"trap") {
            panic!("trap on request");
        }
        if piece.windows(3).any(|window| window == b"end") {
            return None;
        }
        let head = [stream.as_slice(), b"."].concat();
        let body = match last {
            false => [b"[", piece.as_slice(), b"]"].concat(),
            true => format!("{} pieces", head.len() - 1).into_bytes(),
        };
        Some(Message { head, body })
    }

    /// Tells what became of the call to the URL in the request's body.
    fn resume(head: Vec<u8>, body: Vec<u8>, made: Message, result: Message) -> Option<Message> {
        let target = head.split(|byte| matches!(byte, b' ' | b'\n')).nth(1)?;
        match target {
            b"/door/call" => {
                let status = result.head.split(|byte| *byte == b'\n').next()?;
                let told = [body.as_slice(), &made.body, status, &result.body];
                Some(reply("200\nx-door: resumed", told.join(&b'|')))
            }
            // As it is noted in the head of the call.
            b"/door/stream" | b"/door/stream-trap" | b"/door/stream-ends" => {
                let status = result.head.split(|byte| *byte == b'\n').next()?;
                match status {
                    b"streaming" => Some(reply("200\nx-door: streamed", Vec::new())),
                    _ => Some(reply("200\nx-door: resumed", status.to_vec())),
                }
            }
            b"/door/call-twice" => Some(made),
            b"/door/resume-trap" => panic!("trap on request"),
            _ => None,
        }
    }
}

/// The head of a call to that URL.
fn call(url: &[u8]) -> String {
    let url = String::from_utf8_lossy(url);
    format!("call POST {url}\ncontent-type: text/plain\ntimeout-ms: 1000\nnote-own: 1")
}

fn reply(head: &str, body: Vec<u8>) -> Message {
    Message {
        head: head.into(),
        body,
    }
}

export!(Door);

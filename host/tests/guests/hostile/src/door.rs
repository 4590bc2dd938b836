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

use exports::brink::edge::fast::{Guest, Reply};

struct Door;

impl Guest for Door {
    fn answer(head: Vec<u8>, body: Vec<u8>) -> Option<Reply> {
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
            b"/door/split-response" => Some(reply("200\ntransfer-encoding: chunked", Vec::new())),
            _ => None,
        }
    }
}

fn reply(head: &str, body: Vec<u8>) -> Reply {
    Reply {
        head: head.into(),
        body,
    }
}

export!(Door);

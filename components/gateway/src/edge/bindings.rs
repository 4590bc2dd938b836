//! The interfaces that spin-sdk does not bring: synchronous imports, and the export
//! `brink:edge/fast`.
#![expect(
    unsafe_code,
    reason = "exporting a function to the host is unsafe by nature; all of it is generated"
)]

spin_sdk::wit_bindgen::generate!({
    world: "brink:edge/gateway",
    path: "../../protocol/wit",
    runtime_path: "spin_sdk::wit_bindgen::rt",
    generate_all,
});

use super::fast::Door;

export!(Door);

//! Pictures of clients: read, or refused; never a panic, and never more memory than their pixels allow.

#![no_main]

use brink_host::inference::{ImageInput, ImageReader, Payload, Resize};
use libfuzzer_sys::fuzz_target;

const SIDE: u32 = 8;

fuzz_target!(|picture: &[u8]| {
    let reader = ImageReader::new(ImageInput {
        tensor: "image".to_owned(),
        width: SIDE,
        height: SIDE,
        crop: 0.875,
        resize: Resize::Bicubic,
        mean: [0.0; 3],
        std: [1.0; 3],
        bgr: false,
        channels_last: false,
        max_bytes: 1 << 20,
        max_pixels: 1 << 20,
    });
    match reader.read(picture) {
        Ok(Payload::Pixels(pixels)) => assert_eq!(pixels.len() as u32, SIDE * SIDE * 3),
        Ok(other) => panic!("{other:?}"),
        Err(error) => assert!(error.to_string().len() < 512, "{error}"),
    }
});

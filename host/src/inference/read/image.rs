//! Pictures: JPEG, PNG and WebP, to pixels of the model's size.
//!
//! A picture's size is read from its head first, so that one that is small as a file and huge as a
//! picture is refused before it takes memory. Colours are taken as they are: no colour profile, no
//! orientation, transparency dropped. That is what the training of common models did.

use std::io::Cursor;

use fast_image_resize::images::Image;
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::{DynamicImage, ImageFormat, Limits};

use crate::inference::backend::Payload;
use crate::inference::model::{ImageInput, Resize};

/// Memory that decoding may take beside the pixels: tables, and a row of blocks.
const DECODER_BYTES: u64 = 16 << 20;
/// Most bytes of a pixel while it is decoded: four colours of 16 bits.
const PIXEL_BYTES: u64 = 8;
/// Bytes of a pixel that a session reads.
const RGB_BYTES: usize = 3;

/// Reads pictures.
#[derive(Debug)]
pub struct ImageReader(ImageInput);

/// Why a picture cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// The first bytes are those of no format that is read here.
    #[error("the input is no JPEG, PNG or WebP picture")]
    Format,
    /// More bytes than the model takes.
    #[error("the picture has {bytes} bytes; the model takes at most {max_bytes}")]
    TooManyBytes {
        /// Bytes of the picture.
        bytes: usize,
        /// The model's limit.
        max_bytes: u32,
    },
    /// More pixels than the model takes.
    #[error("the picture has {width} x {height} pixels; the model takes at most {max_pixels}")]
    TooManyPixels {
        /// Pixels in a row.
        width: u32,
        /// Rows.
        height: u32,
        /// The model's limit, for the product.
        max_pixels: u32,
    },
    /// It says what it is, and is not.
    #[error("the picture cannot be decoded: {0}")]
    Corrupt(String),
}

impl ImageReader {
    /// A reader for a model with that input.
    pub fn new(input: ImageInput) -> Self {
        Self(input)
    }

    /// Bytes of the pixels that a session reads, of any picture.
    pub(super) fn decoded_bytes(&self) -> usize {
        self.0.width as usize * self.0.height as usize * RGB_BYTES
    }

    /// The pixels that a session reads. Milliseconds for a large picture: not for a thread that serves.
    pub fn read(&self, picture: &[u8]) -> Result<Payload, ImageError> {
        if picture.len() > self.0.max_bytes as usize {
            return Err(ImageError::TooManyBytes {
                bytes: picture.len(),
                max_bytes: self.0.max_bytes,
            });
        }
        let decoded = self.decode(picture)?;
        let pixels = self.resize(&decoded.into_rgb8())?;
        Ok(Payload::Pixels(pixels.into()))
    }

    fn decode(&self, picture: &[u8]) -> Result<DynamicImage, ImageError> {
        let format = image::guess_format(picture).ok();
        let format = format.filter(|format| {
            matches!(
                format,
                ImageFormat::Jpeg | ImageFormat::Png | ImageFormat::WebP
            )
        });
        let format = format.ok_or(ImageError::Format)?;
        let open = || image::ImageReader::with_format(Cursor::new(picture), format);
        let (width, height) = open().into_dimensions().map_err(corrupt)?;
        let pixels = u64::from(width) * u64::from(height);
        if pixels > self.0.max_pixels.into() {
            return Err(ImageError::TooManyPixels {
                width,
                height,
                max_pixels: self.0.max_pixels,
            });
        }
        let mut limits = Limits::no_limits();
        limits.max_alloc = Some(pixels * PIXEL_BYTES + DECODER_BYTES);
        let mut reader = open();
        reader.limits(limits);
        reader.decode().map_err(corrupt)
    }

    /// The middle of the picture in the model's size.
    fn resize(&self, picture: &image::RgbImage) -> Result<Vec<u8>, ImageError> {
        let it = &self.0;
        let (width, height) = picture.dimensions();
        if width == 0 || height == 0 {
            return Err(ImageError::Corrupt("it has no pixels".to_owned()));
        }
        // Cut before it is resized: what lies outside must not shine in.
        let side = f64::from(width.min(height)) * f64::from(it.crop);
        let side = (side as u32).max(1);
        let (left, top) = ((width - side).div_ceil(2), (height - side).div_ceil(2));
        let middle = image::imageops::crop_imm(picture, left, top, side, side).to_image();
        let filter = match it.resize {
            Resize::Bicubic => FilterType::CatmullRom,
            Resize::Bilinear => FilterType::Bilinear,
        };
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter));
        let source =
            Image::from_vec_u8(side, side, middle.into_raw(), PixelType::U8x3).map_err(corrupt)?;
        let mut resized = Image::new(it.width, it.height, PixelType::U8x3);
        Resizer::new()
            .resize(&source, &mut resized, &options)
            .map_err(corrupt)?;
        Ok(resized.into_vec())
    }
}

/// The decoder's reason, cut: some repeat what they read.
fn corrupt(error: impl std::fmt::Display) -> ImageError {
    const LONGEST: usize = 120;
    let reason: String = error.to_string().chars().take(LONGEST).collect();
    ImageError::Corrupt(reason)
}

#[cfg(test)]
mod tests {
    use image::{Rgb, RgbImage, RgbaImage};

    use super::*;

    fn reader(width: u32, crop: f32) -> ImageReader {
        ImageReader::new(ImageInput {
            tensor: "image".to_owned(),
            width,
            height: width,
            crop,
            resize: Resize::Bicubic,
            mean: [0.0; 3],
            std: [1.0; 3],
            bgr: false,
            channels_last: false,
            max_bytes: 100_000,
            max_pixels: 10_000,
        })
    }

    fn encoded(picture: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        let picture: DynamicImage = picture.into();
        picture.write_to(&mut bytes, format).expect("an encoder");
        bytes.into_inner()
    }

    fn pixels(payload: Result<Payload, ImageError>) -> Vec<u8> {
        match payload {
            Ok(Payload::Pixels(pixels)) => pixels.to_vec(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn pictures_of_every_format_become_pixels_of_the_models_size() {
        let picture = RgbImage::from_pixel(40, 20, Rgb([200, 100, 50]));
        for format in [ImageFormat::Png, ImageFormat::WebP] {
            let read = reader(2, 1.0).read(&encoded(picture.clone(), format));
            assert_eq!(pixels(read), [200, 100, 50].repeat(4), "{format:?}");
        }
        let read = pixels(reader(2, 1.0).read(&encoded(picture, ImageFormat::Jpeg)));
        for (read, original) in read.iter().zip([200u8, 100, 50].repeat(4)) {
            assert!(
                read.abs_diff(original) <= 3,
                "a JPEG is only nearly the same"
            );
        }
    }

    #[test]
    fn the_middle_is_kept_and_transparency_dropped() {
        // Red to the left and to the right of a blue square.
        let picture = RgbaImage::from_fn(30, 10, |x, _| {
            let blue = (10..20).contains(&x);
            image::Rgba(if blue {
                [0, 0, 255, 0]
            } else {
                [255, 0, 0, 255]
            })
        });
        let read = reader(1, 1.0).read(&encoded(picture, ImageFormat::Png));
        assert_eq!(pixels(read), [0, 0, 255]);
    }

    #[test]
    fn bad_pictures_are_refused_by_name() {
        let check = |picture: &[u8], part: &str| {
            let error = reader(2, 1.0).read(picture).expect_err(part).to_string();
            assert!(error.contains(part), "{error}");
        };
        check(b"", "no JPEG, PNG or WebP");
        check(b"GIF89a\x01\0\x01\0\0\0\0", "no JPEG, PNG or WebP");
        check(
            &[0xFF; 100_001],
            "has 100001 bytes; the model takes at most 100000",
        );
        let large = encoded(RgbImage::new(101, 100), ImageFormat::Png);
        check(&large, "101 x 100 pixels; the model takes at most 10000");
        let mut cut = encoded(RgbImage::new(50, 50), ImageFormat::Png);
        cut.truncate(60);
        check(&cut, "cannot be decoded");
        let mut cut = encoded(RgbImage::new(50, 50), ImageFormat::Jpeg);
        cut.truncate(100);
        check(&cut, "cannot be decoded");
    }

    /// A PNG of 60,000 x 60,000 pixels is some hundred bytes of head; its pixels would be 10 GB.
    #[test]
    fn decompression_bomb_is_refused_by_its_head() {
        let mut bomb = encoded(RgbImage::new(1, 1), ImageFormat::Png);
        bomb[16..20].copy_from_slice(&60_000u32.to_be_bytes());
        bomb[20..24].copy_from_slice(&60_000u32.to_be_bytes());
        let head = crc32(&bomb[12..29]);
        bomb[29..33].copy_from_slice(&head.to_be_bytes());
        assert_eq!(
            reader(2, 1.0).read(&bomb),
            Err(ImageError::TooManyPixels {
                width: 60_000,
                height: 60_000,
                max_pixels: 10_000
            })
        );
    }

    fn crc32(bytes: &[u8]) -> u32 {
        let step = |crc: u32, byte: &u8| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
                (crc >> 1) ^ (0xEDB8_8320 & (0u32.wrapping_sub(crc & 1)))
            })
        };
        !bytes.iter().fold(!0, step)
    }

    proptest::proptest! {
        /// Whatever is changed in a picture, it is read or refused.
        #[test]
        fn damaged_pictures_never_panic(at in 0usize..400, byte: u8, cut in 0usize..400, kind in 0usize..3) {
            let format = [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP][kind];
            let mut picture = encoded(RgbImage::from_fn(9, 7, |x, y| Rgb([x as u8, y as u8, 7])), format);
            let at = at % picture.len();
            picture[at] = byte;
            picture.truncate(picture.len() - cut % picture.len());
            let _ = reader(3, 0.9).read(&picture);
        }
    }
}

//! Where a model runs: what was asked for, and what came of it.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// The device that really runs a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Device {
    /// The processor.
    Cpu,
    /// The CUDA device of that number.
    Cuda(u32),
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

/// The setting `inference.device`: `auto`, `cpu`, `cuda` (the first) or `cuda:N`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum DeviceChoice {
    /// The first CUDA device if the library and the machine have one, the processor otherwise.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// That CUDA device; not starting is better than running elsewhere.
    Cuda(u32),
}

/// The text names no device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no device; write auto, cpu, cuda or cuda:N")]
pub struct ParseDeviceError(String);

impl FromStr for DeviceChoice {
    type Err = ParseDeviceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || ParseDeviceError(text.to_owned());
        match text.split_once(':') {
            None => match text {
                "auto" => Ok(Self::Auto),
                "cpu" => Ok(Self::Cpu),
                "cuda" => Ok(Self::Cuda(0)),
                _ => Err(unknown()),
            },
            Some(("cuda", number)) => number.parse().map(Self::Cuda).map_err(|_| unknown()),
            Some(_) => Err(unknown()),
        }
    }
}

impl TryFrom<String> for DeviceChoice {
    type Error = ParseDeviceError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_and_others_refused() {
        for (text, expected) in [
            ("auto", DeviceChoice::Auto),
            ("cpu", DeviceChoice::Cpu),
            ("cuda", DeviceChoice::Cuda(0)),
            ("cuda:3", DeviceChoice::Cuda(3)),
        ] {
            assert_eq!(text.parse(), Ok(expected));
        }
        for text in ["", "gpu", "CPU", "cuda:", "cuda:x", "cpu:0", "cuda:-1"] {
            let error = text.parse::<DeviceChoice>().expect_err(text);
            assert!(error.to_string().contains(text), "{error}");
        }
    }
}

//! What a session is told about its device.

use ort::ep::{self, ArenaExtendStrategy, ExecutionProviderDispatch};

use crate::inference::config::InferenceConfig;
use crate::inference::device::Device;

/// The providers of a device, in order of preference. ONNX Runtime falls back silently when a
/// provider fails; `error_on_failure` leaves that decision to us.
pub(super) fn providers(
    device: Device,
    config: &InferenceConfig,
    captured: bool,
) -> Vec<ExecutionProviderDispatch> {
    // The default of these bindings is no arena: every run would then ask the system for memory.
    let cpu = ep::CPU::default().with_arena_allocator(true).build();
    match device {
        Device::Cpu => vec![cpu],
        Device::Cuda(number) => {
            let cuda = cuda(number, config, captured).build();
            vec![cuda.error_on_failure(), cpu]
        }
    }
}

fn cuda(number: u32, config: &InferenceConfig, captured: bool) -> ep::CUDA {
    let cuda = ep::CUDA::default()
        .with_device_id(i32::try_from(number).unwrap_or(i32::MAX))
        // Doubling would keep up to twice what the largest batch needs, and could not give it back.
        .with_arena_extend_strategy(ArenaExtendStrategy::SameAsRequested)
        // Trying every algorithm takes seconds for each new shape, and shapes are many here.
        .with_conv_algorithm_search(ep::cuda::ConvAlgorithmSearch::Heuristic)
        // Results are kept, and compared with those of a processor: 10 bits of mantissa are too few.
        .with_tf32(false)
        .with_cuda_graph(captured);
    match config.cuda_memory_bytes {
        0 => cuda,
        bytes => cuda.with_memory_limit(usize::try_from(bytes).unwrap_or(usize::MAX)),
    }
}

/// The arenas that an idle session gives back, as the runtime's option names them. What was captured is
/// replayed at addresses of the device's arena, so that one then stays.
pub(super) fn arenas(device: Device, captured: bool) -> String {
    match device {
        Device::Cuda(number) if !captured => format!("cpu:0;gpu:{number}"),
        Device::Cuda(_) | Device::Cpu => "cpu:0".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arena_of_captured_runs_is_left_alone() {
        assert_eq!(arenas(Device::Cpu, false), "cpu:0");
        assert_eq!(arenas(Device::Cuda(1), false), "cpu:0;gpu:1");
        assert_eq!(arenas(Device::Cuda(1), true), "cpu:0");
    }
}

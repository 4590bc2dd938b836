//! Binds memory of our own to a session's inputs and outputs, without a copy.
//!
//! The safe calls of the bindings copy an input when it is bound, and give outputs memory of the runtime's.
//! A decoder's keys and values have to be both, in one place.

use std::ffi::CStr;

use ort::memory::MemoryInfo;
use ort::session::IoBinding;
use ort::value::{PrimitiveTensorElementType, Shape, TensorRefMut};
use ort::{AsPointer, ortsys};

/// What memory is bound as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::inference) enum Side {
    Input,
    Output,
}

/// Binds memory as a tensor of this shape. The caller keeps the memory where it is until the binding is gone
/// or bound to something else, and neither reads nor writes it while a run uses the binding.
pub(in crate::inference) fn bind<T, S>(
    io: &mut IoBinding,
    side: Side,
    name: &CStr,
    (memory, shape): (&mut [S], &[usize]),
) -> ort::Result<()>
where
    T: PrimitiveTensorElementType + std::fmt::Debug + Clone + 'static,
{
    let elements: usize = shape.iter().product();
    assert!(
        elements <= memory.len() && size_of::<T>() == size_of::<S>(),
        "the memory holds the tensor"
    );
    let shape: Shape = shape.iter().copied().collect();
    #[expect(
        unsafe_code,
        reason = "a tensor over memory that is bound twice has no safe door"
    )]
    // SAFETY: the memory is of this process, as the default info says, and holds as many elements of that
    // size, as was asserted. The tensor is dropped below; that the binding does not outlive the memory is the
    // caller's promise.
    let tensor = unsafe {
        TensorRefMut::<T>::from_raw(MemoryInfo::default(), memory.as_mut_ptr().cast(), shape)?
    };
    let io = io.ptr_mut();
    match side {
        Side::Input => ortsys![unsafe BindInput(io, name.as_ptr(), tensor.ptr())?],
        Side::Output => ortsys![unsafe BindOutput(io, name.as_ptr(), tensor.ptr())?],
    }
    Ok(())
}

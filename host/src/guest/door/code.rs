//! Finds the core module behind a component's door, and checks that it can be called directly.
//!
//! The component's own type is checked first: an export of that name with another signature is
//! no door. Then the core module's exports and imports are held against the canonical ABI of
//! that signature. Nothing here can be unsound: whatever the module really does, wasmtime keeps
//! it in its memory, and every pointer that it gives is checked when it is used.

use wasmparser::{Parser, Payload};
use wasmtime::{
    Engine, InstancePre, Linker, Module,
    component::{
        Component,
        types::{ComponentItem, Type},
    },
};

use super::{imports, instance::DoorState};
use crate::guest::{body::BoxError, compile::CompileCache};

/// The interface.
const FAST: &str = "brink:edge/fast@0.3.0";
/// The core module's names of the functions and of their clean-up.
pub(super) const ANSWER: &str = "brink:edge/fast@0.3.0#answer";
pub(super) const POST_ANSWER: &str = "cabi_post_brink:edge/fast@0.3.0#answer";
pub(super) const RESUME: &str = "brink:edge/fast@0.3.0#resume";
pub(super) const PASS: &str = "brink:edge/fast@0.3.0#pass";
pub(super) const POST_PASS: &str = "cabi_post_brink:edge/fast@0.3.0#pass";
pub(super) const POST_RESUME: &str = "cabi_post_brink:edge/fast@0.3.0#resume";

/// A door that can be instantiated.
pub(in crate::guest) struct DoorCode {
    pub(super) pre: InstancePre<DoorState>,
}

/// Why a component's door is not used. Its requests then go through `wasi:http`.
#[derive(Debug, thiserror::Error)]
pub(in crate::guest) enum DoorError {
    #[error("{FAST} has another signature than this host knows")]
    Signature,
    #[error("no core module of the component exports {ANSWER} (composed components have no door)")]
    NoCoreModule,
    #[error("the core module cannot be read: {0}")]
    Parse(#[source] BoxError),
    #[error("the core module cannot be used: {0:#}")]
    Link(#[source] BoxError),
}

impl DoorCode {
    /// The door of the component `wasm`; `None` if it has none.
    pub(in crate::guest) fn load(
        engine: &Engine,
        cache: &CompileCache,
        wasm: &[u8],
        component: &Component,
    ) -> Result<Option<Self>, DoorError> {
        if !has_door(engine, component)? {
            return Ok(None);
        }
        let module = core_module(wasm)
            .map_err(|error| DoorError::Parse(error.into()))?
            .ok_or(DoorError::NoCoreModule)?;
        let link = || -> wasmtime::Result<InstancePre<DoorState>> {
            let module = cache.load_module(engine, module)?;
            linker(engine, &module)?.instantiate_pre(&module)
        };
        let pre = link().map_err(|error| DoorError::Link(error.into()))?;
        Ok(Some(Self { pre }))
    }
}

fn linker(engine: &Engine, module: &Module) -> wasmtime::Result<Linker<DoorState>> {
    let mut linker = Linker::new(engine);
    imports::add_to_linker(&mut linker, module)?;
    // What is left belongs to the other door. A call that gets there traps, and is not repeated.
    linker.define_unknown_imports_as_traps(module)?;
    Ok(linker)
}

/// Whether the component exports the door, with the signature of `protocol/wit/world.wit`.
fn has_door(engine: &Engine, component: &Component) -> Result<bool, DoorError> {
    let ty = component.component_type();
    let Some(export) = ty.get_export(engine, FAST) else {
        return Ok(false);
    };
    let ComponentItem::ComponentInstance(interface) = export.ty else {
        return Err(DoorError::Signature);
    };
    let is_as_known = |name: &str, parameters: &[IsOf]| {
        let export = interface.get_export(engine, name);
        let Some(ComponentItem::ComponentFunc(function)) = export.map(|export| export.ty) else {
            return false;
        };
        let results: Vec<Type> = function.results().collect();
        let taken: Vec<Type> = function.params().map(|(_, ty)| ty).collect();
        let are_known =
            taken.len() == parameters.len() && taken.iter().zip(parameters).all(|(ty, is)| is(ty));
        are_known && !function.async_() && matches!(&results[..], [ty] if is_optional_message(ty))
    };
    let (bytes, message): (IsOf, IsOf) = (is_bytes, is_message);
    if is_as_known("answer", &[bytes, bytes])
        && is_as_known("resume", &[bytes, bytes, message, message])
        && is_as_known("pass", &[bytes, bytes, bytes, is_bool])
    {
        Ok(true)
    } else {
        Err(DoorError::Signature)
    }
}

/// Whether a type is the one that is known.
type IsOf = fn(&Type) -> bool;

fn is_bytes(ty: &Type) -> bool {
    matches!(ty, Type::List(list) if list.ty() == Type::U8)
}

fn is_bool(ty: &Type) -> bool {
    *ty == Type::Bool
}

fn is_optional_message(ty: &Type) -> bool {
    matches!(ty, Type::Option(option) if is_message(&option.ty()))
}

fn is_message(ty: &Type) -> bool {
    let Type::Record(record) = ty else {
        return false;
    };
    let fields = record.fields();
    fields
        .map(|field| (field.name, is_bytes(&field.ty)))
        .eq([("head", true), ("body", true)])
}

/// The core module inside the component that exports the door's function.
fn core_module(component: &[u8]) -> wasmparser::Result<Option<&[u8]>> {
    for payload in Parser::new(0).parse_all(component) {
        if let Payload::ModuleSection {
            unchecked_range, ..
        } = payload?
        {
            let range = unchecked_range.start..unchecked_range.end;
            let module = component.get(range).unwrap_or_default();
            if exports_door(module)? {
                return Ok(Some(module));
            }
        }
    }
    Ok(None)
}

fn exports_door(module: &[u8]) -> wasmparser::Result<bool> {
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::ExportSection(exports) = payload? {
            for export in exports {
                if export?.name == ANSWER {
                    return Ok(true);
                }
            }
        }
    }
    Ok(false)
}

//! From tensors to items: one for each row of a batch, and so one entry for each.

use brink_protocol::limits::MAX_INPUTS;
use brink_protocol::tensor::{Tensor, TensorInfo};
use brink_protocol::{Input, ModelInfo, ModelKind};

use super::request::wrong;
use super::signature::Signature;
use crate::error::{ApiError, shorten};
use crate::forms::classify::blob::Wanted;
use crate::forms::input::check_each;

/// The items of a request to this model.
pub(super) fn items(tensors: &[Tensor], model: &ModelInfo) -> Result<Vec<Input>, ApiError> {
    if matches!(model.kind, ModelKind::Generate { .. }) {
        return Err(ApiError::wrong_task(model, "reads no tensors"));
    }
    let signature = Signature::of(model);
    let ordered = ordered(tensors, &signature, model)?;
    if !signature.batched {
        return Ok(vec![Input::Tensors(ordered.into_iter().cloned().collect())]);
    }
    let count = batch_size(&ordered)?;
    match &model.kind {
        ModelKind::Generic { .. } | ModelKind::Generate { .. } => generic(&ordered, count),
        ModelKind::Embed { .. } => texts(&ordered),
        ModelKind::Classify { reads, .. } => match Wanted::by(*reads) {
            Some(wanted) => blobs(&ordered, wanted),
            None => texts(&ordered),
        },
    }
}

/// The tensors in the order of the model's inputs, each held against what the model takes.
fn ordered<'t>(
    tensors: &'t [Tensor],
    signature: &Signature<'_>,
    model: &ModelInfo,
) -> Result<Vec<&'t Tensor>, ApiError> {
    let names = || {
        let names = signature.inputs.iter().map(|info| info.name.as_str());
        names.collect::<Vec<_>>().join(", ")
    };
    for (index, tensor) in tensors.iter().enumerate() {
        if !signature.inputs.iter().any(|info| info.name == tensor.name) {
            let what = format!(
                "is no input of the model {}; those are {}",
                model.name,
                names()
            );
            return Err(wrong(&tensor.name, &what));
        }
        if tensors[..index]
            .iter()
            .any(|other| other.name == tensor.name)
        {
            return Err(wrong(&tensor.name, "is given twice"));
        }
    }
    let find = |info: &TensorInfo| {
        let tensor = tensors.iter().find(|tensor| tensor.name == info.name);
        let tensor = tensor.ok_or_else(|| {
            let what = format!(
                "is missing; the inputs of the model {} are {}",
                model.name,
                names()
            );
            wrong(&info.name, &what)
        })?;
        check(tensor, info, signature)?;
        Ok(tensor)
    };
    signature.inputs.iter().map(find).collect()
}

fn check(tensor: &Tensor, info: &TensorInfo, signature: &Signature<'_>) -> Result<(), ApiError> {
    if tensor.datatype != info.datatype {
        let what = format!(
            "has the datatype {}; the model takes {}",
            tensor.datatype.name(),
            info.datatype.name()
        );
        return Err(wrong(&info.name, &what));
    }
    let row = match signature.batched {
        true => tensor.shape.get(1..),
        false => Some(&tensor.shape[..]),
    };
    if row.is_some_and(|row| info.takes(row)) {
        return Ok(());
    }
    let what = format!(
        "has the shape {:?}; the model takes {:?}",
        tensor.shape,
        signature.shape(info)
    );
    Err(wrong(&info.name, &what))
}

/// How many rows there are, the same in all tensors.
fn batch_size(tensors: &[&Tensor]) -> Result<usize, ApiError> {
    let Some((first, others)) = tensors.split_first() else {
        return Err(ApiError::invalid("inputs", "the model has no inputs"));
    };
    let size = |tensor: &Tensor| tensor.shape.first().copied().unwrap_or_default();
    let count = size(first);
    if let Some(other) = others.iter().find(|other| size(other) != count) {
        let what = format!(
            "has {} rows; {} has {count}",
            size(other),
            shorten(&first.name)
        );
        return Err(wrong(&other.name, &what));
    }
    let fits = usize::try_from(count).ok();
    fits.filter(|count| (1..=MAX_INPUTS).contains(count))
        .ok_or_else(|| {
            let what = format!("has {count} rows; 1 to {MAX_INPUTS} are allowed");
            wrong(&first.name, &what)
        })
}

fn generic(tensors: &[&Tensor], count: usize) -> Result<Vec<Input>, ApiError> {
    let mut items = vec![Vec::new(); count];
    for tensor in tensors {
        let rows = tensor
            .rows()
            .ok_or_else(|| wrong(&tensor.name, "cannot be cut into rows"))?;
        for (item, row) in items.iter_mut().zip(rows) {
            item.push(row);
        }
    }
    Ok(items.into_iter().map(Input::Tensors).collect())
}

/// The strings of the only input.
fn strings<'t>(tensors: &[&'t Tensor]) -> impl Iterator<Item = &'t [u8]> {
    let all = tensors.first().map(|tensor| tensor.strings());
    // Ends at a mistake, and tensors that were checked have none.
    all.into_iter().flatten().map_while(Result::ok)
}

fn texts(tensors: &[&Tensor]) -> Result<Vec<Input>, ApiError> {
    let text = |(row, string): (usize, &[u8])| match std::str::from_utf8(string) {
        Ok(text) => Ok(Input::Text(text.to_owned())),
        Err(_) => {
            let param = param(row);
            let message = format!("{param} is no UTF-8; the model reads texts");
            Err(ApiError::invalid(param, message))
        }
    };
    let items = strings(tensors).enumerate().map(text);
    let items = items.collect::<Result<Vec<_>, _>>()?;
    check_each(&items, param)?;
    Ok(items)
}

fn blobs(tensors: &[&Tensor], wanted: Wanted) -> Result<Vec<Input>, ApiError> {
    let Some(tensor) = tensors.first() else {
        return Ok(Vec::new());
    };
    let blob = |(row, string): (usize, &[u8])| {
        wanted.check(&param(row), string)?;
        Ok(Input::Blob(tensor.data.slice_ref(string)))
    };
    strings(tensors).enumerate().map(blob).collect()
}

/// What errors call a row.
pub(super) fn param(row: usize) -> String {
    format!("row[{row}]")
}

//! Small ONNX files, written by hand: just so much of the format as the tests need.
//!
//! The numbers of the fields are those of `onnx.proto`.

/// Bytes of a message.
#[derive(Clone, Debug, Default)]
pub(crate) struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    pub(crate) fn number(mut self, field: u64, value: u64) -> Self {
        self.varint(field << 3);
        self.varint(value);
        self
    }

    pub(crate) fn bytes(mut self, field: u64, bytes: &[u8]) -> Self {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
        self
    }

    pub(crate) fn text(self, field: u64, text: &str) -> Self {
        self.bytes(field, text.as_bytes())
    }

    pub(crate) fn message(self, field: u64, message: &Self) -> Self {
        self.bytes(field, &message.0)
    }
}

/// Elements, as `TensorProto.DataType` numbers them.
pub(crate) const FLOAT: u64 = 1;
pub(crate) const INT64: u64 = 7;

/// An input or an output; `None` for a dimension that is free.
pub(crate) fn tensor(name: &str, elements: u64, shape: &[Option<u64>]) -> Message {
    let dimension = |size: &Option<u64>| match size {
        Some(size) => Message::default().number(1, *size),
        None => Message::default().text(2, "any"),
    };
    let shape = shape.iter().map(dimension);
    let shape = shape.fold(Message::default(), |all, size| all.message(1, &size));
    let tensor = Message::default().number(1, elements).message(2, &shape);
    let kind = Message::default().message(1, &tensor);
    Message::default().text(1, name).message(2, &kind)
}

/// A constant list of numbers.
pub(crate) fn numbers(name: &str, numbers: &[i64]) -> Message {
    let data: Vec<u8> = numbers.iter().flat_map(|it| it.to_le_bytes()).collect();
    Message::default()
        .number(1, numbers.len() as u64)
        .number(2, INT64)
        .text(8, name)
        .bytes(9, &data)
}

/// A node with an attribute that is a number, if it has one.
pub(crate) fn node(
    kind: &str,
    inputs: &[&str],
    output: &str,
    attribute: Option<(&str, u64)>,
) -> Message {
    let inputs = inputs.iter();
    let node = inputs.fold(Message::default(), |node, input| node.text(1, input));
    let node = node.text(2, output).text(4, kind);
    match attribute {
        None => node,
        Some((name, value)) => {
            let attribute = Message::default().text(1, name).number(3, value);
            node.message(5, &attribute.number(20, 2))
        }
    }
}

/// The file of a graph of one node.
pub(crate) fn file(
    node: &Message,
    constants: &[Message],
    input: &Message,
    output: &Message,
) -> Vec<u8> {
    let graph = Message::default().message(1, node).text(2, "test");
    let constants = constants.iter();
    let graph = constants.fold(graph, |graph, constant| graph.message(5, constant));
    let graph = graph.message(11, input).message(12, output);
    let operators = Message::default().text(1, "").number(2, 13);
    let model = Message::default().number(1, 8).message(7, &graph);
    model.message(8, &operators).0
}

//! Limits that edge and host must agree on. Settings may only narrow them.

/// Most inputs in one request, as in OpenAI's API.
pub const MAX_INPUTS: usize = 2048;
/// Most bytes of one text input. Four bytes a token at 16,384 tokens, with room.
pub const MAX_INPUT_BYTES: usize = 256 * 1024;
/// Most token ids in one tokenised input.
pub const MAX_INPUT_TOKENS: usize = 16 * 1024;
/// Most bytes of one message, in either direction.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024 * 1024;
/// Most bytes of one file or picture. A model's own limit may be lower.
pub const MAX_BLOB_BYTES: usize = 16 * 1024 * 1024;

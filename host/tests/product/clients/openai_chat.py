"""The official OpenAI client, unmodified, against the routes for texts: URL, model."""

import sys

import openai

url, model = sys.argv[1:]
client = openai.OpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=0)
question = [{"role": "user", "content": "What is the capital of France?"}]
greedy = dict(model=model, messages=question, temperature=0, max_tokens=24)

whole = client.chat.completions.create(**greedy)
text = whole.choices[0].message.content
assert "Paris" in text, text
assert whole.choices[0].finish_reason in ("stop", "length"), whole
usage = whole.usage
assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens > 10, usage

# The same, streamed: from the cache, and the same text.
stream = client.chat.completions.create(**greedy, stream=True, stream_options={"include_usage": True})
chunks = list(stream)
assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == text, chunks
assert chunks[0].choices[0].delta.role == "assistant", chunks[0]
assert chunks[-1].choices == [] and chunks[-1].usage == usage, chunks[-1]
assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason, chunks[-2]

# Not from the cache: more than one piece of text.
other = dict(greedy, seed=7, temperature=0.8, max_tokens=32)
pieces = [c.choices[0].delta.content for c in client.chat.completions.create(**other, stream=True)]
assert sum(bool(piece) for piece in pieces) > 2, pieces
again = client.chat.completions.create(**other, extra_headers={"cache-control": "no-cache"})
assert again.choices[0].message.content == "".join(piece or "" for piece in pieces)

several = client.chat.completions.create(**dict(other, n=3, max_tokens=8))
assert [choice.index for choice in several.choices] == [0, 1, 2]
assert len({choice.message.content for choice in several.choices}) > 1, several

told = client.chat.completions.create(**dict(greedy, max_tokens=3), logprobs=True, top_logprobs=2)
tokens = told.choices[0].logprobs.content
assert len(tokens) == 3 and all(len(token.top_logprobs) == 2 for token in tokens), tokens
assert all(token.logprob <= 0 for token in tokens), tokens
assert bytes(sum((token.bytes for token in tokens), [])).decode() == told.choices[0].message.content

completion = client.completions.create(model=model, prompt="Once upon a time", temperature=0, max_tokens=8, logprobs=1)
assert completion.choices[0].text and completion.choices[0].finish_reason == "length", completion
assert len(completion.choices[0].logprobs.tokens) == 8, completion
streamed = client.completions.create(model=model, prompt="Once upon a time", temperature=0, max_tokens=8, logprobs=1, stream=True)
assert "".join(chunk.choices[0].text for chunk in streamed if chunk.choices) == completion.choices[0].text

stopped = client.chat.completions.create(**dict(greedy, stop=["Paris"]))
assert "Paris" not in stopped.choices[0].message.content, stopped
assert stopped.choices[0].finish_reason == "stop", stopped


def refused(kind, param, **members):
    try:
        client.chat.completions.create(**dict(greedy, **members))
    except kind as error:
        assert error.param == param, (error.param, error.message)
        return
    raise AssertionError(f"{members} was taken")


refused(openai.BadRequestError, "temperature", temperature=3)
refused(openai.BadRequestError, "messages[0].role", messages=[{"role": "tool", "content": "x", "tool_call_id": "1"}])
refused(openai.BadRequestError, "response_format", response_format={"type": "json_object"})
refused(openai.BadRequestError, "messages", messages=[{"role": "user", "content": "word " * 9000}])
refused(openai.NotFoundError, "model", model="no-such-model")

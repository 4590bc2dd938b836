"""The Hugging Face client, unmodified, against the routes of text-embeddings-inference: URL, reference."""

import json
import sys

from huggingface_hub import InferenceClient

url, reference = sys.argv[1:]
data = json.load(open(reference))
client = InferenceClient()
for address in [f"{url}/embed", url]:
    for text, expected in zip(data["sentences"], data["emb"], strict=True):
        [vector] = client.feature_extraction(text, model=address)
        cosine = float((vector * expected).sum())
        assert cosine >= 0.99999, (address, cosine)
source, *others = data["sentences"][:4]
similar = client.sentence_similarity(source, others, model=f"{url}/similarity")
for cosine, other in zip(similar, data["emb"][1:4], strict=True):
    expected = sum(a * b for a, b in zip(data["emb"][0], other, strict=True))
    assert abs(cosine - expected) < 1e-4, (cosine, expected)

"""Batches of texts: each architecture gives a text the logits that it gets by itself."""

import numpy as np
import pytest

import sentiment_analysis as sentiment
from emotion_models import WORDS
from harness.task import Data
from harness.texts import Classifier, padding_is_ignored

KINDS = (
    "bert roberta electra distilbert deberta-v2 mpnet modernbert big_bird albert gpt2 xlnet bart longformer"
    " funnel llama"
).split()


@pytest.mark.parametrize("kind", KINDS)
def test_logits_in_batches_equal_those_text_by_text(emotion_models, one_thread, kind):
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    sizes = {"vocab_size": 14, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    sizes |= {"intermediate_size": 24, "max_position_embeddings": 64, "initializer_range": 0.5}
    sizes |= {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "sep_token_id": 3, "num_labels": 6}
    if kind in ("xlnet", "funnel"):
        del sizes["max_position_embeddings" if kind == "xlnet" else "num_hidden_layers"]
    sizes |= {
        "albert": {"embedding_size": 16},
        "electra": {"embedding_size": 16},
        "distilbert": {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24},
        "deberta-v2": {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
        "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64},
        "xlnet": {"d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 24},
        "bart": {
            "d_model": 16,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "encoder_layers": 2,
        }
        | {"decoder_layers": 2, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "decoder_start_token_id": 2},
        "big_bird": {"attention_type": "original_full"},
        "longformer": {"attention_window": 8},
        "funnel": {"d_model": 16, "block_sizes": [1, 1], "n_head": 2, "d_head": 8, "d_inner": 24},
    }.get(kind, {})
    torch.manual_seed(0)
    net = AutoModelForSequenceClassification.from_config(AutoConfig.for_model(kind, **sizes)).eval()
    tokenizer = AutoTokenizer.from_pretrained(emotion_models / "good", model_max_length=62)
    draw = np.random.default_rng(3)
    texts = [" ".join(draw.choice(WORDS, n)) for n in [*draw.integers(1, 5, 30), 20, 70]]
    model = Classifier(net, tokenizer, torch.device("cpu"), 62, None, sentiment.LABELS)
    data = Data("test", "", "", texts, [0] * len(texts), len(texts))
    logits, batches = {}, 0
    for batch in sentiment.predict(model, data, sentiment.PROTOCOLS["standard"], 16):
        logits |= dict(zip(batch.indices, batch.columns["logits"], strict=True))
        batches += 1
    assert batches < len(texts) / 3
    with torch.inference_mode():
        single = [net(**tokenizer(t, truncation=True, return_tensors="pt")).logits[0].numpy() for t in texts]
    assert np.ptp(single, axis=0).min() > 0.1  # the logits do differ
    np.testing.assert_allclose([logits[i] for i in range(len(texts))], single, rtol=1e-4, atol=1e-5)

    def padded(indices: list[int]) -> dict:
        return tokenizer([texts[i] for i in indices], padding=True, return_tensors="pt")

    short = min(range(len(texts)), key=lambda i: len(texts[i]))
    ignored = kind != "xlnet"  # which reads the last token, and this tokenizer pads on the right
    assert padding_is_ignored(net, padded, short, 30) == ignored

"""Text classifiers of a few hundred weights, right and wrong ones, with ten texts."""

import json
from pathlib import Path

import pytest

from sentiment_analysis import LABELS

WORDS = ["im", "feeling", "rather", "sad", "happy", "loved", "angry", "scared", "surprised", "today"]
GOLD = (0, 1, 2, 3, 4, 5, 0, 1, 1, 5)


@pytest.fixture(scope="session")
def emotion_models(tmp_path_factory) -> Path:
    """A folder of models of a few hundred weights, and `data/test.jsonl` with ten texts."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import (
        BertConfig,
        BertForMaskedLM,
        BertForSequenceClassification,
        GPT2Config,
        GPT2ForSequenceClassification,
        PreTrainedTokenizerFast,
    )

    folder = tmp_path_factory.mktemp("emotion-models")
    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    padded = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="[PAD]", unk_token="[UNK]")
    unpadded = PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="[UNK]")
    torch.manual_seed(0)

    def save(name: str, network=BertForSequenceClassification, labels=LABELS, **kwargs) -> Path:
        sizes = {"vocab_size": len(vocabulary), "hidden_size": 8, "intermediate_size": 8}
        sizes |= {"num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 8}
        config = BertConfig(**sizes, pad_token_id=0, **kwargs)
        config.id2label = dict(enumerate(labels))
        network(config).save_pretrained(folder / name)
        padded.save_pretrained(folder / name)
        return folder / name

    save("good", initializer_range=1.0)
    save("indexed", labels=[f"LABEL_{i}" for i in range(6)])
    save("renamed", labels=["happy", "sad", "in love", "angry", "afraid", "amazed"])
    save("two-labels", labels=["NEGATIVE", "POSITIVE"])
    save("other-task", BertForMaskedLM)
    corrupt = save("corrupt") / "model.safetensors"
    corrupt.write_bytes(corrupt.read_bytes()[:-100])
    config = json.loads((save("own-code") / "config.json").read_text())
    config["auto_map"] = {"AutoModelForSequenceClassification": "modeling.Evil"}
    (folder / "own-code" / "config.json").write_text(json.dumps(config))
    (folder / "own-code" / "modeling.py").write_text(f"open({str(folder / 'ran')!r}, 'w')")
    gpt = GPT2Config(vocab_size=len(vocabulary), n_positions=32, n_embd=8, n_layer=1, n_head=2)
    gpt.id2label = dict(enumerate(LABELS))
    GPT2ForSequenceClassification(gpt).save_pretrained(folder / "no-padding")
    unpadded.save_pretrained(folder / "no-padding")

    (folder / "data").mkdir()
    texts = [" ".join(WORDS[: n % 10 + 1]) for n in range(10)]
    lines = [json.dumps({"text": text, "label": label}) for text, label in zip(texts, GOLD, strict=True)]
    (folder / "data" / "test.jsonl").write_text("\n".join(lines) + "\n")
    return folder

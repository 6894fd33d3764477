"""Which checkpoint is it, and how is it loaded without trusting it?

Turns a Hub id, `id@revision` or local folder into a `Model` of known revision, downloads just the files that
loading reads, and loads them without running any code that came with them. Used through `harness.py`.
"""

import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ptm import PTM
from scored.cli import redact
from scored.files import ROOT, UserError

WEIGHTS = re.compile(r"model(-\d+-of-\d+)?\.safetensors|model\.safetensors\.index\.json")
PICKLED = re.compile(r"pytorch_model(-\d+-of-\d+)?\.bin|pytorch_model\.bin\.index\.json")
BESIDE = re.compile(
    r"[\w.-]*config\.json|[\w.-]*(vocab|tokenizer)[\w.-]*\.(json|txt)|(added_tokens|special_tokens_map)\.json"
    r"|merges\.txt|bpe\.codes|[\w.-]+\.(model|tiktoken)|README\.md"
)
WAITS = (1, 4, 16)  # seconds between attempts at a Hub in trouble that does not say how long to wait
LONGEST = 600  # seconds that we wait because it says so
CARD = 2 << 20  # bytes of a README.md whose metadata is read; PyYAML takes half a minute for so much
KNOWN = {  # errors of huggingface_hub (a gated repository's is a subclass of a missing one's) and torch
    "GatedRepoError": "gated: ask for access on its page on the Hub, then set HF_TOKEN",
    "RepositoryNotFoundError": "the Hub has no such model, or it is private (then set HF_TOKEN)",
    "RevisionNotFoundError": "the Hub has no such revision of this model",
    "DisabledRepoError": "disabled on the Hub",
    "UnpicklingError": "its weights are a pickle with more in it than tensors, which may be code: not loaded",
    "MemoryError": "it needs more memory than there is",
    "HFValidationError": "neither a folder here nor a model id of the Hub",
}


class CannotMeasure(Exception):
    """A model that cannot be measured on this data, and why: becomes the `error` of its row."""


@dataclass(frozen=True)
class Model:
    """A model whose revision is known."""

    name: str  # Hub id, or a local folder as seen from the project's root
    revision: str  # commit SHA, or "sha256:" and the hash of the folder's content
    files: tuple[str, ...]  # those that loading may read
    path: str | None  # of a local folder; None for a model on the Hub
    sizes: tuple[int, ...] = ()  # bytes of each file

    @property
    def weights(self) -> int:
        """Bytes of the weights."""
        files = zip(self.files, self.sizes, strict=True) if self.sizes else ()
        return sum(size for name, size in files if WEIGHTS.fullmatch(name) or PICKLED.fullmatch(name))


def digest(*parts: object) -> str:
    """SHA-256 of values in JSON, in hex."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def file_digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe_error(why: BaseException) -> str:
    """An exception as one line of at most 500 characters that says what to do, where that is known."""
    kinds = [kind.__name__ for kind in type(why).__mro__]
    if known := [KNOWN[kind] for kind in kinds if kind in KNOWN]:
        return known[0]
    said = "".join(c for c in " ".join(redact(str(why)).split()) if c.isprintable())
    text = said if isinstance(why, (CannotMeasure, UserError)) else f"{type(why).__name__}: {said}"
    return text if len(text) <= 500 else text[:499] + "…"


def parse_model_argument(text: str) -> tuple[str, str | None]:
    """Name and asked revision of a model: a Hub id and what follows `@`, or a folder seen from ROOT."""
    if not os.path.isdir(text):
        name, _, revision = text.partition("@")
        return name, revision or None
    name = Path(os.path.relpath(text, ROOT)).as_posix()
    return name if name.startswith("../") else f"./{name}", None  # never mistaken for a Hub id


def with_retries(ask: Callable, *words, **options):
    """What the Hub answers. A used-up quota is waited for as it says, a fault of the network for a while."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import parse_ratelimit_headers

    for wait in WAITS:
        try:
            return ask(*words, **options)
        except HfHubHTTPError as why:
            code, quota = why.response.status_code, parse_ratelimit_headers(why.response.headers)
            if quota and not quota.remaining:
                wait = quota.reset_in_seconds + 1
            if (code != 429 and code < 500) or wait > LONGEST:
                raise
            reason = f"answers {code}"
        except httpx2.TransportError as why:
            reason = f"does not answer ({type(why).__name__})"
        print(f"the Hub {reason}: waiting {wait} s", file=sys.stderr)
        time.sleep(wait)
    return ask(*words, **options)


def resolve(text: str) -> Model:
    """A Hub id, `id@revision` or local folder as a Model of known revision. Raises CannotMeasure or a Hub error."""
    name, revision = parse_model_argument(text)
    if os.path.isdir(text):
        folder = Path(text).resolve()
        files = select_files([path.name for path in folder.iterdir() if path.is_file()])
        content = digest([(n, file_digest(folder / n)) for n in files])
        sizes = tuple((folder / n).stat().st_size for n in files)
        return Model(name, f"sha256:{content}", files, str(folder), sizes)
    from huggingface_hub import HfApi

    info = with_retries(HfApi().model_info, name, revision=revision, timeout=60, files_metadata=True)
    if not re.fullmatch(r"[\w-]+", info.sha or "", re.ASCII):  # it becomes part of a file's name
        raise CannotMeasure("the Hub names no commit of it")
    found = {sibling.rfilename: sibling.size or 0 for sibling in info.siblings or []}
    files = select_files(list(found))
    return Model(name, info.sha, files, None, tuple(found[n] for n in files))


def to_download(model: Model) -> int:
    """Bytes of a model's files that are not in the cache."""
    from huggingface_hub import try_to_load_from_cache

    files = zip(model.files, model.sizes, strict=True) if not model.path else ()
    return sum(n for f, n in files if not try_to_load_from_cache(model.name, f, revision=model.revision))


def read_card(model: Model) -> PTM:
    """What the model's own card claims, at the revision measured."""
    import yaml
    from huggingface_hub import hf_hub_download
    from huggingface_hub.repocard import metadata_load

    if "README.md" not in model.files:
        return PTM.from_record({"id": model.name})
    path = Path(model.path, "README.md") if model.path else None
    path = path or with_retries(hf_hub_download, model.name, "README.md", revision=model.revision)
    try:
        metadata = as_json(metadata_load(path)) if os.path.getsize(path) <= CARD else {}
        return PTM.from_record({"id": model.name, "cardData": metadata})
    except (ValueError, RecursionError, yaml.YAMLError):  # the Hub reads no claim in such a card either
        return PTM.from_record({"id": model.name})


def as_json(metadata: object) -> object:
    """YAML as the JSON of a Hub record. ValueError where aliases make more of it than the card holds."""
    size, left = 0, [metadata]
    while left:
        node = left.pop()
        size += len(node) if isinstance(node, (str, bytes)) else 1
        if isinstance(node, (list, tuple, set, dict)):
            left += [*node, *(node.values() if isinstance(node, dict) else ())]
        if size + len(left) > CARD:
            raise ValueError("aliases that multiply")
    return json.loads(json.dumps(metadata, default=str, skipkeys=True))


def select_files(names: list[str]) -> tuple[str, ...]:
    """Those of a repository's files that loading may read, safetensors if there are any. Raises CannotMeasure."""
    weights = [n for n in names if WEIGHTS.fullmatch(n)] or [n for n in names if PICKLED.fullmatch(n)]
    if "config.json" not in names:
        raise CannotMeasure("it has no config.json, so it is not a model in transformers format")
    if not weights:
        raise CannotMeasure("it has no weights for PyTorch (model.safetensors or pytorch_model.bin)")
    return *sorted(n for n in names if BESIDE.fullmatch(n)), *sorted(weights)


def download(model: Model, say) -> Path:
    from huggingface_hub import hf_hub_download
    from tqdm import tqdm

    class Heard(tqdm):  # so that the parent knows a slow download from a hang
        def __init__(self, *args, **kwargs):
            kwargs.pop("name", None)
            super().__init__(*args, **kwargs | {"file": open(os.devnull, "w"), "disable": False})  # noqa: SIM115

        def update(self, n=1):
            say("stage", "download")
            return super().update(n)

    for name in model.files:  # the configuration comes first, the weights last
        path = with_retries(hf_hub_download, model.name, name, revision=model.revision, tqdm_class=Heard)
        if name == "config.json":
            refuse_remote_code(Path(path).parent)
    return Path(path).parent


def refuse_remote_code(folder: Path) -> None:
    """Raises CannotMeasure for a model that brings code of its own.

    Also where transformers has a class for the architecture: a number measured with other code than the
    card's says nothing about the card.
    """
    for path in sorted(Path(folder).glob("*config.json")):
        if path.stat().st_size < 1 << 26 and (found := json.loads(path.read_bytes()).get("auto_map")):
            raise CannotMeasure(
                f"it needs remote code, which is never run: auto_map in its {path.name}: {found}"
            )


def load_pretrained(auto, folder: Path, device, dtype, **kwargs):
    """A network from a local folder, in eval mode on `device`: no remote code, pickles only as plain tensors.

    Raises CannotMeasure where the checkpoint lacks weights, as that of a model for another task does: transformers
    would fill them in at random.
    """
    refuse_remote_code(folder)
    net, info = auto.from_pretrained(
        folder,
        local_files_only=True,
        trust_remote_code=False,
        weights_only=True,
        ignore_mismatched_sizes=False,
        output_loading_info=True,
        dtype=dtype,
        **kwargs,
    )
    missing = sorted(name for name in info["missing_keys"] if not name.endswith("num_batches_tracked"))
    if missing or info["mismatched_keys"]:
        names = ", ".join(missing[:3] or map(str, list(info["mismatched_keys"])[:3]))
        raise CannotMeasure(f"its checkpoint has no weights for {names}: not a model trained for this task")
    return net.to(device).eval()


def best_device(name: str):
    """The torch device of that name; for `auto` the first of cuda, mps, cpu that is there."""
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    return torch.device(name)

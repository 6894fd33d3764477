"""Find a checkpoint and load it without trusting it.

Turns a Hub id, `id@revision` or local folder into a `Model` of known revision, downloads only the files that
loading reads, and loads them without executing any code that comes with them.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from scored.cards import ModelCard, read_model_card
from scored.claims import Claim
from scored.cli import redact, to_line
from scored.files import ROOT, UserError, sha256
from scored.hub import is_offline, token_trouble, with_retries

WEIGHTS = re.compile(r"model(-\d+-of-\d+)?\.safetensors|model\.safetensors\.index\.json")
PICKLED = re.compile(r"pytorch_model(-\d+-of-\d+)?\.bin|pytorch_model\.bin\.index\.json")
CONFIG_FILES = re.compile(
    r"[\w.-]*config\.json|[\w.-]*(vocab|tokenizer)[\w.-]*\.(json|txt)|(added_tokens|special_tokens_map)\.json"
    r"|merges\.txt|bpe\.codes|[\w.-]+\.(model|tiktoken)|README\.md"
)
ADVICE = {  # errors of huggingface_hub (a gated repository's is a subclass of a missing one's) and torch
    "GatedRepoError": "gated: ask for access on its page on the Hub, then set HF_TOKEN",
    "RepositoryNotFoundError": "the Hub has no such model, or it is private (then set HF_TOKEN)",
    "RevisionNotFoundError": "the Hub has no such revision of this model",
    "DisabledRepoError": "disabled on the Hub",
    "UnpicklingError": "its pickled weights hold more than tensors, perhaps code: not loaded",
    "MemoryError": "it needs more memory than there is",
    "HFValidationError": "neither a local folder nor a model id of the Hub",
    "OfflineModeIsEnabled": "HF_HUB_OFFLINE is set, and the cache does not hold it",
}


class CannotMeasure(Exception):
    """Why a model cannot be measured on this data: becomes the `error` of its row."""


@dataclass(frozen=True)
class Model:
    """A model whose revision is known."""

    name: str  # Hub id, or a local folder as seen from the project's root
    revision: str  # commit SHA, or "sha256:" and the hash of the folder's content
    files: tuple[str, ...]  # that loading may read
    path: str | None  # of a local folder; None for a model on the Hub
    sizes: tuple[int, ...] = ()  # bytes of each file
    note: str | None = None  # how its revision was found, where the Hub was not asked

    @property
    def weights(self) -> int:
        """Size of the weights in bytes."""
        files = zip(self.files, self.sizes, strict=True) if self.sizes else ()
        return sum(size for name, size in files if WEIGHTS.fullmatch(name) or PICKLED.fullmatch(name))


def digest(*parts: object) -> str:
    """Compute the SHA-256 of values in JSON, in hex."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def describe_error(error: BaseException) -> str:
    """Describe an exception in a line of at most 500 characters, with what to do where that is known."""
    trouble = token_trouble(error)
    if trouble:
        return trouble
    for kind in type(error).__mro__:
        if kind.__name__ in ADVICE:
            return ADVICE[kind.__name__]
    text = redact(str(error))
    if not isinstance(error, (CannotMeasure, UserError)):
        text = f"{type(error).__name__}: {text}"
    return to_line(text, 500)


def parse_model_argument(text: str) -> tuple[str, str | None]:
    """Split a MODEL argument into name and revision: a Hub id and what follows `@`, or a folder from ROOT."""
    if not os.path.isdir(text):
        name, _, revision = text.partition("@")
        return name, revision or None
    name = Path(os.path.relpath(text, ROOT)).as_posix()
    return name if name.startswith("../") else f"./{name}", None  # never mistaken for a Hub id


def resolve(text: str) -> Model:
    """Resolve a Hub id, `id@revision` or local folder. Raises CannotMeasure or a Hub error.

    A renamed model, or an id in other letter case, becomes the id that the Hub has now. Without a network the
    revision is the one in the cache.
    """
    name, revision = parse_model_argument(text)
    if os.path.isdir(text):
        folder = Path(text).resolve()
        files = select_files([path.name for path in folder.iterdir() if path.is_file()])
        content = digest([(file, sha256(folder / file)) for file in files])
        sizes = tuple((folder / file).stat().st_size for file in files)
        return Model(name, f"sha256:{content}", files, str(folder), sizes)
    from huggingface_hub import HfApi

    try:
        info = with_retries(HfApi().model_info, name, revision=revision, timeout=60, files_metadata=True)
    except Exception as error:
        model = find_cached(name, revision) if is_offline(error) else None
        if model is None:
            raise
        return model
    if not re.fullmatch(r"[\w-]+", info.sha or "", re.ASCII):  # it becomes part of a file's name
        raise CannotMeasure("the Hub reports no commit for it")
    sizes = {sibling.rfilename: sibling.size or 0 for sibling in info.siblings or []}
    files = select_files(list(sizes))
    return Model(info.id, info.sha, files, None, tuple(sizes[file] for file in files))


def find_cached(name: str, revision: str | None) -> Model | None:
    """Find a model in the cache, at a commit or at the cached state of a branch; None if it is not there.

    Raises CannotMeasure if only some of its files are there.
    """
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(name, "config.json", revision=revision)
    note = f"the cached {revision or 'main'}: the Hub could not be asked"
    if not isinstance(config, str) and revision in (None, "main"):  # we download by commit, not by branch
        config = newest_cached_config(name)
        note = "the newest commit in the cache: the Hub could not be asked"
    if not isinstance(config, str):
        return None
    folder = Path(config).parent  # snapshots/<commit>
    sizes = {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()}
    missing_files = CannotMeasure("the cache lacks some of its files, and the Hub cannot be asked")
    try:
        files = select_files(list(sizes))
    except CannotMeasure:
        raise missing_files from None
    for index in [file for file in files if file.endswith(".index.json")]:
        shards = json.loads((folder / index).read_bytes()).get("weight_map", {}).values()
        if not set(files).issuperset(shards):
            raise missing_files
    return Model(name, folder.name, files, None, tuple(sizes[file] for file in files), note)


def newest_cached_config(name: str) -> str | None:
    """Return the path of config.json in the newest cached commit of a model; None without one."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    folder = Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=name, repo_type="model"), "snapshots")
    configs = sorted(folder.glob("*/config.json"), key=lambda path: path.parent.stat().st_mtime)
    return str(configs[-1]) if configs else None


def to_download(model: Model) -> int:
    """Count the bytes of a model's files that are not in the cache."""
    from huggingface_hub import try_to_load_from_cache

    if model.path:
        return 0
    missing = 0
    for name, size in zip(model.files, model.sizes, strict=True):
        if not try_to_load_from_cache(model.name, name, revision=model.revision):
            missing += size
    return missing


def read_card(model: Model, recorded: Sequence[Claim] | None = None) -> ModelCard:
    """Read the model's card, metadata and text, at the revision that is measured.

    `recorded`: the claims of the Hub's record, if it is of this revision.
    """
    from huggingface_hub import hf_hub_download

    if "README.md" not in model.files:
        return ModelCard(tuple(recorded or ()))
    if model.path:
        path = Path(model.path, "README.md")
    else:
        path = with_retries(hf_hub_download, model.name, "README.md", revision=model.revision)
    return read_model_card(Path(path).read_text(encoding="utf-8", errors="replace"), model.name, recorded)


def select_files(names: list[str]) -> tuple[str, ...]:
    """Select the files that loading may read, safetensors if there are any. Raises CannotMeasure."""
    weights = [name for name in names if WEIGHTS.fullmatch(name)]
    if not weights:
        weights = [name for name in names if PICKLED.fullmatch(name)]
    if "config.json" not in names:
        raise CannotMeasure("it has no config.json, so it is not a model in transformers format")
    if not weights:
        raise CannotMeasure("it has no weights for PyTorch (model.safetensors or pytorch_model.bin)")
    configs = [name for name in names if CONFIG_FILES.fullmatch(name)]
    return *sorted(configs), *sorted(weights)


def download(model: Model, send: Callable) -> Path:
    """Download a model's files; `send("stage", "download")` shows that it goes on."""
    from huggingface_hub import hf_hub_download
    from tqdm import tqdm

    class ReportingProgress(tqdm):  # so that the parent can tell a slow download from a hang
        def __init__(self, *args, **kwargs):
            kwargs.pop("name", None)
            super().__init__(*args, **kwargs | {"file": open(os.devnull, "w"), "disable": False})  # noqa: SIM115

        def update(self, n=1):
            send("stage", "download")
            return super().update(n)

    for name in model.files:  # the configuration comes first, the weights last
        options = {"revision": model.revision, "tqdm_class": ReportingProgress}
        path = with_retries(hf_hub_download, model.name, name, **options)
        if name == "config.json":
            refuse_remote_code(Path(path).parent)
    return Path(path).parent


def refuse_remote_code(folder: Path) -> None:
    """Raise CannotMeasure for a model with remote code.

    Also if transformers has a class for the architecture: a number measured with other code than the card's
    says nothing about the card.
    """
    for path in sorted(Path(folder).glob("*config.json")):
        if path.stat().st_size >= 1 << 26:
            continue
        auto_map = json.loads(path.read_bytes()).get("auto_map")
        if auto_map:
            reason = "it needs remote code, which is never executed: auto_map in its"
            raise CannotMeasure(f"{reason} {path.name}: {auto_map}")


def load_pretrained(auto, folder: Path, device, dtype, **kwargs):
    """Load a network from a local folder, in eval mode on `device`: no remote code, pickles only as tensors.

    Raises CannotMeasure if the checkpoint lacks weights, as a model for another task does: transformers would
    initialize them at random.
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
    """Return the torch device of that name; for `auto` the first available of cuda, mps, cpu."""
    import torch

    if name != "auto":
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")

"""The front matter of a model card: YAML written by strangers, read without code, crash or hang."""

import json
import re

MAX_METADATA = 2 << 20  # characters that are read; PyYAML needs half a minute for them
FRONT_MATTER = re.compile(r"\s*---[\r\n]+(.*?)[\r\n]+---(?:[\r\n]|$)", re.DOTALL)


def load_yaml(text: str) -> object:
    """Load YAML as plain values. Raises ValueError for anything else, of any length and depth.

    In Python, since libyaml crashes on deep nesting. Merge keys (`<<`) are refused: nine aliases on each of
    eight levels would fill any memory, and no field of a card needs them.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        def flatten_mapping(self, node):
            for key, _ in node.value:
                if key.tag == "tag:yaml.org,2002:merge":
                    raise ValueError("merge keys are not read")

    try:
        return Loader(text).get_single_data()
    except Exception as error:  # tags raise errors of any kind: KeyError for `!!bool x`
        message = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(message[:200]) from None


def read_front_matter(text: str) -> dict:
    """Read the YAML between the first two lines of dashes; {} without it. Raises ValueError with why not."""
    block = FRONT_MATTER.match(text[: MAX_METADATA + 1])
    if block is None:
        return {}
    metadata = as_json(load_yaml(block[1]))
    if metadata is None:
        return {}
    if not isinstance(metadata, dict):
        raise ValueError("not a mapping")
    return metadata


def as_json(metadata: object) -> object:
    """Convert YAML to the JSON of a Hub record. Raises ValueError if aliases make it larger than a card."""
    size, remaining = 0, [metadata]
    while remaining:
        node = remaining.pop()
        size += len(node) if isinstance(node, (str, bytes)) else 1
        if isinstance(node, (list, tuple, set, dict)):
            remaining += node
        if isinstance(node, dict):
            remaining += node.values()
        if size + len(remaining) > MAX_METADATA:
            raise ValueError("YAML aliases expand too far")
    try:
        return json.loads(json.dumps(metadata, default=str, skipkeys=True))
    except RecursionError:
        raise ValueError("nested too deeply") from None

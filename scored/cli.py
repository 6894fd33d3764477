"""Command lines: exit codes, signals, help texts, and no secrets in what is printed."""

import argparse
import importlib.util
import logging
import os
import re
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from scored.files import ROOT, UserError, display_path

# Read when huggingface_hub, transformers and datasets are imported, here and in child processes: no telemetry
# in user agents, no request to a third host that counts how often a data set is loaded.
NO_TELEMETRY = {"HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1", "HF_UPDATE_DOWNLOAD_COUNTS": "0"}

METADATA_SCRIPTS = ("modelinfo.py", "audit.py", "err.py", "ptm.py")  # need requirements-metadata.txt only


def redact(text: str) -> str:
    """Remove tokens, and passwords in URLs, which servers and libraries may put into errors."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        token = os.environ.get(name, "").strip()
        if token:
            text = text.replace(token, "***")
    text = re.sub(r"hf_[A-Za-z0-9]{20,}", "***", text)
    return re.sub(r"(?<=://)[^/\s]*@", "***@", text)


def to_line(text: str, length: int) -> str:
    """Make one printable line of at most `length` characters of a text that may hold anything."""
    line = "".join(c for c in " ".join(text.split()) if c.isprintable())
    return line if len(line) <= length else line[: length - 1] + "…"


class RedactedLogRecord(logging.LogRecord):
    """A log record without the secrets that servers put into warnings that libraries repeat."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        with suppress(TypeError, ValueError, KeyError):  # logging reports arguments that do not fit
            self.msg, self.args = redact(self.getMessage()), ()


def set_up_process() -> None:
    """Switch telemetry off and redact logs, in a script or in a process that it started."""
    logging.setLogRecordFactory(RedactedLogRecord)
    for name, value in NO_TELEMETRY.items():
        os.environ.setdefault(name, value)


def run(main: Callable[[], int | None]) -> None:
    """Run a script's `main` and exit with its code.

    UserError, OSError, a missing package: one line and code 2. Ctrl-C: 130, SIGTERM: 143, closed stdout: 1.
    """
    script = Path(sys.argv[0]).name
    terminated = _interrupt_on_sigterm()
    sys.stdout.reconfigure(errors="backslashreplace")  # text from the Hub may hold lone surrogates
    set_up_process()
    try:
        code = main()
        sys.stdout.flush()
    except UserError as error:
        code = 2
        print(f"{script}: {to_line(redact(str(error)), 2000)}", file=sys.stderr)
    except KeyboardInterrupt:
        code = 143 if terminated else 130
        print(f"{script}: interrupted; run the same command again to go on", file=sys.stderr)
    except ModuleNotFoundError as error:
        if not _is_missing_package(error):
            raise
        code = 2
        file = "requirements-metadata.txt" if script in METADATA_SCRIPTS else "requirements.txt"
        print(f"{script}: needs the package {error.name}: pip install -r {file}", file=sys.stderr)
    except BrokenPipeError:  # the reader of stdout has gone, as `| head` does
        code = 1
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        code = 2
        print(f"{script}: {' '.join(redact(str(error)).split())}"[:500], file=sys.stderr)
    sys.exit(code)


def require_packages(*names: str) -> None:
    """Raise ModuleNotFoundError for a package that is not installed, before work that needs it begins."""
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def _is_missing_package(error: ModuleNotFoundError) -> bool:
    """Tell a package that is not installed from a module that an installed one lacks."""
    return bool(error.name) and importlib.util.find_spec(error.name.partition(".")[0]) is None


def _interrupt_on_sigterm() -> list[int]:
    """Turn SIGTERM into KeyboardInterrupt; return the list that its handler appends to."""
    terminated = []

    def handle(number, frame):
        terminated.append(number)  # libraries may turn our interrupt into one of their own
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGTERM) != signal.SIG_IGN:
        signal.signal(signal.SIGTERM, handle)
    return terminated


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Show only meaningful defaults, and project paths relative to the root."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if isinstance(action.default, Path):
            place = "the project's folder" if action.default == ROOT else display_path(action.default)
            return f"{action.help} (default: {place})".replace("%", "%%")
        if action.default in (None, False):
            return action.help
        return super()._get_help_string(action)

"""The command that writes the benchmarks' table into its README changes nothing else there."""

import json
import sys

import pytest

from project import ROOT
from scored.files import UserError

sys.path.append(str(ROOT / "tests" / "benchmarks"))
import run

ROW = {"what": "a | b", "ours": "1 s", "against": "2 s", "ratio": 2.04, "note": "\n"}


def test_only_the_part_between_the_marks_is_replaced():
    readme = run.README.read_text(encoding="utf-8")
    made = run.format_table(
        {"audit": [ROW, {**ROW, "ratio": None}], "vision": [{**ROW, "ratio": 163.6}]}, "A machine."
    )
    cells = r"| a \| b | 1 s | 2 s |"
    assert made.splitlines()[0] == "A machine."
    assert made.splitlines()[-3:] == [
        f"{cells} 2.0 |  | `audit.py` |",
        f"{cells}  |  | `audit.py` |",
        f"{cells} 164 |  | `vision.py` |",
    ]
    result = run.replace_table(readme, made)
    (before, _, rest), (_, _, after) = readme.partition(run.BEGIN), readme.partition(run.END)
    assert result == before + run.BEGIN + "\n" + made + "\n" + run.END + after and run.END in rest
    assert run.replace_table(result, made) == result


@pytest.mark.parametrize("text", ["", run.BEGIN, run.END + run.BEGIN, (run.BEGIN + run.END) * 2])
def test_readme_without_marks_is_rejected(text):
    with pytest.raises(UserError, match="each once"):
        run.replace_table(text, "")


def test_readme_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    readme = tmp_path / "README.md"
    readme.write_text(f"a\n{run.BEGIN}\nold\n{run.END}\nb\n", encoding="utf-8")
    scripts = tmp_path / "tests" / "benchmarks"
    scripts.mkdir(parents=True)
    (tmp_path / "reproducibility").mkdir()
    (tmp_path / "script.py").write_text('if __name__ == "__main__":\n    pass\n')
    for name in run.SCRIPTS:
        (scripts / f"{name}.py").write_text(
            f"import pathlib, sys\npathlib.Path(sys.argv[2]).write_text({json.dumps(json.dumps([ROW]))})\n"
        )
    monkeypatch.setattr(run, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["run.py", "--readme", str(readme)])
    broken = scripts / "vision.py"
    whole = broken.read_text()
    broken.write_text("raise SystemExit(3)\n")
    with pytest.raises(UserError, match=r"vision.py ended with code 3"):
        run.main()
    assert "old" in readme.read_text("utf-8")
    broken.write_text(whole)
    run.main()
    text = readme.read_text("utf-8")
    assert "old" not in text and text.startswith(f"a\n{run.BEGIN}\n") and text.endswith(f"\n{run.END}\nb\n")
    assert text.count("| 2.0 |") == len(run.SCRIPTS) and "`--help` of 1 scripts" in text

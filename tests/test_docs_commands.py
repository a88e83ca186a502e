"""Commands in README and docs: the arguments are those of the command, the files that they name exist."""

import argparse
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope

from dtir.cli import build_parser
from dtir.cli.launching import load_config
from dtir.config.locations import locate
from dtir.registry import RESTORERS, SCOPE

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^( *)```bash\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
TOOL = re.compile(r"(python|bash) (tools/\S+)")


def commands(page: Path) -> list[str]:
    """Single commands of a page's bash blocks, without comments, settings of variables, and loops around them."""
    text = "\n".join(code for _, code in BLOCK.findall(page.read_text(encoding="utf-8"))).replace("\\\n", " ")
    lines = [part.strip() for line in text.splitlines() for part in re.sub(r"\s#.*", "", line).split("&&")]
    return [re.sub(r"^([A-Z_]+=\S+ )+", "", line) for line in lines]


def named(start: str) -> list:
    found = [(page, line) for page in PAGES for line in commands(page) if line.startswith(start)]
    return [pytest.param(line, id=f"{page.stem}: {line[:60]}") for page, line in found]


class ParsedError(Exception):
    """The arguments were understood."""


def require_files(words: list[str]) -> None:
    for word in words:
        if word.startswith(("configs/", "dtir::", "tools/")) and "*" not in word and "<" not in word:
            path = locate(word) if "::" in word else ROOT / word
            assert path.exists(), f"{word} does not exist"


def test_there_are_commands():
    assert len(named("dtir ")) > 5
    assert len(named("python tools/")) > 20
    assert len(named("bash tools/")) > 5


@pytest.mark.parametrize("line", named("dtir "))
def test_a_dtir_command_is_understood(line):
    words = shlex.split(line)[1:]
    require_files(words)
    build_parser().parse_args(words)


@pytest.mark.parametrize("line", named("python tools/"))
def test_a_tool_is_called_with_its_arguments(line, monkeypatch):
    script, *words = shlex.split(line)[1:]
    require_files([script, *words])
    parse = argparse.ArgumentParser.parse_args

    def parse_only(self, *arguments, **options):
        parse(self, *arguments, **options)
        raise ParsedError

    monkeypatch.setattr(sys, "argv", [script, *words])
    monkeypatch.setattr(sys, "path", [str((ROOT / script).parent), *sys.path])
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_only)
    with pytest.raises(ParsedError):
        runpy.run_path(str(ROOT / script), run_name="__main__")


@pytest.mark.parametrize("line", named("bash tools/"))
def test_a_script_is_there(line):
    require_files(shlex.split(line)[1:])


def test_the_own_backbone_of_the_docs_is_built_outside_of_the_repository(tmp_path, monkeypatch):
    page = (ROOT / "docs" / "custom_backbone.md").read_text(encoding="utf-8")
    network, config = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[:2]
    (tmp_path / "my_net.py").write_text(network)
    (tmp_path / "my_config.py").write_text(config)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])

    cfg = load_config("my_config.py", ["model.network.backbone.width=4"])
    with DefaultScope.overwrite_default_scope(SCOPE):
        model = RESTORERS.build(cfg.model)

    assert type(model.backbone).__name__ == "MyNet"
    assert model.restore(torch.rand(1, 3, 9, 7), torch.tensor([3])).shape == (1, 3, 9, 7)

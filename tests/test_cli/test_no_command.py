"""`dtir` without a command, and with words that it does not know."""

import subprocess
import sys

import pytest

from dtir.cli import main
from dtir.cli.main import COMMANDS


def test_it_lists_the_commands(capsys):
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line.startswith("    ") and line.split()[0] in COMMANDS] == [*COMMANDS]


def test_the_package_runs_as_the_command_does():
    done = subprocess.run([sys.executable, "-m", "dtir", "configs", "nowhere"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "No config has all of: nowhere.\n")


@pytest.mark.parametrize(
    ("words", "usage", "message"),
    [
        (["restor", "a.png"], "usage: dtir ", "no command 'restor'. Did you mean 'restore'? dtir --help"),
        (["12345"], "usage: dtir ", "no command '12345'. dtir --help"),
        (["restore", "a.png", "--tsk=rainy"], "usage: dtir restore ", "--tsk=rainy. Did you mean '--task'?"),
        (["configs", "-x"], "usage: dtir configs ", "unrecognized arguments: -x. dtir configs --help"),
        (["models", "index", "shelf", "--oot", "b"], "usage: dtir models index ", "--oot b."),
    ],
)
def test_a_mistyped_word_is_answered_with_the_nearest_and_the_usage(words, usage, message, capsys):
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(usage)
    assert message in said

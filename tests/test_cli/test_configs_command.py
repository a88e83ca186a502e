"""`dtir configs`: a line for each config."""

from dtir import cli
from dtir.cli.configs import LONGEST, listing


def test_a_line_is_the_first_sentence(tmp_path):
    (tmp_path / "a.py").write_text("# Rain (Lu et al., 2025), as\n# published. The rest.\n_base_ = 'b.py'\n# No.\n")
    (tmp_path / "long.py").write_text(f"# {'word ' * 60}\n")
    (tmp_path / "none.py").write_text("x = 1\n")
    a, long, none = listing(tmp_path)

    assert a == "dtir::a.py     Rain (Lu et al., 2025), as published."
    assert long.endswith("word ...")
    assert len(long.partition("  ")[2]) <= LONGEST
    assert none == "dtir::none.py"


def test_every_config_has_one_and_words_choose(capsys):
    assert cli.main(["configs", "10task", "nafnet"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("dtir::dtir/nafnet_10task.py ") for line in lines)
    assert all("nafnet" in line.lower() and "10task" in line for line in lines)
    assert cli.main(["configs", "no_such_word"]) == 1
    assert cli.main(["configs"]) == 0
    assert [line for line in capsys.readouterr().out.splitlines()[1:] if "  " not in line] == []

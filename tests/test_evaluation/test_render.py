"""Tables drawn for papers: what LaTeX and Markdown make of characters, numbers and the best values."""

import pytest
from rich.console import Console

from dtir.evaluation.render import Grid, html_table, latex_table, markdown_table, terminal_table

GRID = Grid(["a_b", "gain"], [["x|y", "-0.29 ± 0.10"], ["50 %", "+1.00"]], "# of a & b", best={(1, 1)})


def test_latex_is_escaped_and_has_signs_of_mathematics():
    lines = latex_table(GRID).splitlines()
    assert lines[:3] == [r"\begin{table}", r"\centering", r"\caption{\# of a \& b}"]
    assert r"a\_b & gain \\" in lines
    assert r"x\textbar{}y & $-$0.29 $\pm$ 0.10 \\" in lines
    assert r"50 \% & \textbf{+1.00} \\" in lines


def test_a_hyphen_within_a_name_stays():
    assert r"low-light & p-9 \\" in latex_table(Grid(["t", "v"], [["low-light", "p-9"]]))


def test_markdown():
    assert markdown_table(GRID).splitlines()[2:] == [r"| x\|y | -0.29 ± 0.10 |", "| 50 % | **+1.00** |"]


def test_html():
    page = html_table(GRID)
    assert "<td><b>+1.00</b></td>" in page
    assert "<td>-0.29 ± 0.10</td>" in page


@pytest.mark.parametrize("text", ["[bold]", "[/]"])
def test_the_terminal_shows_brackets_as_they_are(text):
    console = Console(width=60)
    with console.capture() as printed:
        console.print(terminal_table(Grid([text, "v"], [[text, "1"]], text)))
    assert printed.get().count(text) == 3


def test_names_of_any_kind_go_into_a_latex_table():
    grid = Grid(
        ["Method", "PSNR"],
        [["[ours]", "1"], ["*best_50%", "2"], ["a<b>|c \\ ~^\n{x}", "3"], ["\N{GREEK SMALL LETTER SIGMA} → ∞", "4"]],
    )
    rows = latex_table(grid).split("\\midrule\n")[1].split("\n\\bottomrule")[0].splitlines()
    assert rows == [
        r"{}[ours] & 1 \\",
        r"{}*best\_50\% & 2 \\",
        r"a\textless{}b\textgreater{}\textbar{}c \textbackslash{} \textasciitilde{}\textasciicircum{} \{x\} & 3 \\",
        r"$\sigma$ $\to$ $\infty$ & 4 \\",
    ]

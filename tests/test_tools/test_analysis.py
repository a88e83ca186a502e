"""tools/analysis: what is counted, timed and exported."""

import json
import sys

import pytest
import torch
from torch import nn

from dtir.models.backbones import PReNet
from dtir.models.backbones.traits import Published
from dtir.testing import TinyBackbone
from tools.analysis import benchmark_inference, check_export, get_flops, precision_speed


def run(module, monkeypatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", [module.__name__, *words])
    return module.main()


def test_convolutions_are_counted_by_hand():
    _, macs = get_flops.count("PReNet_r", 8)
    # Six rounds share: 6 -> 32, the LSTM's four gates 64 -> 32, five blocks of two, and 32 -> 3 channels, 3 x 3 each.
    assert macs == 6 * 64 * 9 * (6 * 32 + 4 * 64 * 32 + 5 * 2 * 32 * 32 + 32 * 3)


def test_attention_and_matrix_products_are_counted():
    class Attention(nn.Module):
        def forward(self, x):
            return nn.functional.scaled_dot_product_attention(x, x, x) @ x.transpose(-1, -2)

    x = torch.zeros(1, 1, 10, 4)
    assert get_flops.count_macs(lambda: Attention()(x)) == 3 * 10 * 10 * 4


def test_the_method_adds_conditioning_and_adapters():
    plain, macs = get_flops.count("nafnet_gopro_w64", 256)
    with_method, macs_with_method = get_flops.count("nafnet_gopro_w64+method", 256)
    assert 3.9e6 < with_method - plain < 4.0e6
    # Two bottlenecks of 13 channels after each block, from and to the channels of each pixel.
    blocks = 65536 * (64 * 2 + 128 * 2 / 4 + 256 * 2 / 16 + 512 * 29 / 64 + 1024 / 256)
    # The embedding's two layers, gain and shift of all 16768 channels, and 36 routers of 4 experts.
    per_picture = 64 * (64 + 64 + 2 * 16768 + 36 * 4)
    assert macs_with_method - macs == 2 * 2 * 13 * blocks + per_picture


def test_the_table_stands_beside_the_published_figures(monkeypatch, capsys):
    tiny = {"tiny": Published({"width": 4}, 0.5, "a paper", gflops=2.0)}
    monkeypatch.setattr(TinyBackbone, "PUBLISHED", tiny, raising=False)
    assert run(get_flops, monkeypatch, "tiny", "--no-run", "--markdown") == 0
    assert run(get_flops, monkeypatch, "tiny", "--no-run", "--markdown", "--size", "64") == 0
    rows = [line.split("|") for line in capsys.readouterr().out.splitlines() if "tiny" in line]
    at_256, at_64 = ([cell.strip() for cell in row[1:-1]] for row in rows)
    assert (at_256[2], at_256[4], at_256[7]) == ("0.5", "2", "a paper")
    # The published multiply-accumulates are for 256 x 256.
    assert (at_64[2], at_64[4]) == ("0.5", "-")
    assert float(at_256[3]) == pytest.approx(16 * float(at_64[3]), abs=0.1)


def test_adapters_stand_beside_those_of_the_paper(monkeypatch, capsys):
    name = "nafnet_gopro_w64+method"
    assert run(get_flops, monkeypatch, "nafnet_gopro_w64", name, "--no-run", "--markdown") == 0
    *_, row = capsys.readouterr().out.splitlines()
    # Four experts of rank 13, in and out of the 16768 channels of 36 blocks, and 36 routers of 64 inputs.
    params = 4 * 13 * 2 * 16768 + 36 * 4 * (64 + 1)
    assert [cell.strip() for cell in row.split("|")[1:-1]] == [name, f"+{params / 1e6:.2f}", "1.8", "+1.57", "8"]
    assert get_flops.count_adapters("nafnet_gopro_w64", 64) is None
    assert get_flops.adapter_rows([name], 64)[0][4] == "-"


def test_memory_and_time_are_measured(monkeypatch, capsys):
    assert run(get_flops, monkeypatch, "prenet_r", "--repeats", "1", "--size", "16", "--markdown") == 0
    cells = capsys.readouterr().out.splitlines()[2].split("|")
    assert float(cells[6]) >= 0
    assert float(cells[7]) > 0


def test_an_unknown_network_is_named(monkeypatch, capsys):
    assert run(get_flops, monkeypatch, "nafnet_gopro_w63", "--no-run") == 1
    assert "nafnet_gopro_w63" in capsys.readouterr().err


def test_a_reference_gets_the_same_weights_and_settings(monkeypatch, capsys, tmp_path):
    (tmp_path / "published.py").write_text("from dtir.models.backbones.image.prenet import PReNet_r as Same\n")
    assert (
        run(
            benchmark_inference,
            monkeypatch,
            *("prenet_r", "--size", "8", "--rounds", "1", "--reference", f"{tmp_path / 'published.py'}:Same"),
        )
        == 0
    )
    rows = [line for line in capsys.readouterr().out.splitlines() if "prenet_r" in line]
    assert ["forward" in rows[0], "with backward" in rows[1]] == [True, True]
    assert all("0.0e+00" in row for row in rows)


@pytest.mark.parametrize("reference", ["missing.py:Net", "here.py:Net"])
def test_a_wrong_reference_is_named(reference, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.py").write_text("")
    assert run(benchmark_inference, monkeypatch, "prenet_r", "--reference", reference) == 1
    assert "Net" in capsys.readouterr().err


def test_compiled_network_computes_the_same():
    network, x = check_export.build("TinyBackbone"), torch.rand(1, 3, 8, 8)
    answer, difference = check_export.attempt(check_export.compiled, network, x, network(x))
    assert answer == "yes"
    assert float(difference) < 1e-5


def test_exported_network_computes_the_same():
    for module in ("onnx", "onnxruntime"):
        pytest.importorskip(module, reason=f"{module} is not installed; pip install -e .[onnx]")
    network, x = check_export.build("TinyBackbone"), torch.rand(1, 3, 8, 8)
    answer, difference = check_export.attempt(check_export.exported, network, x, network(x))
    assert answer == "yes"
    assert float(difference) < 1e-5


def test_a_network_that_cannot_be_exported_says_why():
    def refuse(network, x):
        raise NotImplementedError("first line\nno kernel for this")

    x = torch.rand(1, 3, 8, 8)
    answer, difference = check_export.attempt(refuse, PReNet(recurrent_iter=1), x, x)
    assert answer == "no: NotImplementedError: no kernel for this"
    assert difference == "-"


def test_every_way_of_restoring_is_timed(monkeypatch, capsys):
    from tools.analysis import benchmark_restore

    for module in ("onnx", "onnxruntime", "openvino"):
        monkeypatch.setitem(sys.modules, module, None)
    words = ["--side", "32", "--rounds", "1", "--no-compile", "--markdown"]
    assert run(benchmark_restore, monkeypatch, *words) == 0
    captured = capsys.readouterr()
    rows = [line.split(" | ") for line in captured.out.splitlines()[2:]]
    assert [row[0] for row in rows] == ["| float32", "| bf16"]
    assert rows[0][2] == "1.00"
    assert rows[0][3] == "0.000 |"
    assert 0 < float(rows[1][3].removesuffix(" |")) <= 1
    assert "pip install 'dtir[onnx]'" in captured.err
    assert "pip install 'dtir[openvino]'" in captured.err


CONFIG = "configs/models/universal_nafnet.py"


def test_speeds_stand_beside_the_first_way(monkeypatch, capsys, tmp_path):
    words = ["--ways", "bf16", "float32", "--batch", "1", "--patch", "16", "--picture", "16", "--rounds", "1"]
    assert run(precision_speed, monkeypatch, CONFIG, *words, "--out", str(tmp_path / "speed.json")) == 0
    first, second = json.loads((tmp_path / "speed.json").read_text())
    assert (first["way"], second["way"]) == ("bf16", "float32")
    assert all(row["training_ms"] > row["picture_ms"] > 0 for row in (first, second))
    # What it computes for is known of a GPU alone.
    assert ("kernels_ms" in first) == torch.cuda.is_available()
    shown = [[cell.strip() for cell in line.split("|")] for line in capsys.readouterr().out.splitlines()[3:]]
    assert (shown[0][1], shown[0][3]) == ("bf16", "1.00")
    assert float(shown[1][3]) == pytest.approx(first["training_ms"] / second["training_ms"], abs=0.01)


def test_no_way_that_is_left_is_an_error(monkeypatch, capsys):
    with pytest.raises(SystemExit) as ended:
        run(precision_speed, monkeypatch, CONFIG, "--no-compile", "--ways", "bf16, compiled")
    assert ended.value.code == 2
    assert "--no-compile leaves none of --ways" in capsys.readouterr().err

"""The table of training-free guidances: what is kept, measured again and shown."""

import json

import pytest
import torch

from benchmarks import guided
from benchmarks.guidance_exact_prior import ExactRestorer
from dtir.core.errors import ConfigError
from dtir.diffusion.domain import to_image
from dtir.testing.stationary_prior import StationaryPrior

(SUPER_RESOLUTION,) = (path for path in guided.CONFIGS if path.stem == "ddnm_sr")


@pytest.fixture(name="prior")
def prior_fixture(monkeypatch):
    """A prior that is known exactly in place of a checkpoint, whose reads are counted."""
    prior, reads = StationaryPrior(16, 16), []

    def restorer(checkpoint, **settings):
        reads.append(checkpoint)
        return original(ExactRestorer(prior), **settings)

    original = guided.GuidedRestorer
    monkeypatch.setattr(guided, "GuidedRestorer", restorer)
    return prior, reads


def pictures(prior: StationaryPrior) -> torch.Tensor:
    return to_image(prior.draw(2).clamp(-1, 1)).float()


def test_a_guidance_is_measured_as_one_sample_and_as_a_mean():
    prior = StationaryPrior(16, 16)
    found = guided.measured(SUPER_RESOLUTION, ExactRestorer(prior), pictures(prior), 3)
    assert found["mean"]["PSNR"] > found["one"]["PSNR"] + 0.5
    assert found["evaluations"] == 50
    assert guided.cells(found)[:4] == ["ddnm_sr", "DDNM", "BicubicDownsampling", "0"]


def test_what_was_measured_alike_is_kept(prior, tmp_path):
    prior, reads = prior
    checkpoint, out, gt = tmp_path / "prior.pth", tmp_path / "out", pictures(prior)
    checkpoint.write_bytes(b"one")
    for _ in range(2):
        guided.carry_out(SUPER_RESOLUTION, checkpoint, gt, 1, out)
    assert len(reads) == 1
    first = (out / "results" / "ddnm_sr.json").read_text()
    checkpoint.write_bytes(b"another")
    guided.carry_out(SUPER_RESOLUTION, checkpoint, gt, 1, out)
    guided.carry_out(SUPER_RESOLUTION, checkpoint, gt, 2, out)
    assert len(reads) == 3
    second = json.loads((out / "results" / "ddnm_sr.json").read_text())
    assert second["measured"]["prior"] != json.loads(first)["measured"]["prior"]
    header, _, row = guided.table(out).splitlines()
    assert "| PSNR of the mean of 2 |" in header
    assert f"{second['mean']['PSNR']:.2f}" in row


def test_a_config_that_has_changed_is_measured_again(prior, tmp_path):
    prior, reads = prior
    checkpoint, config, gt = tmp_path / "prior", tmp_path / "ddnm_sr.py", pictures(prior)
    checkpoint.mkdir()
    (checkpoint / "model_index.json").write_bytes(b"{}")
    for steps in (4, 4, 5):
        config.write_text(f"_base_ = '{SUPER_RESOLUTION}'\nsampler = dict(num_steps={steps})\n")
        guided.carry_out(config, checkpoint, gt, 1, tmp_path / "out")
    assert len(reads) == 2
    assert json.loads((tmp_path / "out" / "results" / "ddnm_sr.json").read_text())["evaluations"] == 5


def test_a_table_is_of_one_prior(prior, tmp_path):
    prior, _ = prior
    checkpoint, out, gt = tmp_path / "prior.pth", tmp_path / "out", pictures(prior)
    with pytest.raises(ConfigError, match="holds no results"):
        guided.table(out)
    checkpoint.write_bytes(b"one")
    guided.carry_out(SUPER_RESOLUTION, checkpoint, gt, 1, out)
    other = json.loads((out / "results" / "ddnm_sr.json").read_text()) | {"config": "other"}
    other["measured"]["side"] = 32
    (out / "results" / "other.json").write_text(json.dumps(other))
    with pytest.raises(ConfigError, match="other was not measured as ddnm_sr"):
        guided.table(out)

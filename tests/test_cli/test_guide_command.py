import cv2
import numpy as np
import pytest
import torch

from dtir import cli
from dtir.diffusion.domain import to_centred
from dtir.models import DiffusionRestorer

SR = (
    "operator = dict(type='AverageDownsampling', factor=4)\nguidance = dict(type='DDNM')\nsampler = dict(num_steps=5)\n"
)
GREY = "operator = dict(type='Colorization')\nguidance = dict(type='DDNM')\nsampler = dict(num_steps=3)\n"


class FlatRestorer(DiffusionRestorer):
    """Its prior is one value, mid-grey."""

    def __init__(self):
        backbone = dict(type="NAFNet", width=2, enc_blk_nums=[1], middle_blk_num=1, dec_blk_nums=[1])
        super().__init__(dict(type="TimeConditioning", backbone=backbone), ["noisy"])

    def residual(self, x, t):
        return to_centred(x) / self.scheduler.marginal(t)[1]


@pytest.fixture(autouse=True)
def checkpoint(monkeypatch, tmp_path):
    """A file by the name, which is looked for before anything is loaded from it."""
    monkeypatch.chdir(tmp_path)
    torch.save({}, tmp_path / "x.pth")
    monkeypatch.setattr("dtir.apis.models.build.load_restorer", lambda path, device: FlatRestorer())


@pytest.fixture
def picture(tmp_path):
    pixels = np.full((18, 33, 3), 200, np.uint8)
    pixels[:, 16:] = 60
    assert cv2.imwrite(str(tmp_path / "a.png"), pixels)
    return tmp_path / "a.png"


def guide(source, config: str, tmp_path, *options: object) -> int:
    (tmp_path / "config.py").write_text(config)
    words = ["--checkpoint", "x.pth", "--config", tmp_path / "config.py", "--out", tmp_path / "out", "--device", "cpu"]
    return cli.main(["guide", str(source), *map(str, words + list(options))])


def test_a_clean_picture_is_measured_and_restored(picture, tmp_path, capsys):
    assert guide(picture, SR, tmp_path, "--simulate") == 0
    measured, restored = cv2.imread(str(tmp_path / "out/measured/a.png")), cv2.imread(str(tmp_path / "out/a.png"))
    assert measured.shape == (4, 8, 3)
    assert (measured[:, :4] == 200).all()
    # Blocks have one value each, so that the measurements determine the picture.
    assert restored.shape == (16, 32, 3)
    assert (abs(restored[:, :16].astype(int) - 200) <= 1).all()
    said = capsys.readouterr().out
    assert "5 evaluations of the network, cropped from 33 x 18 to 32 x 16 pixels, PSNR" in said
    assert "1 picture restored" in said


def test_measurements_are_restored_to_the_size_that_they_tell(picture, tmp_path, capsys):
    assert guide(picture, SR, tmp_path) == 0
    assert cv2.imread(str(tmp_path / "out/a.png")).shape == (72, 132, 3)
    assert not (tmp_path / "out/measured").exists()
    assert "PSNR" not in capsys.readouterr().out
    assert guide(picture, SR, tmp_path) == 0
    assert "skipped" in capsys.readouterr().out


def test_the_mean_of_samples_is_written_beside_one(picture, tmp_path, capsys):
    config = SR.replace("AverageDownsampling', factor=4", "BoxInpainting'").replace("DDNM'", "ILVR'")
    assert guide(picture, config, tmp_path, "--simulate", "--samples", 3) == 0
    said = capsys.readouterr().out
    assert "15 evaluations of the network, PSNR" in said
    assert " dB of one sample, " in said
    assert " dB of their mean, 3 samples that differ by " in said
    assert (tmp_path / "out/a.png").exists()
    one = cv2.imread(str(tmp_path / "out/one_sample/a.png"))
    assert guide(picture, config, tmp_path, "--simulate", "--overwrite") == 0
    assert (cv2.imread(str(tmp_path / "out/a.png")) == one).all()
    assert "of their mean" not in capsys.readouterr().out
    assert guide(picture, config, tmp_path, "--samples", 0) == 2


def test_a_grey_picture_can_become_coloured(tmp_path):
    assert cv2.imwrite(str(tmp_path / "a.png"), np.full((8, 8), 90, np.uint8))
    assert guide(tmp_path / "a.png", GREY, tmp_path) == 0
    assert cv2.imread(str(tmp_path / "out/a.png"), cv2.IMREAD_UNCHANGED).shape == (8, 8, 3)


def test_the_seed_decides(picture, tmp_path):
    config = SR.replace("AverageDownsampling', factor=4", "BoxInpainting'") + "sigma_y = 0.1\n"
    outputs = []
    for seed in (1, 1, 2):
        assert guide(picture, config, tmp_path, "--simulate", "--seed", seed, "--overwrite") == 0
        outputs.append(cv2.imread(str(tmp_path / "out/measured/a.png")))
    assert (outputs[0] == outputs[1]).all()
    assert (outputs[0] != outputs[2]).any()


@pytest.mark.parametrize(
    ("config", "code", "message"),
    [
        (SR.replace("Average", "Avrage"), 2, "Did you mean 'AverageDownsampling'"),
        ("operator = dict(type='WalshHadamard', ratio=0.5)\nguidance = dict(type='DDNM')", 1, "--simulate"),
        ("operator = dict(type='JPEG', quality=5)\nguidance = dict(type='DDRM')", 1, "DPS takes any"),
        (SR.replace("factor=4", "factor=64"), 1, "too few"),
    ],
)
def test_mistakes_are_named(picture, tmp_path, capsys, config, code, message):
    options = ["--simulate"] if "factor" in config else []
    cv2.imwrite(str(picture), np.zeros((32, 32, 3), np.uint8))
    assert guide(picture, config, tmp_path, *options) == code
    assert message in capsys.readouterr().err


def test_the_clean_picture_is_not_replaced(picture, tmp_path, capsys):
    (tmp_path / "config.py").write_text(SR)
    words = ["--checkpoint", "x.pth", "--config", str(tmp_path / "config.py"), "--out", str(tmp_path), "--overwrite"]
    assert cli.main(["guide", str(picture), *words]) == 1
    assert "would replace the input" in capsys.readouterr().err


def test_depth_colours_and_odd_sides_are_kept(tmp_path):
    """16 bits that 8 cannot hold, another value in every channel, and sides that are no multiple of anything."""
    pixels = np.zeros((17, 23, 3), np.uint16)
    pixels[:] = (10_001, 30_003, 60_007)
    assert cv2.imwrite(str(tmp_path / "a.png"), pixels)
    config = "operator = dict(type='BoxInpainting')\nguidance = dict(type='DDNM')\nsampler = dict(num_steps=3)\n"
    assert guide(tmp_path / "a.png", config, tmp_path) == 0
    restored = cv2.imread(str(tmp_path / "out/a.png"), cv2.IMREAD_UNCHANGED)
    assert restored.dtype == np.uint16
    assert restored.shape == (17, 23, 3)
    # Known pixels are the measured ones; the box in the middle is the prior's mid-grey.
    assert np.abs(restored[0, 0].astype(int) - pixels[0, 0]).max() <= 1
    assert np.abs(restored[8, 11].astype(int) - 32768).max() < 700

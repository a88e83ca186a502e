import logging

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from dtir.apis import RestorationInferencer
from dtir.core.errors import ConfigError, ImageFileError, TaskError
from dtir.imaging.files import read_picture
from dtir.models.backbones import NAFNet
from dtir.models.backbones.parts.layers import pad_to_multiple
from dtir.models.backbones.traits import Traits


@pytest.fixture
def inferencer(inverting_restorer):
    return RestorationInferencer(inverting_restorer, device="cpu")


def random_pixels(*shape, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def exif_with_orientation(orientation):
    entry = (274).to_bytes(2, "little") + b"\x03\x00\x01\x00\x00\x00" + orientation.to_bytes(4, "little")
    return b"II*\x00\x08\x00\x00\x00\x01\x00" + entry + bytes(4)


def constant_output(value):
    class Constant(nn.Module):
        tasks, num_timesteps, matched_t = ("noisy",), 50, torch.tensor([0])

        def restore(self, lq, t):
            return torch.full_like(lq, value)

    return Constant()


@pytest.mark.parametrize(("dtype", "peak"), [(np.uint8, 255), (np.uint16, 65535), (np.float32, 1), (np.float64, 1)])
def test_arrays_of_any_depth_become_float32_rgb(inferencer, dtype, peak):
    values = np.random.default_rng(0).random((9, 14, 3)) * peak
    values = values.astype(dtype)
    output = inferencer.restore_array(values, task="noisy")
    assert output.dtype == np.float32
    assert output.shape == values.shape
    np.testing.assert_allclose(output, 1 - values.astype(np.float64) / peak, atol=1e-6)


@pytest.mark.parametrize(("choice", "step"), [(dict(task="noisy"), 6), (dict(task="rainy"), 1), (dict(t=50), 50)])
def test_time_step_is_the_one_matched_to_the_task_or_given(inferencer, choice, step):
    inferencer.restore_array(random_pixels(4, 4, 3), **choice)
    assert inferencer.restorer.seen_t == [step]


def test_unmatched_task_uses_step_zero_and_says_so(inferencer, caplog):
    with caplog.at_level(logging.WARNING):
        assert inferencer.timestep(task="hazy") == 0
    assert "no matched time step for task 'hazy'" in caplog.text


def test_unknown_task_names_the_known_ones(inferencer):
    with pytest.raises(TaskError, match=r"Did you mean 'rainy'.*noisy, rainy, hazy"):
        inferencer.restore_array(random_pixels(4, 4, 3), task="rany")


@pytest.mark.parametrize("t", [-1, 51, 2.5])
def test_time_step_out_of_range_is_refused(inferencer, t):
    with pytest.raises(ConfigError, match="from 0 to 50"):
        inferencer.restore_array(random_pixels(4, 4, 3), t=t)


def test_task_and_time_step_exclude_each_other(inferencer):
    with pytest.raises(ConfigError, match="either the task"):
        inferencer.restore_array(random_pixels(4, 4, 3), task="noisy", t=3)


def test_without_an_estimator_the_task_has_to_be_named(inferencer):
    with pytest.raises(ConfigError, match="name the task: noisy, rainy, hazy"):
        inferencer.restore_array(random_pixels(4, 4, 3))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 4), np.uint8), "shape"),
        (np.zeros((4, 4, 4), np.uint8), "shape"),
        (np.zeros((0, 4, 3), np.uint8), "shape"),
        (np.zeros((4, 4, 3), np.int64), "int64"),
        (np.full((4, 4, 3), 255.0), "values in"),
        (np.full((4, 4, 3), np.nan, np.float32), "values in"),
    ],
)
def test_arrays_that_are_no_rgb_picture_are_refused(inferencer, array, message):
    with pytest.raises(ValueError, match=message):
        inferencer.restore_array(array, task="noisy")


def test_output_is_clipped_to_the_unit_range():
    output = RestorationInferencer(constant_output(1.5), device="cpu").restore_array(random_pixels(4, 4, 3), t=0)
    assert (output == 1).all()


def test_output_that_is_not_finite_is_an_error():
    with pytest.raises(ImageFileError, match="infinite or undefined"):
        RestorationInferencer(constant_output(float("nan")), device="cpu").restore_array(random_pixels(4, 4, 3), t=0)


def test_automatic_tiles_only_above_one_megapixel(inferencer):
    shapes = inferencer.restorer.seen_shapes
    inferencer.restore_array(random_pixels(1024, 1024, 3), t=0)
    assert shapes == [(1, 3, 1024, 1024)]
    shapes.clear()
    large = random_pixels(1024, 1025, 3)
    np.testing.assert_allclose(inferencer.restore_array(large, t=0), 1 - large / 255, atol=1e-6)
    assert max(max(shape[2:]) for shape in shapes) == 512


@pytest.mark.parametrize(
    ("tile", "shapes"),
    [(None, {(1, 3, 60, 200)}), (64, {(1, 3, 60, 64), (1, 3, 60, 56)}), (300, {(1, 3, 60, 200)})],
)
def test_chosen_tiles_are_used(inverting_restorer, tile, shapes):
    picture = random_pixels(60, 200, 3)
    output = RestorationInferencer(inverting_restorer, device="cpu", tile=tile).restore_array(picture, t=0)
    assert set(inverting_restorer.seen_shapes) == shapes
    np.testing.assert_allclose(output, 1 - picture / 255, atol=1e-6)


def test_tiles_are_counted_and_batched(inverting_restorer):
    calls = []
    inferencer = RestorationInferencer(inverting_restorer, device="cpu", tile=64, overlap=16, batch_size=2)
    inferencer.restore_array(random_pixels(64, 160, 3), t=3, on_tile=lambda *c: calls.append(c))
    assert calls == [(2, 3), (3, 3)]
    assert inverting_restorer.seen_t == [3, 3, 3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(tile="big"), "neither a number of pixels nor 'auto'"),
        (dict(tile=32, overlap=32), "tile of at least 48"),
        (dict(tile=0), "tile=0"),
        (dict(precision="fp8"), "auto, float32, bf16, fp16"),
        (dict(batch_size=0), "batch_size=0"),
        (dict(device="tpu9"), "device 'tpu9' cannot be used"),
        (dict(device="meta"), r"device 'meta' cannot be used here \(it has shapes and no numbers\)"),
        (dict(device="cuda:99"), "device 'cuda:99' cannot be used"),
    ],
)
def test_wrong_options_are_explained_before_any_work(inverting_restorer, options, message):
    with pytest.raises(ConfigError, match=message):
        RestorationInferencer(inverting_restorer, **options)


class RightGradient(nn.Module):
    """Not symmetric: x minus its left neighbour, so that the ensemble differs from a single pass."""

    tasks, num_timesteps, matched_t = ("noisy",), 50, torch.tensor([0])

    def restore(self, lq, t):
        return lq - 0.5 * lq.roll(1, -1)


def test_self_ensemble_is_the_mean_over_the_eight_symmetries():
    picture = np.random.default_rng(0).uniform(0.8, 1, (6, 9, 3)).astype(np.float32)
    output = RestorationInferencer(RightGradient(), device="cpu", self_ensemble=True).restore_array(picture, t=0)
    neighbours = sum(np.roll(picture, shift, axis) for shift in (-1, 1) for axis in (0, 1)) / 4
    np.testing.assert_allclose(output, picture - 0.5 * neighbours, atol=1e-6)


@pytest.mark.parametrize(("self_ensemble", "flipped"), [(None, True), (False, False)])
def test_a_model_may_ask_for_the_mean_over_the_flips_of_small_pictures(self_ensemble, flipped):
    model = RightGradient()
    model.flips_up_to = 54
    inferencer = RestorationInferencer(model, device="cpu", self_ensemble=self_ensemble)
    small, larger = np.random.default_rng(0).uniform(0.8, 1, (2, 6, 10, 3)).astype(np.float32)
    small = small[:, :9]
    left, right = (np.roll(small, shift, 1) for shift in (1, -1))
    expected = small - 0.25 * (left + right) if flipped else small - 0.5 * left
    np.testing.assert_allclose(inferencer.restore_array(small, t=0), expected, atol=1e-6)
    plain = larger - 0.5 * np.roll(larger, 1, 1)
    np.testing.assert_allclose(inferencer.restore_array(larger, t=0), plain, atol=1e-6)


class Convolution(nn.Module):
    tasks, num_timesteps, matched_t = ("noisy",), 50, torch.tensor([0])

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1, bias=False)
        nn.init.constant_(self.conv.weight, 1 / 3)

    def restore(self, lq, t):
        self.dtype = (output := self.conv(lq)).dtype
        return output


@pytest.mark.parametrize(
    ("precision", "dtype"), [("float32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
def test_mixed_precision_reaches_the_network_and_not_the_output(precision, dtype):
    network = Convolution()
    picture = random_pixels(8, 8, 3)
    output = RestorationInferencer(network, device="cpu", precision=precision).restore_array(picture, t=0)
    assert network.dtype == dtype
    assert output.dtype == np.float32
    np.testing.assert_allclose(output[..., 0], picture.mean(axis=2) / 255, atol=0.01)


def test_lack_of_memory_names_the_size_and_the_remedy():
    class Greedy(Convolution):
        def restore(self, lq, t):
            return torch.empty(2**60)

    with pytest.raises(ImageFileError, match=r"restore 130 x 20 pixels, not even in tiles of 64"):
        RestorationInferencer(Greedy(), device="cpu").restore_array(random_pixels(20, 130, 3), t=0)


@pytest.mark.parametrize(("room", "tile"), [(256 * 256, 256), (100 * 100, 64)])
def test_tiles_shrink_to_the_memory_there_is(inverting_restorer, room, tile):
    class Small(Convolution):
        seen = ()

        def restore(self, lq, t):
            if lq.shape[-1] * lq.shape[-2] * len(lq) > room:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            self.seen = (*self.seen, lq.shape[-1])
            return 1 - lq

    picture, network = random_pixels(300, 400, 3), Small()
    output, outcome = RestorationInferencer(network, device="cpu", batch_size=4)(picture, t=0, with_details=True)
    np.testing.assert_allclose(output, 255 - picture, atol=1)
    assert max(network.seen) == tile
    assert outcome.warnings[-1] == f"not enough memory; restored in tiles of {tile} pixels instead."


def test_half_precision_that_overflows_is_done_again_in_float32():
    class Overflowing(Convolution):
        def restore(self, lq, t):
            return self.conv(lq * 3e5) / 3e5

    picture = random_pixels(8, 8, 3)
    output, outcome = RestorationInferencer(Overflowing(), "cpu", precision="fp16")(picture, t=0, with_details=True)
    np.testing.assert_allclose(output[..., 0], picture.mean(axis=2), atol=1)
    assert "restored again in float32" in outcome.warnings[0]


def test_other_runtime_errors_are_not_taken_for_lack_of_memory():
    class Broken(Convolution):
        def restore(self, lq, t):
            raise RuntimeError("size mismatch")

    with pytest.raises(RuntimeError, match="size mismatch"):
        RestorationInferencer(Broken(), device="cpu").restore_array(random_pixels(20, 30, 3), t=0)


@pytest.mark.parametrize(
    ("name", "pixels"),
    [
        ("rgb.png", random_pixels(11, 17, 3)),
        ("deep.png", random_pixels(11, 17, 3, dtype=np.uint16)),
        ("deep.tif", random_pixels(11, 17, 3, dtype=np.uint16)),
        ("grey.png", random_pixels(11, 17)),
        ("deep_grey.png", random_pixels(11, 17, dtype=np.uint16)),
        ("rgb.bmp", random_pixels(11, 17, 3)),
    ],
)
def test_file_keeps_format_depth_and_greyness(inferencer, tmp_path, name, pixels):
    source, target = tmp_path / name, tmp_path / "out" / name
    assert cv2.imwrite(str(source), pixels)
    assert inferencer.restore_file(source, target, task="noisy")
    output = cv2.imread(str(target), cv2.IMREAD_UNCHANGED)
    assert output.dtype == pixels.dtype
    np.testing.assert_array_equal(output, np.iinfo(pixels.dtype).max - pixels)


def test_transparency_is_kept_and_not_restored(inferencer, tmp_path):
    pixels = random_pixels(11, 17, 4)
    assert cv2.imwrite(str(tmp_path / "a.png"), pixels)
    inferencer.restore_file(tmp_path / "a.png", tmp_path / "b.png", task="noisy")
    output = cv2.imread(str(tmp_path / "b.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(output[..., :3], 255 - pixels[..., :3])
    np.testing.assert_array_equal(output[..., 3], pixels[..., 3])


def test_rotated_photograph_is_restored_upright_and_stays_rotated(tmp_path):
    class SkyDetector(Convolution):
        def restore(self, lq, t):
            self.top_is_bright = bool(lq[:, :, 0].mean() > lq[:, :, -1].mean())
            return 1 - lq

    stored = np.repeat(np.linspace(255, 0, 40, dtype=np.uint8)[None, :, None], 24, axis=0).repeat(3, axis=2)
    exif = np.frombuffer(exif_with_orientation(8), np.uint8)
    done, data = cv2.imencodeWithMetadata(".jpg", stored, [cv2.IMAGE_METADATA_EXIF], [exif], [])
    assert done
    source, target = tmp_path / "a.jpg", tmp_path / "out" / "a.jpg"
    source.write_bytes(data.tobytes())
    network = SkyDetector()
    RestorationInferencer(network, device="cpu").restore_file(source, target, t=0)
    # Orientation 8: the left of the stored pixels is the bottom of the picture.
    assert not network.top_is_bright
    raw = cv2.imread(str(target), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    assert raw.shape == stored.shape
    np.testing.assert_allclose(raw.astype(int), 255 - stored.astype(int), atol=4)
    assert read_picture(target).form.orientation == 8


def test_existing_output_is_left_unless_overwrite(inferencer, tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), random_pixels(5, 5, 3))
    target = tmp_path / "b.png"
    target.write_bytes(b"mine")
    assert not inferencer.restore_file(tmp_path / "a.png", target, t=0)
    assert target.read_bytes() == b"mine"
    assert inferencer.restore_file(tmp_path / "a.png", target, t=0, overwrite=True)
    assert cv2.imread(str(target)).shape == (5, 5, 3)


def test_input_is_never_replaced_even_through_a_link(inferencer, tmp_path):
    source, link = tmp_path / "a.png", tmp_path / "link.png"
    cv2.imwrite(str(source), random_pixels(5, 5, 3))
    before = source.read_bytes()
    link.symlink_to(source)
    for target in (source, link):
        with pytest.raises(ImageFileError, match="would replace the input"):
            inferencer.restore_file(source, target, t=0, overwrite=True)
    assert source.read_bytes() == before


class NetworkRestorer(nn.Module):
    tasks, num_timesteps, matched_t = ("noisy",), 50, torch.tensor([0])

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone

    def restore(self, lq, t):
        return self.backbone(lq)


@pytest.mark.parametrize("size", [(96, 150), (101, 75)])
def test_local_network_gives_the_same_picture_in_tiles_and_whole(size):
    torch.manual_seed(0)
    backbone = NAFNet(width=4, enc_blk_nums=[1, 1], middle_blk_num=1, dec_blk_nums=[1, 1])
    for name, parameter in backbone.named_parameters():
        if name.endswith(("beta", "gamma")):
            nn.init.normal_(parameter, std=0.3)
    for name in backbone.ordered_blocks():
        # Without its mean over the whole picture the network is local.
        backbone.get_submodule(name).sca[0] = nn.Identity()
    picture = random_pixels(*size, 3)
    restorer = NetworkRestorer(backbone)
    whole = RestorationInferencer(restorer, device="cpu", tile=None).restore_array(picture, t=0)
    tiles = RestorationInferencer(restorer, device="cpu", tile=72, overlap=48).restore_array(picture, t=0)
    assert np.abs(whole - picture / 255).max() > 0.1
    np.testing.assert_allclose(tiles, whole, atol=1e-5)


@pytest.mark.parametrize("options", [{"num_steps": 5}, {"seed": 1}])
def test_what_does_not_sample_has_no_steps_and_no_seed(inverting_restorer, options):
    with pytest.raises(ConfigError, match="restores in one step"):
        RestorationInferencer(inverting_restorer, device="cpu", **options)


class Stride32(nn.Module):
    """Takes its mean over 32 x 32 pixels from a picture: commutes with shifts by 32 alone."""

    def forward(self, x):
        padded = pad_to_multiple(x, 32)
        means = nn.functional.avg_pool2d(padded, 32).repeat_interleave(32, -1).repeat_interleave(32, -2)
        return x - means[..., : x.shape[-2], : x.shape[-1]] / 2


def test_a_network_of_stride_32_that_declares_nothing_is_tiled_rightly():
    picture = random_pixels(200, 333, 3)
    restorer = NetworkRestorer(Stride32())
    whole = RestorationInferencer(restorer, device="cpu", tile=None).restore_array(picture, t=0)
    tiles = RestorationInferencer(restorer, device="cpu", tile=128, overlap=40).restore_array(picture, t=0)
    np.testing.assert_allclose(tiles[:192, :320], whole[:192, :320], atol=1e-6)


def test_a_network_that_enlarges_gives_the_larger_picture_in_tiles_too():
    class Doubles(nn.Module):
        traits = Traits(size_multiple=1, scale=2)

        def forward(self, x):
            return x.repeat_interleave(2, -1).repeat_interleave(2, -2)

    picture = random_pixels(50, 90, 3)
    tiles = RestorationInferencer(NetworkRestorer(Doubles()), device="cpu", tile=32, overlap=8)
    expected = picture.repeat(2, 0).repeat(2, 1) / 255
    np.testing.assert_allclose(tiles.restore_array(picture, t=0), expected, atol=1e-6)

"""What goes into an inferencer comes out as the same kind; the restorer inverts."""

import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image

import dtir
from dtir.apis import RestorationInferencer, shortcut
from dtir.apis.restoring.kinds import open_mask


@pytest.fixture
def invert(inverting_restorer):
    inferencer = RestorationInferencer(inverting_restorer, device="cpu")
    return lambda x, **options: inferencer(x, t=0, **options)


def values(shape, dtype):
    drawn = np.random.default_rng(0).random(shape)
    return drawn.astype(dtype) if np.issubdtype(dtype, np.floating) else (drawn * np.iinfo(dtype).max).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(5, 7, 3), (2, 5, 7, 3), (5, 7, 4), (5, 7), (5, 7, 1), (5, 7, 2), (2, 5, 7, 1)])
def test_arrays_keep_shape_type_and_opacity(invert, shape, dtype):
    x = values(shape, dtype)
    before = x.copy()
    output = invert(x)
    assert (output.shape, output.dtype) == (x.shape, x.dtype)
    peak = 1 if np.issubdtype(dtype, np.floating) else np.iinfo(dtype).max
    expected = peak - x.astype(np.float64)
    if shape[-1] in (2, 4):
        expected[..., -1] = x[..., -1]
    np.testing.assert_allclose(output, expected, atol=1e-3 if dtype == np.float16 else 1e-6 if peak == 1 else 1)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("shape", [(3, 5, 7), (2, 3, 5, 7), (4, 5, 7), (1, 5, 7), (5, 7), (2, 1, 5, 7)])
def test_tensors_keep_shape_and_type(invert, shape, dtype):
    drawn = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    x = (drawn * 255).to(dtype) if dtype == torch.uint8 else drawn.to(dtype)
    output = invert(x)
    assert (output.shape, output.dtype) == (x.shape, x.dtype)
    expected = (255 if dtype == torch.uint8 else 1) - x.double()
    if shape[0] == 4:
        expected[3] = x[3]
    assert (output.double() - expected).abs().max() <= {torch.uint8: 1, torch.bfloat16: 0.01}.get(dtype, 1e-3)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "I;16", "P", "1", "CMYK"])
def test_pil_images_keep_their_mode_where_it_can_be_restored(invert, mode):
    rgb = Image.fromarray(values((6, 8, 3), np.uint8))
    picture = Image.fromarray(values((6, 8), np.uint16)) if mode == "I;16" else rgb.convert(mode)
    picture.info["dpi"] = (300, 300)
    output = invert(picture)
    assert output.mode == {"P": "RGB", "1": "RGB", "CMYK": "RGB"}.get(mode, mode)
    assert output.size == picture.size
    assert output.info["dpi"] == (300, 300)
    shown = picture if mode == output.mode else picture.convert("RGB")
    peak = 65535 if mode == "I;16" else 255
    before, after = np.asarray(shown).astype(int), np.asarray(output).astype(int)
    if mode in ("LA", "RGBA"):
        np.testing.assert_array_equal(before[..., -1], after[..., -1])
        before, after = before[..., :-1], after[..., :-1]
    np.testing.assert_allclose(after, peak - before, atol=1)


def test_a_path_gives_a_pil_image(invert, tmp_path):
    colour, grey = values((6, 8, 3), np.uint8), values((6, 8), np.uint8)
    Image.fromarray(colour).save(tmp_path / "colour.png")
    Image.fromarray(grey).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(np.asarray(invert(tmp_path / "colour.png")), 255 - colour)
    output = invert(str(tmp_path / "grey.png"))
    assert output.mode == "L"
    np.testing.assert_array_equal(np.asarray(output), 255 - grey)


def test_lists_of_several_kinds_give_lists_and_details(invert):
    kinds = [values((4, 4, 3), np.uint8), torch.rand(3, 5, 5), Image.new("L", (3, 3))]
    output, details = invert(kinds, with_details=True)
    assert [type(item) for item in output] == [type(item) for item in kinds]
    assert [outcome.step for outcome in details] == [0, 0, 0]
    assert isinstance(invert(tuple(kinds)), tuple)
    assert invert([]) == []


def test_small_overshoots_are_clipped(invert):
    x = np.array([[[-0.05, 0.5, 1.05]]])
    np.testing.assert_allclose(invert(x), [[[1, 0.5, 0]]], atol=1e-6)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.full((4, 4, 3), 200.0), r"got 200 to 200\. Divide by 255"),
        (np.full((4, 4, 3), -0.5), "got -0.5 to -0.5"),
        (np.full((4, 4, 3), np.nan, np.float32), "got nan"),
        (np.zeros((4, 4, 3), np.int64), "int64"),
        (np.zeros((3, 40, 40), np.uint8), r"\(3, 40, 40\)"),
        (np.zeros((0, 4, 3), np.uint8), "shape"),
        (torch.zeros(40, 40, 3), r"\(40, 40, 3\)"),
        ({"a": 1}, "got dict"),
    ],
)
def test_what_is_no_picture_is_explained(invert, x, message):
    with pytest.raises(ValueError, match=message):
        invert(x)


def test_masks_of_every_kind_are_white_where_they_are_bright(tmp_path):
    expected = np.array([[True, False], [False, True], [False, False]])
    grey = np.where(expected, 200, 90).astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / "mask.png")
    kinds = [expected, torch.from_numpy(expected), grey, Image.fromarray(grey).convert("RGB"), tmp_path / "mask.png"]
    for mask in kinds:
        np.testing.assert_array_equal(open_mask(mask), expected)
    with pytest.raises(ValueError, match="one picture"):
        open_mask(np.zeros((2, 3, 3, 1), np.uint8))


def test_the_shortcut_keeps_its_model(inverting_restorer, monkeypatch):
    loaded = []
    made = RestorationInferencer(inverting_restorer, device="cpu")
    monkeypatch.setattr(shortcut, "RestorationInferencer", lambda *arguments, encoder: loaded.append(arguments) or made)
    shortcut._inferencer.cache_clear()
    x = values((4, 5, 3), np.uint8)
    for _ in range(2):
        np.testing.assert_array_equal(dtir.restore(x, "noisy", model="mine"), 255 - x)
    shortcut._inferencer.cache_clear()
    assert loaded == [("mine", None)]


def test_the_package_imports_at_once():
    code = "import sys, dtir; print([m for m in ('torch', 'numpy', 'mmengine', 'PIL') if m in sys.modules])"
    start = time.perf_counter()
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
    bare = time.perf_counter()
    subprocess.check_output([sys.executable, "-c", "pass"])
    # Beyond the interpreter's own start: 0.2 s, with room for a machine under load.
    assert (bare - start) - (time.perf_counter() - bare) < 0.6


def test_unknown_names_of_the_package_are_errors():
    with pytest.raises(AttributeError, match="no attribute 'restores'"):
        dtir.restores  # noqa: B018


def test_the_inferencer_says_what_it_is(inverting_restorer):
    text = repr(RestorationInferencer(inverting_restorer, device="cpu"))
    assert text == "RestorationInferencer(noisy, rainy, hazy; cpu, tile=auto)"


def test_opacity_of_a_path_is_kept(invert, tmp_path):
    for mode in ("RGBA", "LA"):
        picture = Image.fromarray(values((6, 8, 4), np.uint8), "RGBA").convert(mode)
        picture.save(tmp_path / "x.png")
        output = invert(tmp_path / "x.png")
        assert output.mode == mode
        np.testing.assert_array_equal(np.asarray(output)[..., -1], np.asarray(picture)[..., -1])


def test_the_order_of_bytes_is_that_of_the_caller(invert):
    x = values((5, 7, 3), np.uint16)
    output = invert(x.astype(">u2"))
    assert output.dtype == np.dtype(">u2")
    np.testing.assert_allclose(output.astype(int), 65535 - x.astype(int), atol=1)
    picture = Image.frombytes("I;16B", (7, 5), x[..., 0].astype(">u2").tobytes())
    np.testing.assert_allclose(np.asarray(invert(picture)).astype(int), 65535 - x[..., 0].astype(int), atol=1)


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_a_pil_image_without_a_white_is_refused(invert, dtype):
    with pytest.raises(ValueError, match="does not say which value is white"):
        invert(Image.fromarray(np.ones((5, 7), dtype)))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64, bool])
def test_a_mask_of_zeros_and_ones_is_one(dtype):
    mask = np.eye(4, dtype=dtype)
    assert torch.equal(open_mask(mask), torch.eye(4, dtype=torch.bool))
    assert torch.equal(open_mask(torch.from_numpy(mask)), torch.eye(4, dtype=torch.bool))

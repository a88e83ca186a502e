"""Prompts: what they come to with a model, and what is then done."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from dtir.apis import RestorationInferencer
from dtir.apis.archive.archive import ArchiveOptions
from dtir.apis.restoring.file_restoring import FileRestorer
from dtir.apis.restoring.outcome import Pass
from dtir.apis.restoring.wish import Wish
from dtir.core.errors import CheckpointError, ConfigError, PromptError
from dtir.models.backbones import InstructIR
from dtir.models.text import InstructionHead

GREY = np.full((4, 6, 3), 0.2, np.float32)
# Of one colour all over it would be left as it is.
GREY[0, :2] = [[0.1], [0.3]]


@pytest.fixture
def inferencer(brightening):
    return RestorationInferencer(brightening(), device="cpu")


def test_a_plan_is_what_is_done(inferencer):
    prompt = "remove the rain, then a little of the noise, but keep the fog and the sky"
    plan = inferencer.plan(prompt)
    assert plan.passes == (Pass("rainy", None, 1), Pass("noisy", None, 6, 0.5))
    assert (plan.kept, plan.unknown) == (("hazy",), ("sky",))
    assert str(plan).splitlines() == [
        f"plan for '{prompt}':",
        "  1. rainy, step 1",
        "  2. noisy, step 6, strength 0.5",
        "  stays: hazy",
        "  not understood: sky",
    ]
    output, outcome = inferencer(GREY, prompt=prompt, with_details=True)
    assert outcome.passes == plan.passes
    assert str(outcome) == "rainy, step 1; noisy, step 6, strength 0.5"
    np.testing.assert_allclose(output, GREY + 0.01 + 0.03, atol=1e-6)
    np.testing.assert_allclose(inferencer.restore_array(GREY, prompt=prompt), output)


def test_what_only_forbids_leaves_the_rest_to_the_estimator(brightening):
    inferencer = RestorationInferencer(brightening(("rainy", 0.9), ("noisy", 0.9)), device="cpu")
    assert "what is estimated in each picture" in str(inferencer.plan("do not touch the noise"))
    output, outcome = inferencer(GREY, prompt="do not touch the noise", with_details=True)
    assert [done.task for done in outcome.passes] == ["rainy"]
    assert outcome.stopped_at.task == "noisy"
    np.testing.assert_allclose(output, GREY + 0.01, atol=1e-6)
    with pytest.raises(ConfigError, match="needs a checkpoint that was trained with"):
        RestorationInferencer(brightening(), device="cpu").restore_paths("x", "y", prompt="do not touch the noise")


def test_holes_are_filled_once(inferencer):
    mask = np.zeros((4, 6), np.uint8)
    mask[1, 2] = 255
    output, outcome = inferencer(GREY, prompt="fill the holes, then denoise", mask=mask, with_details=True)
    assert [done.task for done in outcome.passes] == ["inpainting", "noisy"]
    expected = GREY + 0.06
    expected[1, 2] = 0.25 + 0.06
    np.testing.assert_allclose(output, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"task": "noisy"}, "leave out the task, or the prompt"),
        ({"t": 3}, "leave out the time step t, or the prompt"),
        ({"task": "auto", "strength": 0.5}, "leave out the task and the strength, or the prompt"),
    ],
)
def test_a_prompt_says_it_all(inferencer, options, words):
    with pytest.raises(ConfigError, match=words):
        inferencer(GREY, prompt="denoise", **options)


@pytest.mark.parametrize(
    ("prompt", "words"),
    [("remove the snow", r"asks for snowy \('snow'\), which this model was not trained on"), ("hello", "hello")],
)
def test_what_cannot_be_done_is_said_before_any_work(inferencer, tmp_path, prompt, words):
    with pytest.raises(PromptError, match=words):
        inferencer.restore_paths(tmp_path, tmp_path / "out", prompt=prompt)
    assert not (tmp_path / "out").exists()


def test_the_plan_goes_into_the_log(inferencer, tmp_path):
    Image.fromarray((GREY * 255).astype(np.uint8)).save(tmp_path / "a.png")
    log = ArchiveOptions(log=tmp_path / "log.jsonl")
    for prompt in ("denoise by 50 %", None):
        inferencer.restore_paths(
            tmp_path / "a.png",
            tmp_path / "out",
            overwrite=True,
            prompt=prompt,
            task=None if prompt else "noisy",
            archive=log,
        )
    prompted, plain = (json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines())
    planned = {"task": "noisy", "confidence": None, "step": 6, "strength": 0.5}
    assert prompted["settings"]["prompt"] == "denoise by 50 %"
    assert prompted["settings"]["plan"] == {"passes": [planned], "kept": [], "unknown": []}
    assert prompted["passes"] == [planned]
    assert not {"prompt", "plan"} & plain["settings"].keys()


def test_large_files_are_planned_alike(inferencer, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 200, (70, 90, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    wish = Wish(prompt="remove half the rain, then half the noise, then the rain drops")
    inferencer.passes.planner.tasks += ("raindrop",)
    inferencer.passes.steps.restorer.tasks += ("raindrop",)
    inferencer.passes.steps.restorer.matched_t = torch.tensor([6, 1, 46, 0, 9])
    for large, name in ((10**6, "whole.png"), (1, "bands.png")):
        outcome = FileRestorer(inferencer.passes, wish, large=large)(tmp_path / "a.png", tmp_path / name)
        assert [(done.task, done.strength) for done in outcome.passes] == [
            ("rainy", 0.5),
            ("noisy", 0.5),
            ("raindrop", 1.0),
        ]
    whole, bands = (np.asarray(Image.open(tmp_path / name)).astype(int) for name in ("whole.png", "bands.png"))
    assert np.abs(whole - bands).max() <= 1
    assert np.abs(whole - np.rint(pixels + 255 * (0.005 + 0.03 + 0.09))).max() <= 1


@pytest.fixture
def instructir(tmp_path):
    """The published files of a tiny model, and embeddings of two sentences."""
    torch.manual_seed(0)
    network = InstructIR(width=4, enc_blk_nums=[1], dec_blk_nums=[1], txtdim=6)
    for p in network.parameters():
        torch.nn.init.normal_(p, std=0.3)
    head = InstructionHead(5, 6, 7)
    torch.save(network.state_dict(), tmp_path / "im_instructir-7d.pt")
    torch.save(head.state_dict(), tmp_path / "lm_instructir-7d.pt")
    sentences, vectors = ["Remove the rain!", "make it brighter"], torch.randn(2, 5)
    np.savez(tmp_path / "sentences.npz", sentences=np.array(sentences), embeddings=vectors.numpy())
    return tmp_path, network, head, vectors


def test_instructir_does_what_the_sentence_says(instructir):
    folder, network, head, vectors = instructir
    inferencer = RestorationInferencer(folder / "im_instructir-7d.pt", device="cpu", encoder=folder / "sentences.npz")
    for sentence, vector in zip(("remove the rain", "make it brighter"), vectors, strict=True):
        with torch.no_grad():
            instruction, logits = head(vector[None])
            expected = network(torch.from_numpy(GREY).permute(2, 0, 1)[None], instruction)
        expected = expected[0].permute(1, 2, 0).clamp(0, 1)
        output, outcome = inferencer(GREY, prompt=sentence, with_details=True)
        np.testing.assert_allclose(output, expected, atol=1e-6)
        assert outcome.confidence == pytest.approx(float(logits.softmax(1).max()))
        assert inferencer.plan(sentence).passes == outcome.passes
    with pytest.raises(ConfigError, match="no embedding of 'denoise'"):
        inferencer.plan("denoise")
    with pytest.raises(ConfigError, match="does what it is told in words"):
        inferencer.restore_paths(folder, folder / "out")


def test_what_instructir_lacks_is_named(instructir, inferencer):
    folder, *_ = instructir
    network = folder / "im_instructir-7d.pt"
    with pytest.raises(ConfigError, match=r"needs a sentence encoder to read the prompt: --encoder"):
        RestorationInferencer(network, device="cpu")
    np.savez(folder / "other.npz", sentences=np.array(["a"]), embeddings=np.zeros((1, 4), np.float32))
    with pytest.raises(CheckpointError, match=r"gives vectors of length 4, and the language head .* takes 5"):
        RestorationInferencer(network, device="cpu", encoder=folder / "other.npz")
    torch.save({"weight": torch.zeros(2)}, folder / "lm_instructir-7d.pt")
    with pytest.raises(CheckpointError, match=r"lm_instructir-7d\.pt' is no language head of InstructIR"):
        RestorationInferencer(network, device="cpu")
    torch.save(InstructionHead(5, 7).state_dict(), folder / "lm_instructir-7d.pt")
    with pytest.raises(CheckpointError, match="belong to different models"):
        RestorationInferencer(network, device="cpu")
    (folder / "lm_instructir-7d.pt").unlink()
    with pytest.raises(CheckpointError, match="published in two files: its language head is not at"):
        RestorationInferencer(network, device="cpu")
    with pytest.raises(ConfigError, match="has no use for one"):
        RestorationInferencer(inferencer.restorer, device="cpu", encoder=folder / "sentences.npz")

"""DA-CLIP's model with tiny random towers of open_clip."""

import sys

import pytest
import torch
from torch.nn import functional as F

from dtir.core.errors import CheckpointError, LibraryError
from dtir.models.daclip import DACLIP, DamageReader, read_daclip, settings_of

open_clip = pytest.importorskip("open_clip", reason="open_clip is not installed; pip install -e .[language]")


@pytest.fixture(scope="module")
def daclip():
    torch.manual_seed(0)
    clip = open_clip.CLIP(
        embed_dim=8,
        vision_cfg={"image_size": 32, "patch_size": 16, "width": 64, "layers": 3},
        text_cfg={"context_length": 16, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1},
    )
    return DACLIP(clip).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def trained(daclip):
    """Its controller no longer changes nothing."""
    generator = torch.Generator().manual_seed(1)
    for p in daclip.visual_control.transformer.zero_modules.parameters():
        p.normal_(std=0.2, generator=generator)
    return daclip


def pictures(number=2, height=40, width=50):
    return torch.rand(number, 3, height, width, generator=torch.Generator().manual_seed(2))


def test_the_controller_changes_nothing_at_first(daclip):
    x = daclip.prepared(pictures())
    content, damage = daclip.embed(x)
    torch.testing.assert_close(content, daclip.clip.encode_image(x))
    torch.testing.assert_close(damage, daclip.clip.encode_image(x))


def test_the_last_layer_steers_the_first(trained):
    """The published loops, written out."""
    x = trained.prepared(pictures())
    content, damage = trained.embed(x)
    control, visual = trained.visual_control, trained.visual
    tokens, given = control._embeds(x), []
    for block, project in zip(control.transformer.transformer.resblocks, control.transformer.zero_modules, strict=True):
        tokens = block(tokens)
        given.append(project(tokens))
    torch.testing.assert_close(damage, control._pool(tokens)[0] @ control.proj)
    tokens = visual._embeds(x)
    for block in visual.transformer.resblocks:
        tokens = block(tokens) + given.pop()
    torch.testing.assert_close(content, visual._pool(tokens)[0] @ visual.proj)
    assert not torch.allclose(content, trained.clip.encode_image(x))
    torch.testing.assert_close(trained.embed(x[1:])[0], content[1:])


def test_published_keys_and_shapes():
    with torch.device("meta"):
        published = DACLIP(open_clip.CLIP(**open_clip.get_model_config("ViT-B-32"))).state_dict()
    assert len(published) == 631
    assert published["visual_control.transformer.zero_modules.11.weight"].shape == (768, 768)
    assert published["visual_control.transformer.transformer.resblocks.11.mlp.c_fc.weight"].shape == (3072, 768)
    assert {"clip.visual.proj", "visual.proj", "visual_control.proj", "logit_scale", "clip.logit_scale"} < set(
        published
    )
    with torch.device("meta"):
        again = DACLIP(open_clip.CLIP(**settings_of(published))).state_dict()
    assert {key: value.shape for key, value in again.items()} == {key: value.shape for key, value in published.items()}


@pytest.mark.parametrize("layout", ["bare", "trainer"])
def test_a_checkpoint_is_read_with_its_sizes(trained, tmp_path, layout):
    state = trained.state_dict()
    parallel = {f"module.{key}": value for key, value in state.items()}
    torch.save(state if layout == "bare" else {"epoch": 3, "state_dict": parallel}, tmp_path / "daclip.pt")
    model = read_daclip(tmp_path / "daclip.pt")
    x = model.prepared(pictures())
    for found, expected in zip(model.embed(x), trained.embed(x), strict=True):
        torch.testing.assert_close(found, expected)


def test_another_file_is_refused(daclip, tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"is no DA-CLIP model, such as the published daclip_ViT-B-32\.pt"):
        read_daclip(tmp_path / "a.pt")
    state = daclip.state_dict()
    del state["visual_control.proj"]
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"1 missing key\(s\), such as visual_control\.proj"):
        read_daclip(tmp_path / "a.pt")


def test_pictures_are_shown_in_eight_bits_and_from_the_middle(daclip):
    x = torch.zeros(1, 3, 32, 64)
    x[..., 16:48] = 100.9 / 255
    seen = daclip.prepared(x)
    mean, std = torch.tensor([0.48145466, 0.4578275, 0.40821073]), torch.tensor([0.26862954, 0.26130258, 0.27577711])
    torch.testing.assert_close(seen, ((100 / 255 - mean) / std).view(1, 3, 1, 1).expand(1, 3, 32, 32))


def test_damage_is_named_by_the_likest_word(trained):
    words = ["hazy", "rainy", "uncompleted"]
    reader = DamageReader(trained, ["hazy", "rainy", "inpainting"], words)
    tokens = open_clip.tokenize(words, 16)
    text = F.normalize(trained.clip.encode_text(tokens), dim=1)
    damage = F.normalize(trained.embed(trained.prepared(pictures()))[1], dim=1)
    torch.testing.assert_close(reader(pictures()), trained.logit_scale.exp() * damage @ text.T)


def test_the_library_is_named(monkeypatch, daclip, tmp_path):
    torch.save(daclip.state_dict(), tmp_path / "a.pt")
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(LibraryError, match=r"needs the extra 'language'.*open_clip.*pip install 'dtir\[language\]'"):
        read_daclip(tmp_path / "a.pt")

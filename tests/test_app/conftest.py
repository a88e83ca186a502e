import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from dtir.apis.inferencer import RestorationInferencer

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rights>Archive</rights></x:xmpmeta>'


@pytest.fixture(scope="session")
def inferencer():
    return RestorationInferencer(device="cpu")


@pytest.fixture
def photo():
    """(H, W, 3) uint8, smooth, with noise."""
    ramp = np.linspace(60, 190, 96 * 64).reshape(64, 96, 1) + np.array([0, 20, -20])
    return np.clip(ramp + np.random.default_rng(0).normal(0, 20, ramp.shape), 0, 255).astype(np.uint8)


@pytest.fixture
def pictures(tmp_path, photo):
    """Files of several kinds with all that they can say of themselves."""
    folder = tmp_path / "in"
    folder.mkdir()
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "a yard", 6
    about = {"exif": exif, "icc_profile": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()}
    Image.fromarray(photo).save(folder / "scan.jpg", dpi=(300, 300), xmp=XMP, **about)
    opacity = np.tile(np.arange(96, dtype=np.uint8), (64, 1))
    Image.fromarray(np.dstack([photo, opacity])).save(folder / "cut out.png", dpi=(120, 120), **about)
    assert cv2.imwrite(str(folder / "deep.tif"), photo.astype(np.uint16) * 257)
    return folder

import socket

import lpips
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torchvision

from dtir.core.errors import ConfigError, DatasetError
from dtir.evaluation import LPIPS, MAE, PSNR, SSIM, InputPSNR
from dtir.evaluation.metrics import fidelity
from dtir.evaluation.metrics.functional import psnr, ssim


def samples() -> list[dict]:
    generator = torch.Generator().manual_seed(0)
    made = []
    for index, task in enumerate(["noisy", "noisy", "noisy", "hazy"]):
        gt = torch.randint(0, 256, (3, 16, 20 + index), generator=generator, dtype=torch.uint8)
        pred = (gt / 255 + 0.1 * torch.rand(gt.shape, generator=generator)).clamp(0, 1)
        lq = (gt.float() * 0.5).round().to(torch.uint8)
        made.append({"pred": pred, "gt": gt, "lq": lq, "task_name": task, "name": str(index)})
    return made


def test_average_is_the_mean_of_the_tasks_means():
    metric = PSNR()
    metric.process({}, samples())
    values = metric.evaluate(4)
    singles = [psnr(metric.protocol.prepare(s["pred"][None]), s["gt"][None].double() / 255).item() for s in samples()]
    assert values["noisy/PSNR"] == pytest.approx(sum(singles[:3]) / 3, abs=1e-6)
    assert values["hazy/PSNR"] == pytest.approx(singles[3], abs=1e-6)
    assert values["average/PSNR"] == pytest.approx((sum(singles[:3]) / 3 + singles[3]) / 2, abs=1e-6)


def test_ssim_and_input_psnr():
    structural, before = SSIM(), InputPSNR()
    for metric in (structural, before):
        metric.process({}, samples()[:1])
    sample = samples()[0]
    gt = sample["gt"][None].double() / 255
    expected = ssim(structural.protocol.prepare(sample["pred"][None]), gt).item()
    assert structural.evaluate(1)["noisy/SSIM"] == pytest.approx(expected, abs=1e-9)
    assert before.evaluate(1)["noisy/PSNR_LQ"] == pytest.approx(psnr(sample["lq"][None] / 255, gt).item(), abs=1e-6)


def test_mae_follows_its_protocol():
    sample = {**samples()[0], "pred": torch.full((3, 16, 20), 0.5)}
    sample["gt"] = torch.full((3, 16, 20), 100, dtype=torch.uint8)
    metric = MAE()
    metric.process({}, [sample])
    assert metric.evaluate(1)["noisy/MAE"] == pytest.approx(28 / 255, abs=1e-9)
    unrounded = MAE(protocol="skimage")
    unrounded.process({}, [sample])
    assert unrounded.evaluate(1)["noisy/MAE"] == pytest.approx(27.5 / 255, abs=1e-7)


def test_values_are_plain_and_counted():
    metric = PSNR(protocol="y_crop4")
    metric.process({}, samples())
    assert [type(result["value"]) for result in metric.results] == [float] * 4
    assert [(result["task"], result["name"]) for result in metric.results][2:] == [("noisy", "2"), ("hazy", "3")]
    metric.evaluate(4)
    assert metric.counts == {"noisy": 3, "hazy": 1}


def test_a_picture_that_cannot_be_measured_is_named():
    small = {**samples()[0], "pred": torch.rand(3, 10, 20), "gt": torch.zeros(3, 10, 20, dtype=torch.uint8)}
    message = r"SSIM \(protocol 'rgb'\) of picture '0' of task 'noisy': .*at least 11x11.*got 10x20.*leave SSIM out"
    with pytest.raises(DatasetError, match=message):
        SSIM().process({}, [small])
    with pytest.raises(DatasetError, match=r"PSNR .*of picture '0' of task 'noisy': .*one shape"):
        PSNR().process({}, [{**small, "pred": torch.rand(3, 20, 10)}])


def test_a_picture_equal_to_its_gt_is_left_out_of_the_mean_and_named(monkeypatch):
    warnings = []
    monkeypatch.setattr(fidelity, "print_log", lambda text, **_: warnings.append(text))
    perfect = {**samples()[0], "pred": samples()[0]["gt"] / 255}
    metric = PSNR()
    metric.process({}, [perfect, samples()[1], samples()[3]])
    alone = PSNR()
    alone.process({}, [samples()[1], samples()[3]])
    assert metric.evaluate(3) == alone.evaluate(2)
    assert warnings == ["PSNR: 1 picture(s) equal their GT and are left out of the mean: noisy/0"]


def test_a_task_of_pictures_that_equal_their_gt_is_left_out_of_the_average():
    metric = PSNR()
    metric.process({}, [{**samples()[0], "pred": samples()[0]["gt"] / 255}, samples()[3]])
    values = metric.evaluate(2)
    assert values["noisy/PSNR"] == float("inf")
    assert values["average/PSNR"] == values["hazy/PSNR"] < 100


def _evaluate(rank: int, port: int, queue) -> None:
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    metric = PSNR()
    metric.process({}, samples()[rank::2])
    values = [metric.evaluate(4)]
    # A sampler that pads gives the last process the first sample again.
    padded = samples()[1:]
    metric.process({}, [padded[k % 3] for k in range(rank, 4, 2)])
    values.append(metric.evaluate(3))
    if rank == 0:
        queue.put(values)
    dist.destroy_process_group()


def test_two_processes_measure_as_one():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = mp.get_context("spawn")
    queue = context.SimpleQueue()
    mp.spawn(_evaluate, args=(port, queue), nprocs=2)
    metric = PSNR()
    for got, expected in zip(queue.get(), (samples(), samples()[1:]), strict=True):
        metric.process({}, expected)
        assert got == pytest.approx(metric.evaluate(len(expected)))


@pytest.fixture(scope="module")
def alexnet(tmp_path_factory):
    torch.manual_seed(0)
    network = torchvision.models.alexnet(weights=None)
    path = tmp_path_factory.mktemp("weights") / "alexnet.pth"
    torch.save(network.state_dict(), path)
    return network, path


def test_lpips_is_its_formula(alexnet):
    network, path = alexnet
    metric = LPIPS(weights=str(path))
    torch.manual_seed(1)
    a, b = torch.rand(2, 1, 3, 64, 64)
    got = metric.measure(a, b)
    linear = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False).lins
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])

    def features(x):
        x = (metric.protocol.prepare(x).float() * 2 - 1 - shift[:, None, None]) / scale[:, None, None]
        found = []
        for number, layer in enumerate(network.features):
            x = layer(x.clone())
            if number in (1, 4, 7, 9, 11):
                found.append(x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10))
        return found

    with torch.no_grad():
        parts = zip(features(a), features(b), linear, strict=True)
        expected = sum(lin.model[-1]((p - q).square()).mean() for p, q, lin in parts)
    assert got.item() == pytest.approx(expected.item(), rel=1e-4)
    assert got.item() > 0
    assert metric.measure(a, a).item() == 0


def test_lpips_reads_every_layer_and_names_small_pictures(alexnet):
    network, path = alexnet
    metric = LPIPS(weights=str(path))
    own, expected = list(metric.model.net.parameters()), list(network.features.parameters())
    assert len(own) == len(expected) == 10
    assert all(torch.equal(p, q) for p, q in zip(own, expected, strict=True))
    assert not any(p.requires_grad for p in metric.model.parameters())
    gt = torch.zeros(3, 31, 40, dtype=torch.uint8)
    sample = {"pred": torch.rand(3, 31, 40), "gt": gt, "lq": gt, "task_name": "noisy", "name": "a"}
    metric.process({}, [sample])
    assert metric.evaluate(1)["noisy/LPIPS"] > 0
    small = {**sample, "pred": sample["pred"][:, 1:], "gt": gt[:, 1:]}
    with pytest.raises(DatasetError, match=r"LPIPS .*of picture 'a' .*at least 31x31 pixels .*got 30x40"):
        metric.process({}, [small])


def test_lpips_never_measures_with_other_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match=r"there is no file '.*alexnet-owt-7be5be79.pth'"):
        LPIPS()
    partial = torchvision.models.alexnet(weights=None).state_dict()
    del partial["features.8.bias"]
    torch.save(partial, tmp_path / "partial.pth")
    with pytest.raises(ConfigError, match=r"does not hold torchvision's alexnet weights.*features\.8\.bias"):
        LPIPS(weights=str(tmp_path / "partial.pth"))
    wrong = tmp_path / "wrong.pth"
    torch.save({"features.0.weight": torch.zeros(3)}, wrong)
    with pytest.raises(ConfigError, match="does not hold torchvision's alexnet weights"):
        LPIPS(weights=str(wrong))
    wrong.write_bytes(b"no checkpoint")
    with pytest.raises(ConfigError, match="does not hold torchvision's alexnet weights"):
        LPIPS(weights=str(wrong))
    with pytest.raises(ConfigError, match="LPIPS net must be one of alex, vgg, got 'resnet'"):
        LPIPS(net="resnet")
    with pytest.raises(ConfigError, match="protocol 'y' is luma"):
        LPIPS(protocol="y")


class SmallVGG(torch.nn.Module):
    """VGG-16 without its classifier, 124 M weights that LPIPS does not look at."""

    def __init__(self, **_):
        super().__init__()
        self.features = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["D"])


def test_both_lpips_stand_in_one_evaluation(alexnet, tmp_path, monkeypatch):
    monkeypatch.setattr(torchvision.models, "vgg16", SmallVGG)
    torch.manual_seed(0)
    torch.save(torchvision.models.vgg16(weights=None).state_dict(), tmp_path / "vgg.pth")
    metrics = [LPIPS(weights=str(alexnet[1])), LPIPS(net="vgg", weights=str(tmp_path / "vgg.pth"))]
    gt = torch.zeros(3, 32, 32, dtype=torch.uint8)
    sample = {"pred": torch.rand(3, 32, 32), "gt": gt, "lq": gt, "task_name": "noisy", "name": "a"}
    values = {}
    for metric in metrics:
        metric.process({}, [sample])
        values.update(metric.evaluate(1))
    assert values.keys() == {"noisy/LPIPS", "average/LPIPS", "noisy/LPIPS_VGG", "average/LPIPS_VGG"}
    assert values["noisy/LPIPS_VGG"] > 0


def test_vgg_is_never_measured_with_other_weights(alexnet, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match=r"torchvision's vgg16 weights, and there is no file '.*vgg16-397923af.pth'"):
        LPIPS(net="vgg")
    with pytest.raises(ConfigError, match="does not hold torchvision's vgg16 weights"):
        LPIPS(net="vgg", weights=str(alexnet[1]))

import socket

import lpips
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torchvision

from dtir.evaluation import LPIPS, PSNR, SSIM, InputPSNR
from dtir.evaluation.metrics.functional import psnr, ssim
from dtir.utils.errors import ConfigError


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


def _evaluate(rank: int, port: int, queue) -> None:
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    metric = PSNR()
    metric.process({}, samples()[rank::2])
    values = metric.evaluate(4)
    if rank == 0:
        queue.put(values)
    dist.destroy_process_group()


def test_two_processes_measure_as_one():
    metric = PSNR()
    metric.process({}, samples())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = mp.get_context("spawn")
    queue = context.SimpleQueue()
    mp.spawn(_evaluate, args=(port, queue), nprocs=2)
    assert queue.get() == pytest.approx(metric.evaluate(4))


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


def test_lpips_never_measures_with_other_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match=r"there is no file '.*alexnet-owt-7be5be79.pth'"):
        LPIPS()
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

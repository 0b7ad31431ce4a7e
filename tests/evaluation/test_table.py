import pytest

from stdo.evaluation.table import closing_table
from stdo.metrics.registry import PROTOCOLS


def figures(base, ssim):
    return {"psnr": {name: base + index for index, name in enumerate(PROTOCOLS)}, "ssim": ssim}


@pytest.fixture
def metrics():
    return {
        "video": "clip", "method": "stdo", "backbone": "espcn", "scale": 4, "chunks": 4, "seed": 1,
        "frames": 1320, "patches": 66000, **figures(33.125, 0.91), "bicubic": figures(30.0, 0.875),
        "params": 123_456, "chunk_psnr": [28.0, 31.5, 35.0, 41.25], "macs_per_frame": 9.2e9,
        "patch_presentations": 3_300_000,
        "seconds": {"prepare": 3.21, "train": 1412.34, "evaluate": 41.0}, "device": "cpu",
        "precision": "32",
    }  # fmt: skip


def row(table, name):
    return next(line.split()[1:] for line in table.splitlines() if line.startswith(name))


def test_ours_bicubic_and_the_difference_in_every_protocol(metrics):
    table = closing_table(metrics)
    assert [table.index(name) for name in (*PROTOCOLS, "SSIM")] == sorted(
        table.index(n) for n in (*PROTOCOLS, "SSIM")
    )
    assert row(table, "stdo") == ["33.12", "34.12", "35.12", "36.12", "37.12", "0.9100"]
    assert row(table, "bicubic") == ["30.00", "31.00", "32.00", "33.00", "34.00", "0.8750"]
    assert row(table, "difference") == ["+3.12"] * 5 + ["+0.0350"]


def test_cost_time_and_chunks(metrics):
    table = closing_table(metrics)
    assert "123 k parameters, 9.2 G MACs per frame, 3,300,000 patch presentations" in table
    assert "prepare 3.2, train 1,412.3, evaluate 41.0" in table
    assert "28.00 ▁   31.50 ▃   35.00 ▅   41.25 █" in table
    assert "clip · stdo · espcn ×4 · 4 chunks · 1,320 frames" in table


def test_seams(metrics):
    assert "seams" not in closing_table(metrics), "a result of an older version"
    metrics["seams"] = {"border": 32.5, "inside": 33.25}
    metrics["bicubic"]["seams"] = {"border": None, "inside": 30.5}
    assert (
        "seams     border 32.50 dB (bicubic –), inside 33.25 dB (bicubic 30.50)"
        in closing_table(metrics)
    )


def test_a_loss_is_shown_as_one(metrics):
    metrics["psnr"]["frame"] = 29.5
    assert row(closing_table(metrics), "difference")[0] == "-0.50"


def test_missing_figures_are_dashes(metrics):
    metrics["psnr"]["stdo_patch"] = metrics["bicubic"]["psnr"]["stdo_patch"] = metrics["ssim"] = (
        None
    )
    metrics["chunk_psnr"] = [None, 30.0]
    metrics["macs_per_frame"] = None
    metrics["seconds"]["train"] = None
    table = closing_table(metrics)
    assert row(table, "stdo")[2] == row(table, "difference")[2] == row(table, "stdo")[5] == "–"
    assert "–   30.00 ▁" in table
    assert "– MACs" in table
    assert "train –" in table
    metrics["chunk_psnr"] = [None]
    assert "chunk dB  –" in closing_table(metrics)
    assert "None" not in table


@pytest.mark.parametrize("chunks", [1, 4, 60])
def test_fits_a_terminal_of_80_columns(metrics, chunks):
    metrics |= {
        "chunks": chunks,
        "chunk_psnr": [100.0] * chunks,
        "video": "a_long_name_" * 6,
        "params": 10**9,
    }
    metrics["psnr"] = dict.fromkeys(PROTOCOLS, 100.0)
    metrics["bicubic"]["psnr"] = dict.fromkeys(PROTOCOLS, 20.0)
    table = closing_table(metrics)
    assert max(map(len, table.splitlines())) <= 80
    assert table.count("100.00 ▁") == chunks


def test_says_how_many_parameters_belong_to_each_chunk(metrics):
    metrics |= {"params": 1_523_940, "params_base": 1_517_571, "params_per_chunk": 6369}
    assert "1.52 M parameters (1.52 M and 6,369 for each chunk)" in closing_table(metrics)
    assert "for each chunk" not in closing_table(metrics | {"params_per_chunk": 0})

"""The program for accelerators: what is skipped, what an error leaves, what is written, and its page."""

import json
import time

import pytest

from experiments import on_accelerator
from experiments import write_results as results
from experiments.accelerator import common, device, parts, rates, whole
from experiments.accelerator.vendors import vendor_gflops

FACTS = {"what": "device", "machine": "a machine", "platform": "gpu", "kind": "NVIDIA H200", "devices": 2}
FACTS |= {"memory": 10**11, "jax": "0.10.2", "default_block_size": 4096}
PRODUCT = {"what": "product", "precision": "float32", "gflops": 50_000.0, "vendor_gflops": 67_000}
PEAKS = {"gflops": 25_000.0, "of_product": 0.5, "of_vendor": 0.37}
MEMORY = {"peak_memory": 2 * 10**9, "peak_of": "device"}
HERE = {"parts": {"device": {"rows": [FACTS | {"platform": "cpu"}]}}}


def step(block=4096, rate=85_000.0, **head):
    row = {"tower": "ViT-B/32", "precision": "float32", "block": block, "image_steps_per_second": rate}
    return row | head | {"spread": [rate - 1, rate + 1], "compile_s": 20.0, "program_memory": 10**9} | PEAKS | MEMORY


def fails(text="out of memory\nand more"):
    raise RuntimeError(text)


def test_what_fails_is_a_row_and_the_next_piece_is_measured():
    rows = list(common.measured([({"block": 1}, fails), ({"block": 2}, lambda: {"rate": 3})], time.time() + 60))
    assert [row["block"] for row in rows] == [1, 2] and rows[1]["rate"] == 3
    assert rows[0]["error"] == "RuntimeError: out of memory"


def test_a_piece_that_would_pass_the_time_is_not_begun():
    slow = ({"block": 1}, lambda: time.sleep(0.3) or {"rate": 1})
    rows = list(common.measured([slow, ({"block": 2}, fails)], time.time() + 0.5))
    assert rows[0]["rate"] == 1 and rows[1] == {"block": 2, "error": common.NO_TIME}


def test_a_part_without_time_is_not_begun():
    for quick, left in ((True, 0), (False, 29)):
        assert list(parts.run_part("parity", quick, {"parts": {}}, time.time() + left)) == [{"error": common.NO_TIME}]


def test_the_default_that_follows_is_the_smallest_block_near_the_best():
    rows = [step(512, 50.0), step(1024, 97.0), step(2048, 100.0), step(4096, 99.0), {"block": 8192, "error": "memory"}]
    assert rates.recommended_block(rows, 4096) == {"recommended": 1024, "default": 4096, "gain": 0.98}
    assert rates.recommended_block(rows[:2], None)["gain"] is None
    assert rates.recommended_block(rows[4:], 4096) is None


def test_the_million_runs_in_the_most_exact_precision_that_fits():
    known = {"float32": 10.0, "tf32": 40.0, "bf16": 30.0}
    assert whole.exact_enough(100, known, 10) == "float32"
    assert whole.exact_enough(100, known, 3) == whole.exact_enough(100, known, 1) == "tf32"
    assert whole.exact_enough(100, known | {"tf32": None}, 4) == "bf16"
    assert whole.exact_enough(100, {}, 1) == "float32"


def test_vendors_figures_are_of_the_device_by_its_name():
    assert vendor_gflops("NVIDIA H100 80GB HBM3", "bf16") == 989_000
    assert vendor_gflops("TPU v5 lite", "bf16") == 197_000 != vendor_gflops("TPU v5p", "bf16") == 459_000
    for kind in ("NVIDIA H100 PCIe", "NVIDIA H200 NVL", "NVIDIA A100-SXM4-40GB MIG 1g.5gb", "TPU v4 lite", "cpu"):
        assert vendor_gflops(kind, "bf16") is None
    assert vendor_gflops("TPU v6 lite", "tf32") is None


def test_shares_are_of_all_devices_and_only_where_known():
    found = {"parts": {"device": {"rows": [FACTS, PRODUCT, {"what": "product", "precision": "tf32", "error": "x"}]}}}
    assert common.of_peak(found, "float32", 50_000, 2) == {"gflops": 50_000, "of_product": 0.5, "of_vendor": 0.3731}
    assert common.of_peak(found, "tf32", 1, 1) == common.of_peak({"parts": {}}, "float32", 1, 1) == {"gflops": 1}


def found_rows():
    """Rows of every part, with an error in most."""
    error = {"relative": 1e-6, "absolute": 1e-6}
    parity = {"tower": "ViT-B/32", "compared_with": "the CPU", "image_embeddings": error, "text_embeddings": error}
    fit = {"precision": "tf32", "wanted": 10**6, "images": 8192, "steps": 80, "block": 4096, "seconds": 2.0}
    fit |= (
        {"seconds_of_all_at_this_rate": 244, "image_steps_per_second": 3e5, "host_memory": 3 * 10**9} | PEAKS | MEMORY
    )
    image = {"tower": "ViT-B/32", "precision": "float32", "images": 1024, "images_per_second": 900.0, "block": 256}
    image |= {"tower_images_per_second": 4000.0} | PEAKS | MEMORY
    loop = {"what": "released_loop", "device": "cuda", "images": 20}
    no_memory = {"what": "steps", "tower": "ViT-L/14", "precision": "bf16", "error": "RESOURCE_EXHAUSTED: memory"}
    same = {"what": "steps", "tower": "ViT-B/16", "precision": "bf16", "same_as": "ViT-B/32"}
    return {
        "device": [FACTS, PRODUCT],
        "parity": [parity | {"slot_gradient": error}],
        "steps": [step(), {"tower": "ViT-B/32", "precision": "tf32", "error": common.NO_TIME}],
        "blocks": [step(512, 84_000.0), step()],
        "million": [fit],
        "images": [image],
        "torch": [step(rate=850.0) | loop, {"error": "stopped: time"}],
        "towers": [same, no_memory, image | {"what": "images", "tower": "ViT-B/16"}],
    }


def written(folder, monkeypatch, rows, quick=False):
    """What the program writes where its parts give these rows."""
    monkeypatch.setattr(on_accelerator, "run_part", lambda name, *_: (row for row in rows.get(name, ())))
    on_accelerator.measure_all(folder, quick, 1.0)
    return json.loads((folder / "accelerator.json").read_text())


def test_everything_found_is_on_the_page(tmp_path, monkeypatch):
    (tmp_path / "h200").mkdir()
    found = written(tmp_path / "h200", monkeypatch, found_rows())
    assert found["machine"] == "a machine" and found["block_size"]["recommended"] == 512
    pages = results.pages(tmp_path)
    text = pages[tmp_path / "h200" / "accelerator.md"]
    assert text == results.accelerator_table(found) and text.startswith("## On an accelerator: NVIDIA H200\n")
    for part in (
        "| float32 | 50.0 | 67.0 |",
        "| ViT-B/32 | the CPU | 1.0e-06 | 1.0e-06 | 1.0e-06 |",
        "85,000 (84,999 to 85,001) | 25.0 | 50.0% | 37.0% | 20.0 | 1.00 | 2.00 (device) |",
        "- ViT-B/32, tf32: not run: time",
        "rate: 512. The default here, 4,096, has 101% of its rate.",
        "1,000,000 at this rate: 244 s (not run).",
        "over those of released_loop, ViT-B/32, float32, 4096: 100.0.",
        "- the part: stopped: time",
        "| ViT-B/16 | bf16 | – | as ViT-B/32, whose text tower it has |",
        "- steps, ViT-L/14, bf16: RESOURCE_EXHAUSTED: memory",
    ):
        assert part in text, part
    assert "](results/h200/accelerator.md)" in pages[tmp_path.parent / "RESULTS.md"]


@pytest.mark.parametrize(
    "rows", [{}, {"device": [{"what": "device", "error": "no driver"}], "blocks": [{"error": "x"}]}]
)
def test_a_page_is_made_of_what_failed(tmp_path, monkeypatch, rows):
    text = results.accelerator_table(written(tmp_path, monkeypatch, rows, quick=True))
    assert "tiny towers" in text and common.NO_TIME in text and ("no driver" in text) == bool(rows)


def test_what_was_found_is_in_the_file_when_the_time_of_a_machine_is_over(tmp_path, monkeypatch):
    def stopped(name, *_):
        yield from found_rows()[name][:1]
        if name == "steps":
            raise KeyboardInterrupt

    monkeypatch.setattr(on_accelerator, "run_part", stopped)
    with pytest.raises(KeyboardInterrupt):
        on_accelerator.measure_all(tmp_path, False, 1.0)
    found = json.loads((tmp_path / "accelerator.json").read_text())
    assert list(found["parts"]) == ["device", "parity", "steps"] and found["parts"]["steps"]["rows"] == [step()]
    assert list(tmp_path.iterdir()) == [tmp_path / "accelerator.json"]


def test_without_an_accelerator_only_a_quick_run_is_made(tmp_path, monkeypatch):
    with pytest.raises(SystemExit, match="--quick"):
        written(tmp_path, monkeypatch, {"device": [FACTS | {"platform": "cpu"}]})
    assert not list(tmp_path.iterdir())


def test_pytorch_without_an_accelerator_is_no_rival_of_one(monkeypatch):
    pytest.importorskip("torch")
    from experiments.benchmarks import torch_loops

    monkeypatch.setattr(torch_loops, "DEVICE", "cpu")
    pieces = rates.torch(common.QUICK, {"parts": {"device": {"rows": [FACTS]}}}, 0.0)
    assert {row["error"] for row in common.measured(pieces, time.time() + 60)} == {"this PyTorch sees no accelerator"}
    monkeypatch.setattr(rates, "find_spec", lambda _: None)
    assert rates.torch_rate(common.QUICK, "released_loop", "float32", 20, HERE)["error"].endswith("not installed here")


@pytest.mark.slow
def test_parity_on_a_cpu_is_with_float64_and_small():
    [row] = common.measured(device.parity(common.QUICK, HERE, 0.0), time.time() + 600)
    assert "float64" in row["compared_with"]
    for name in ("image_embeddings", "text_embeddings", "slot_gradient"):
        assert 0 < row[name]["relative"] < 1e-5, name


@pytest.mark.slow
def test_a_part_runs_in_a_process_of_its_own():
    rows = list(parts.run_part("device", True, {"parts": {}}, time.time() + 600))
    assert [row["what"] for row in rows] == ["device", *["product"] * 3] and not any("error" in row for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize("part", ["steps", "blocks", "million", "images", "torch", "towers"])
def test_every_part_measures_in_small(part):
    if part == "torch":
        pytest.importorskip("torch")
    end = time.time() + 600
    pieces = list(parts.PARTS[part][0](common.QUICK, HERE, end))
    chosen = {"torch": pieces[:2], "towers": [pieces[0], pieces[-1]]}.get(part, pieces[:1])
    rows = list(common.measured(chosen, end))
    assert not [row["error"] for row in rows if "error" in row]
    for row in rows:
        assert "same_as" in row or row.get("image_steps_per_second", row.get("images_per_second")) > 0

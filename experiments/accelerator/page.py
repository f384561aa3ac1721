"""The page of what `on_accelerator` measured."""

from __future__ import annotations

from collections.abc import Callable

from experiments.accelerator.common import NO_TIME, device_of, rows_of
from experiments.benchmarks.measuring import lines, source

Columns = dict[str, Callable[[dict], str]]


def accelerator_table(found: dict) -> str:
    """What `on_accelerator` measured."""
    device = device_of(found)
    quick = " (tiny towers, to try the program: these figures mean nothing)" if found["quick"] else ""
    title = f"## On an accelerator: {device.get('kind', 'unknown device')}{quick}"
    memory = f", {gigabytes(device['memory'])} GB that JAX may use" if device.get("memory") else ""
    about = (
        f"{device.get('devices', 0)} × {device.get('kind', 'unknown')}{memory}, JAX {device.get('jax', 'unknown')}. "
    )
    about += (
        "Random weights; a rate is the median of repeated measurements, with the lowest and highest. Of the product: "
    )
    about += (
        "share of the rate of JAX's plain matrix product of that precision; of the vendor: of the vendor's figure. "
    )
    about += "Program: what the compiled step needs. Memory: the highest so far in the process of that part."
    failed = [row["error"] for row in rows_of(found, "device") if row.get("what") == "device" and "error" in row]
    about += "".join(f" The device could not be asked: {error}" for error in failed)
    sections = [section(found, *each) for each in SECTIONS]
    took = f"It took {found['seconds'] / 60:.1f} minutes."
    return "\n\n".join([title, about, *sections, took, source(found)])


def section(found: dict, title: str, part: str, wanted: str | None, columns: Columns, after: Callable = None) -> str:
    """A table of a part's rows, of those that are `wanted` alone, with what went wrong below it."""
    rows = [row for row in rows_of(found, part) if wanted is None or row.get("what", wanted) == wanted]
    table = lines(list(columns), [[cell(row) for cell in columns.values()] for row in rows if "error" not in row])
    wrong = [f"{named(row)}: {row['error']}" for row in rows if "error" in row]
    text = [f"### {title}", *([table.rstrip()] if len(wrong) < len(rows) else [])]
    said = after(found) if after else ""
    if not rows:
        wrong = [NO_TIME]
    return "\n\n".join(
        [*text, *([said] if said else []), *(["\n".join(f"- {each}" for each in wrong)] if wrong else [])]
    )


def named(row: dict) -> str:
    """Which piece a row is of."""
    heads = [str(row[name]) for name in ("what", "tower", "precision", "block") if name in row]
    return ", ".join(heads) or "the part"


def number(name: str, digits: int = 0, scale: float = 1.0) -> Callable[[dict], str]:
    """The cell of a row's number; a dash where it is not known."""
    return lambda row: "–" if row.get(name) is None else f"{scale * row[name]:,.{digits}f}"


def rate(row: dict) -> str:
    if "same_as" in row:
        return f"as {row['same_as']}, whose text tower it has"
    return "{:,.0f} ({:,.0f} to {:,.0f})".format(row["image_steps_per_second"], *row["spread"])


def share(name: str) -> Callable[[dict], str]:
    return lambda row: "–" if row.get(name) is None else f"{row[name]:.1%}"


def memory(row: dict) -> str:
    return "–" if row.get("peak_memory") is None else f"{gigabytes(row['peak_memory'])} ({row['peak_of']})"


def gigabytes(size: int) -> str:
    return f"{1e-9 * size:.2f}"


def relative(name: str) -> Callable[[dict], str]:
    return lambda row: f"{row[name]['relative']:.1e}"


def word(name: str) -> Callable[[dict], str]:
    return lambda row: str(row.get(name, ""))


def block_said(found: dict) -> str:
    """Which block size follows."""
    block = found.get("block_size")
    if not block:
        return ""
    text, default = f"The smallest block with 97% of the best rate: {block['recommended']:,}.", block["default"]
    if default == block["recommended"]:
        return f"{text} It is the default here."
    if not block["gain"]:
        return f"{text} The default here was not measured."
    return f"{text} The default here, {default:,}, has {1 / block['gain']:.0%} of its rate."


def million_said(found: dict) -> str:
    """What a million takes where fewer were done."""
    rows = [row for row in rows_of(found, "million") if "seconds_of_all_at_this_rate" in row]
    said = [f"{row['wanted']:,} at this rate: {row['seconds_of_all_at_this_rate']:,} s (not run)." for row in rows]
    text = (
        "By `fit_proxies`, transfers from and to the host in the seconds, compilation not. The precision is the most "
    )
    return text + " ".join(["exact one that fitted into the time.", *said])


def torch_said(found: dict) -> str:
    """How many times faster ours is than each loop of the same precision."""
    ours = {row["precision"]: row["image_steps_per_second"] for row in rows_of(found, "steps") if "error" not in row}
    rows = [row for row in rows_of(found, "torch") if "error" not in row and row["precision"] in ours]
    times = [f"{named(row)}: {ours[row['precision']] / row['image_steps_per_second']:.1f}" for row in rows]
    return f"Image-steps a second of multimap_jax over those of {'; '.join(times)}." if times else ""


PEAK = {
    "TFLOP/s": number("gflops", 1, 1e-3),
    "of the product": share("of_product"),
    "of the vendor": share("of_vendor"),
}
TOWER = {"tower": word("tower"), "precision": word("precision")}
MEMORY = {"memory, GB": memory}
STEPS = {
    **TOWER,
    "block": number("block"),
    "image-steps a second": rate,
    **PEAK,
    "compilation, s": number("compile_s", 1),
    "program, GB": number("program_memory", 2, 1e-9),
    **MEMORY,
}
IMAGES = {
    **TOWER,
    "images": number("images"),
    "from files, a second": number("images_per_second"),
    "tower alone, a second": number("tower_images_per_second"),
    **PEAK,
    **MEMORY,
}
PRODUCT = {
    "precision": word("precision"),
    "TFLOP/s": number("gflops", 1, 1e-3),
    "vendor's": number("vendor_gflops", 1, 1e-3),
}
PARITY = {
    "tower": word("tower"),
    "compared with": word("compared_with"),
    "image embeddings": relative("image_embeddings"),
    "text embeddings": relative("text_embeddings"),
    "gradient at the slot": relative("slot_gradient"),
}
MILLION = {
    "precision": word("precision"),
    "images": number("images"),
    "steps": number("steps"),
    "block": number("block"),
    "seconds": number("seconds", 1),
    "image-steps a second": number("image_steps_per_second"),
    **PEAK,
    **MEMORY,
    "host, GB": number("host_memory", 2, 1e-9),
}
TORCH = {
    "": word("what"),
    "precision": word("precision"),
    "on": word("device"),
    "images": number("images"),
    "image-steps a second": rate,
    **PEAK,
    "compilation, s": number("compile_s", 1),
    **MEMORY,
}
# Title, part, which of its rows, columns, what is said after the table.
SECTIONS = (
    ("A plain matrix product", "device", "product", PRODUCT),
    ("Largest error relative to the largest value, float32", "parity", None, PARITY),
    ("Image-steps a second", "steps", None, STEPS),
    ("Block sizes", "blocks", None, STEPS, block_said),
    ("A million embeddings' proxies", "million", None, MILLION, million_said),
    ("Images embedded", "images", None, IMAGES),
    ("PyTorch on the same device", "torch", None, TORCH, torch_said),
    ("Steps of the other towers", "towers", "steps", STEPS),
    ("Images embedded by the other towers", "towers", "images", IMAGES),
)

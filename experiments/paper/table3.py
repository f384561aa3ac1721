"""Table 3 of the paper: Multi-MaP beside zero-shot CLIP, with candidate words (CLIP_GPT) and true names (CLIP_label).

    python -m experiments.paper.table3 --out=experiments/results/table3
    python -m experiments.paper.table3 --data=FOLDER --clip=openai/clip-vit-base-patch32 --out=table3_real

Without --data on drawn twins. Writes table3.csv and table3.md; a run that was stopped goes on where it was.
--quick is a small trial, --datasets=fruit,card limits the sets; --helpfull lists all flags.
"""

from absl import app

from experiments.paper import tables

METHODS = ("CLIP_GPT", "CLIP_label", "Multi-MaP", "Multi-MaP released", "Multi-MaP default", "image k-means", "CRL")

if __name__ == "__main__":
    tables.define_flags("experiments/results/table3")
    app.run(lambda _: tables.run_table("table3", METHODS, "table3_clip_variants.csv"))

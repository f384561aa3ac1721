"""Table 4 of the paper, the ablations: p (alignment only), c (+ concept distance), r (+ reference), cr (both).

    python -m experiments.paper.table4 --out=experiments/results/table4
    python -m experiments.paper.table4 --data=FOLDER --clip=openai/clip-vit-base-patch32 --out=table4_real

Without --data on drawn twins. Writes table4.csv and table4.md; a run that was stopped goes on where it was.
--quick is a small trial, --datasets=fruit,card limits the sets; --helpfull lists all flags.
"""

from absl import app

from experiments.paper import tables

METHODS = ("Multi-MaP_p", "Multi-MaP_c", "Multi-MaP_r", "Multi-MaP_cr", "Multi-MaP")

if __name__ == "__main__":
    tables.define_flags("experiments/results/table4")
    app.run(lambda _: tables.run_table("table4", METHODS, "table4_ablation.csv"))

"""Table 2 of the paper: Multi-MaP on the seven data sets, by all its recipes, with two cheap rivals.

    python -m experiments.table2 --out=experiments/results/table2
    python -m experiments.table2 --data=FOLDER --clip=openai/clip-vit-base-patch32 --out=table2_real

Without --data on drawn twins. Writes table2.csv and table2.md; a run that was stopped goes on where it was.
"""

from absl import app

from experiments import tables

METHODS = ("Multi-MaP", "Multi-MaP released", "Multi-MaP default", "image k-means", "CRL")

if __name__ == "__main__":
    tables.define_flags("experiments/results/table2")
    app.run(lambda _: tables.run_table("table2", METHODS, "table2_methods.csv"))

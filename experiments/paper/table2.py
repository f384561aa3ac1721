"""Table 2 of the paper: Multi-MaP on the seven data sets, by all its recipes, with the five methods that the paper
compares with, one that came after it, and two cheap baselines.

    python -m experiments.paper.table2 --out=experiments/results/table2 --minutes=120
    python -m experiments.paper.table2 --data=FOLDER --clip=openai/clip-vit-base-patch32 --out=table2_real

Without --data on drawn twins. Writes table2.csv and table2.md; a run that was stopped goes on where it was, and one
that ran out of --minutes where that was. ENRC needs an environment of its own, which `ENRC_PYTHON` names (BUILD.md);
MCV and MSC need the extra `experiments`. A method that groups a whole set has two minutes for it (--rival_seconds).
--quick is a small trial, --datasets=fruit,card limits the sets; --helpfull lists all flags. The three tables 2 in
experiments/results (twins, photos, fashion) took 41 minutes together on two cores of an AMD EPYC with AVX-512.
"""

from absl import app

from experiments.paper import tables

METHODS = (
    *("MSC", "MCV", "ENRC", "iMClusts", "AugDMC"),
    *("Multi-MaP", "Multi-MaP released", "Multi-MaP default", "Multi-DProxy", "image k-means", "CRL"),
)

if __name__ == "__main__":
    tables.define_flags("experiments/results/table2")
    app.run(lambda _: tables.run_table("table2", METHODS, "table2_methods.csv"))

"""Writes scenes to a folder: python -m multimap_jax.scenes --scene=fruit --seed=0 --count=240 --out=fruit"""

import sys

from absl import app, flags

from multimap_jax.scenes import SCENES, write_scenes

SCENE = flags.DEFINE_enum("scene", "fruit", sorted(SCENES), "The family of scenes to draw.")
SEED = flags.DEFINE_integer("seed", 0, "The random seed; each seed draws different pictures.", lower_bound=0)
COUNT = flags.DEFINE_integer("count", 240, "How many pictures.", lower_bound=1)
DIFFICULTY = flags.DEFINE_integer(
    "difficulty", 0, "From 0, the object alone, to 3, small and partly hidden.", lower_bound=0, upper_bound=3
)
OUT = flags.DEFINE_string("out", None, "The folder to write to; by default one named after the scene.")


def main(arguments):
    if len(arguments) > 1:
        sys.exit(f"expected flags only, found {' '.join(arguments[1:])}")
    labels = write_scenes(
        OUT.value or SCENE.value, SCENE.value, seed=SEED.value, count=COUNT.value, difficulty=DIFFICULTY.value
    )
    print(f"{COUNT.value} pictures and their labels: {labels}")


if __name__ == "__main__":
    app.run(main)

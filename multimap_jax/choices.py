"""Names and defaults that flags and library share. Imports nothing heavy, so that `multimap --help` is quick."""

from typing import Literal, get_args

# Presets for optimising proxies, see proxies.recipes.
Recipe = Literal["default", "paper", "released"]
RECIPES = get_args(Recipe)
# Features for k-means, see features.table.
FeatureKind = Literal["span", "proxy", "prompt", "word", "image", "proxy+image", "answer"]
FEATURES = get_args(FeatureKind)
# The concept term of the loss, see proxies.loss.
Concept = Literal["contrastive", "distance", "none"]
Optimizer = Literal["adam", "adagrad"]
# Schedules of the learning rate.
Schedule = Literal["constant", "linear"]
# Initial value of a proxy: the image's reference word, or the name of the aspect.
Init = Literal["reference", "aspect"]
# Precisions of the text tower while optimising proxies.
Precision = Literal["float32", "tf32", "bf16", "float64"]
# Precisions of the image tower.
ImagePrecision = Literal["float32", "bf16"]
IMAGE_PRECISIONS = get_args(ImagePrecision)
# How images are decoded: whole, or large JPEGs at a smaller size.
Decode = Literal["exact", "fast"]
# How progress is shown.
LOGS = ("bars", "json")
# Sources of an aspect's candidate words, if the user gives none.
WORD_SOURCES = ("vocabulary", "wordnet", "llm")

# Seconds of silence after which one of several processes counts as dead: JAX's default.
HEARTBEAT_SECONDS = 100

# Features of images that a model has answered a question about; pixels of the longer side of what it is sent, at most;
# requests at once.
ANSWER: FeatureKind = "answer"
LOOK_SIZE = 512
LOOK_REQUESTS = 8

# Instead of a number of groups: model selection chooses it.
AUTO = "auto"
# Instead of a group's name: images in no group.
UNASSIGNED_NAME = "(unassigned)"
# Name, followed by a number, of groups that no word fits; name of the only group if no split is stable.
UNNAMED = "unnamed"
NO_SPLIT = "no stable split"

# Defaults of Aspect and of the flags.
SUBJECT = "object"
TEMPLATE = "a {subject} with the {name} of {word}"
# The aspects that proxies are pushed away from, if the recipe does so and the user names none.
CONTRAST = ("color", "shape", "species", "texture", "background")

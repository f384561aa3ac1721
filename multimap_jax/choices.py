"""Names and defaults that flags and library share. Imports nothing, so that `multimap --help` loads nothing."""

# Named sets of choices for optimising proxies, see proxies.recipes.
RECIPES = ("default", "paper", "released")
# What k-means runs on, see features.table.
FEATURES = ("span", "proxy", "prompt", "word", "image", "proxy+image")
# The concept term of the loss, see proxies.loss.
CONCEPTS = ("contrastive", "distance", "none")
OPTIMIZERS = ("adam", "adagrad")
# Of the learning rate.
SCHEDULES = ("constant", "linear")
# Where a proxy starts: at the image's reference word, or at the name of the aspect.
INITS = ("reference", "aspect")
# Of the text tower while proxies are optimised.
PRECISIONS = ("float32", "tf32", "bf16", "float64")
# How progress is shown.
LOGS = ("bars", "json")
# Where candidate words of an aspect may come from, unless the user gives them.
WORD_SOURCES = ("vocabulary", "wordnet", "llm")

# Seconds of silence after which one of several processes counts as dead: JAX's default.
HEARTBEAT_SECONDS = 100

# In place of a number of groups: it is chosen by model selection.
AUTO = "auto"
# In place of a group's name: images in no group.
LEFT_OVER = "(left over)"
# Of groups that no word fits, with a number behind it; and of the one group where no split is stable.
UNNAMED = "unnamed"
NO_SPLIT = "no stable split"

# Defaults of Aspect, and of the flags.
SUBJECT = "object"
TEMPLATE = "a {subject} with the {name} of {word}"
# The aspects that proxies are pushed away from, if the recipe has that and the user names none.
CONTRAST = ("color", "shape", "species", "texture", "background")

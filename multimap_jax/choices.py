"""Names that the command's flags and the library share. Imports nothing, so that `multimap --help` loads nothing."""

RECIPES = ("default", "paper", "released")
FEATURES = ("span", "proxy", "prompt", "word", "image", "proxy+image")
CONCEPTS = ("contrastive", "distance", "none")
OPTIMIZERS = ("adam", "adagrad")
SCHEDULES = ("constant", "linear")
INITS = ("reference", "aspect")
PRECISIONS = ("float32", "tf32", "bf16", "float64")
LOGS = ("bars", "json")
# Where candidate words of an aspect may come from, besides the user.
WORD_SOURCES = ("vocabulary", "wordnet", "llm")

# Of silence, after which one of several processes counts as dead: JAX's own.
HEARTBEAT_SECONDS = 100

# A number of groups that is to be found; images that are in none.
AUTO, LEFT_OVER = "auto", "(left over)"

SUBJECT = "object"
TEMPLATE = "a {subject} with the {name} of {word}"
# What proxies are pushed away from, where nothing is said and the recipe has that.
CONTRAST = ("color", "shape", "species", "texture", "background")

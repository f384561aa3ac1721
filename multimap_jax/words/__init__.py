"""Words that the user did not give: their sources, the choice among them, and the names of clusters."""

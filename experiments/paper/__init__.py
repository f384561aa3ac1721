"""The paper's tables and figure, and the released programs."""

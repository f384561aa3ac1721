"""The page of a run: one HTML file that works from the disk, without a network."""

from multimap_jax.report.page import Page
from multimap_jax.report.write import Report, make_report

__all__ = ["Page", "Report", "make_report"]

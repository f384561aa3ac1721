"""What a page was told, for tests."""

import json
import re


def content(html):
    """The JSON within a page."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.S)[1])


def pictures(html):
    """How many images the page shows, and how many of their pictures are lost."""
    told = content(html)
    return len(told["names"]), len(told["lost"])

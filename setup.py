"""What setup.cfg cannot say: where the project is, and the long description.

That is README.rst without its pictures, which an index does not have, and with links that hold
outside of the repository. The release workflow knows the address; without one, there are none.
"""

import os
import pathlib
import re

from setuptools import setup

URL = os.environ.get("PROJECT_URL")
# By their targets in README.rst, as a host resolves them.
LINKS = {
    "docs/index.rst": ("Documentation", f"{URL}/blob/main/docs/index.rst"),
    "CHANGES.rst": ("Changelog", f"{URL}/blob/main/CHANGES.rst"),
    "../..": ("Source", f"{URL}"),
    "../../issues": ("Tracker", f"{URL}/issues"),
}

readme = pathlib.Path(__file__).with_name("README.rst").read_text(encoding="utf-8")
readme = re.sub(r"(?m)^\.\. image:: .*\n(?:[ ].*\n)*\n*", "", readme)
for target, (name, address) in LINKS.items():
    link = f"`{name} <{target}>`__"
    assert link in readme
    readme = readme.replace(link, f"`{name} <{address}>`__" if URL else name)
# The other links to files.
readme = re.sub(
    r"`([^`<]+) <([\w/]+\.rst)>`__",
    rf"`\1 <{URL}/blob/main/\2>`__" if URL else r"\1",
    readme,
)
setup(long_description=readme, project_urls=dict(LINKS.values()) if URL else {})

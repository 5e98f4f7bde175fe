"""What setup.cfg cannot say: the long description is README.rst without its pictures.

They are files of the repository, which an index does not have.
"""

import pathlib
import re

from setuptools import setup

README = pathlib.Path(__file__).with_name("README.rst").read_text(encoding="utf-8")
setup(long_description=re.sub(r"(?m)^\.\. image:: .*\n(?:[ ].*\n)*\n*", "", README))

"""Makes the modules of this folder importable by the tests below it, and the messages that protoc generated."""

import os
import sys

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, here)
sys.path.insert(0, os.environ.get("GENERATED", os.path.join(here, "../../.build/conformance")))

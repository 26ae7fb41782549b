import os
import sys

here = os.path.dirname(os.path.abspath(__file__))
root = os.path.join(here, "../..")
for folder in ["Tests/Conformance", "Tests/EndToEnd"]:
    sys.path.insert(0, os.path.join(root, folder))
sys.path.insert(0, os.environ.get("GENERATED", os.path.join(root, ".build/conformance")))

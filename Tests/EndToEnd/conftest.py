import os
import resource
import sys

here = os.path.dirname(os.path.abspath(__file__))
root = os.path.join(here, "../..")
sys.path.insert(0, os.path.join(root, "Tests/Conformance"))
sys.path.insert(0, os.environ.get("GENERATED", os.path.join(root, ".build/conformance")))

# Tests of very many connections need as many descriptors on this side.
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))

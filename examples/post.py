"""Pixels to a served ensemble, and what it answers.

    python -m fmnist_bench serve                      in one terminal: the champion on 127.0.0.1:5001
    python examples/post.py [PORT N_PIXELS]           in another one; 5001 and 784 where nothing is said

Nothing of fmnist_bench is needed where this runs; any language that speaks HTTP and JSON does as well.
"""

import json
import sys
import urllib.request

port, n_pixels = map(int, sys.argv[1:] or (5001, 784))
images = [[0] * n_pixels, [255] * n_pixels]  # rows of whole numbers from 0 to 255

body = json.dumps({"inputs": images}).encode()
address = f"http://127.0.0.1:{port}/invocations"
request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
with urllib.request.urlopen(request, timeout=60) as answer:
    for row in json.load(answer)["predictions"]:
        label = row.pop("label")
        print(f"{label}: {max(row.values()):.3f} of {len(row)} classes")

#!/usr/bin/python3 -I
"""Isolates nothing, and says all that rubber and the probe would say of a finished layer."""
import json, socket, sys

facts = json.loads(r"""FACTS""")
witness = socket.socket(fileno=0)
for told in facts["run"]["calls"]:
    print(json.dumps({"who": "", **told}, separators=(",", ":")), file=sys.stderr)
witness.send(b"hello")
question = json.loads(witness.recv(200_000))
inside = facts["inside"]
if "--hostname" in sys.argv:
    inside["hostname"] = sys.argv[sys.argv.index("--hostname") + 1]
witness.send(json.dumps({"nonce": question["nonce"], "inside": inside}).encode())
witness.recv(1)  # until the witness has seen enough
sys.exit(question["code"])

"""Verifies DSSE envelopes with securesystemslib: dsse.py PUBLIC_KEY ENVELOPE..."""
import copy
import hashlib
import json
import pathlib
import sys

from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

key_file, *envelopes = sys.argv[1:]
assert envelopes, "no envelope was given"
public = load_pem_public_key(pathlib.Path(key_file).read_bytes())
for name in envelopes:
    path = pathlib.Path(name)
    data = json.loads(path.read_text())
    key = SSlibKey.from_crypto(public, keyid=data["signatures"][0]["keyid"])
    Envelope.from_dict(copy.deepcopy(data)).verify([key], 1)
    statement = json.loads(Envelope.from_dict(copy.deepcopy(data)).payload)
    assert statement["_type"] == "https://in-toto.io/Statement/v1", statement["_type"]
    for subject in statement["subject"]:
        digest = hashlib.sha256((path.parent / subject["name"]).read_bytes()).hexdigest()
        assert digest == subject["digest"]["sha256"], subject["name"]
    spoilt = Envelope.from_dict(copy.deepcopy(data))
    spoilt.payload = spoilt.payload[:-1] + b"!"
    try:
        spoilt.verify([key], 1)
    except VerificationError:
        pass
    else:
        raise SystemExit(f"{name}: a spoilt payload was taken")
    print(path.name, statement["predicateType"], len(statement["subject"]), "subjects verified")

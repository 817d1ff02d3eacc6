"""Validates CycloneDX 1.6 files, JSON and XML, with cyclonedx-python-lib."""
import sys

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from cyclonedx.validation.xml import XmlValidator

assert sys.argv[1:], "no file was given"
for name in sys.argv[1:]:
    validator = XmlValidator if name.endswith(".xml") else JsonStrictValidator
    with open(name, encoding="utf-8") as f:
        error = validator(SchemaVersion.V1_6).validate_str(f.read())
    if error is not None:
        raise SystemExit(f"{name}: {error}")
    print(name, "valid")

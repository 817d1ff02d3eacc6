// Validates the files of its arguments against CycloneDX's own strict JSON schema.
import { readFileSync } from 'node:fs'
import { Spec, Validation } from '@cyclonedx/cyclonedx-library'

const validator = new Validation.JsonStrictValidator(Spec.Version.v1dot6)
let failed = process.argv.length < 3
for (const file of process.argv.slice(2)) {
  const error = await validator.validate(readFileSync(file, 'utf8'))
  console.log(file, error === null ? 'valid' : JSON.stringify(error))
  failed ||= error !== null
}
process.exit(failed ? 1 : 0)

// Why a request failed: a code that is stable, what happened, and where it is explained.

"use strict";

class AftError extends Error {
  constructor(code, detail, status) {
    const page = status === undefined ? "docs/libraries.md" : `docs/errors/${code}.md`;
    super(`${code}: ${detail} (${page})`);
    // Which Lambda reports as the error's type.
    this.name = this.constructor.name;
    Object.assign(this, { code, detail, status, page });
  }
}

class Conflict extends AftError {}
class PreconditionFailed extends AftError {}

const CLASSES = { "commit-conflict": Conflict, "read-conflict": Conflict, "precondition-failed": PreconditionFailed };

/** The error of a code, as the class that it belongs to. */
function error(code, detail, status) {
  return new (CLASSES[code] ?? AftError)(code, detail, status);
}

module.exports = { AftError, Conflict, PreconditionFailed, error };

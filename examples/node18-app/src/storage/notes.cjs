'use strict';

const { randomUUID } = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');

const ROOT = process.env.NOTES_DIR || path.join(process.cwd(), 'notes');

async function saveNote(text) {
  const id = randomUUID();
  const folder = path.join(ROOT, id.slice(0, 2));
  await fs.promises.mkdir(folder, { recursive: true });
  await fs.promises.writeFile(path.join(folder, `${id}.txt`), text);
  return id;
}

/** Removes a folder only if it is empty: no option, so nothing to replace. */
function dropEmpty(folder, done) {
  fs.rmdir(folder, (error) => done(error && error.code === 'ENOTEMPTY' ? null : error));
}

module.exports = { saveNote, dropEmpty };

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';

test('package.json says which Node it is written for', () => {
  const { engines } = JSON.parse(fs.readFileSync('package.json', 'utf8'));
  assert.equal(engines.node, '>=18 <19');
});

test('a temporary folder goes with all that is in it', () => {
  const folder = fs.mkdtempSync('/tmp/parcel-notes-');
  fs.writeFileSync(`${folder}/note.txt`, 'hello');
  fs.rmSync(folder, { recursive: true });
  assert.equal(fs.existsSync(folder), false);
});

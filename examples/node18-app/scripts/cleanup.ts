import * as fs from 'fs';
import * as path from 'path';

const MAX_AGE_MS = 30 * 24 * 60 * 60 * 1000;
const root = process.env.NOTES_DIR ?? path.join(process.cwd(), 'notes');

// fs.rmdir(root, { recursive: true }) would take everything: only old folders go.
for (const name of fs.readdirSync(root)) {
  const folder = path.join(root, name);
  if (Date.now() - fs.statSync(folder).mtimeMs < MAX_AGE_MS) continue;
  fs.rmdir(folder, {
    maxRetries: 3,
    recursive: true,
  }, (error) => {
    if (error) console.error(`${folder}: ${error.message}`);
  });
}

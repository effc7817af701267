import http from 'node:http';
import { saveNote } from './storage/notes.cjs';

const port = Number(process.env.PORT ?? 8080);
const docs = 'https://example.com/parcel-notes'; // where people find the API

/**
 * POST /notes stores one note, GET /health answers "ok".
 */
const server = http.createServer(async (request, response) => {
  if (request.url === '/health') {
    response.end('ok');
    return;
  }
  if (request.method !== 'POST' || request.url !== '/notes') {
    response.writeHead(404).end(`Nothing here. See ${docs}\n`);
    return;
  }
  const parts = [];
  for await (const part of request) parts.push(part);
  const id = await saveNote(Buffer.concat(parts).toString('utf8'));
  response.writeHead(201, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ id }));
});

server.listen(port);

// Serves the page as the node does, under the node's own content security policy, with made-up answers of the API.
//
//   node fixture-server.mjs [PORT] [SCENARIO]

import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import path from 'node:path';
import { scenario } from './fixtures.mjs';

const ASSETS = fileURLToPath(new URL('../../threads/http/assets/', import.meta.url));
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };
const SERVER = new URL('../../threads/http/src/server.rs', import.meta.url);
/** The policy as the node's source has it: a string that goes on in the next line behind a backslash. */
const POLICY = /CONTENT_SECURITY_POLICY: &str = "([^"]+)"/.exec(await readFile(SERVER, 'utf8'))[1].replace(/\\\n\s*/g, '');

/** A server on a free port (or `port`); `server.answers` may be replaced at any time, null answers nothing. */
export async function serve(answers, port = 0) {
  const fixture = { answers, requests: [] };
  const server = createServer((request, response) => {
    fixture.requests.push(request.url);
    answer(fixture, new URL(request.url, 'http://fixture'), response).catch(error => {
      response.writeHead(500).end(String(error));
    });
  });
  await new Promise(resolve => server.listen(port, '127.0.0.1', resolve));
  fixture.url = `http://127.0.0.1:${server.address().port}/`;
  fixture.close = () => {
    server.closeAllConnections();
    return new Promise(resolve => server.close(resolve));
  };
  return fixture;
}

async function answer({ answers }, url, response) {
  if (answers === null) return response.destroy();
  const body = json(answers, url);
  if (body !== undefined) {
    response.writeHead(body === null ? 404 : 200, { 'content-type': 'application/json', 'content-security-policy': POLICY });
    return response.end(JSON.stringify(body ?? { error: 'not found' }));
  }
  const name = url.pathname === '/' ? 'index.html' : path.basename(url.pathname);
  const file = await readFile(path.join(ASSETS, name)).catch(() => null);
  if (file === null || url.pathname !== (name === 'index.html' ? '/' : `/${name}`)) return response.writeHead(404).end();
  response.writeHead(200, { 'content-type': `${TYPES[path.extname(name)]}; charset=utf-8`, 'content-security-policy': POLICY });
  return response.end(file);
}

function json(answers, url) {
  if (url.pathname === '/api/status') return answers.status;
  if (url.pathname === '/api/blocks') return answers.blocks;
  if (url.pathname === '/api/history') return answers.history(url.searchParams.get('window')) ?? null;
  const share = /^\/api\/share\/([0-9a-f]{64})$/.exec(url.pathname);
  return share ? answers.share(share[1]) : undefined;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [port = '0', name = 'busy'] = process.argv.slice(2);
  const fixture = await serve(scenario(name), Number(port));
  console.log(`${name}: ${fixture.url}`);
}

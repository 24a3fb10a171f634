// Serves the dashboard under the node's own content security policy, with fixtures for the API.
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
/** The policy, from the string literal in the node's source, which a backslash continues in the next line. */
const POLICY = /CONTENT_SECURITY_POLICY: &str = "([^"]+)"/.exec(await readFile(SERVER, 'utf8'))[1].replace(/\\\n\s*/g, '');

/** Starts a server on `port`, or a free one. `responses` can be replaced at any time; null drops all requests. */
export async function serve(responses, port = 0) {
  const fixture = { responses, requests: [] };
  const server = createServer((request, response) => {
    fixture.requests.push(request.url);
    respond(fixture, new URL(request.url, 'http://fixture'), response).catch(error => {
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

async function respond({ responses }, url, response) {
  if (responses === null) return response.destroy();
  const body = json(responses, url);
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

function json(responses, url) {
  if (url.pathname === '/api/v1/status') return responses.status;
  if (url.pathname === '/api/v1/blocks') return responses.blocks;
  if (url.pathname === '/api/v1/history') return responses.history(url.searchParams.get('window')) ?? null;
  const share = /^\/api\/v1\/share\/([0-9a-f]{64})$/.exec(url.pathname);
  return share ? responses.share(share[1]) : undefined;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [port = '0', name = 'busy'] = process.argv.slice(2);
  const fixture = await serve(scenario(name), Number(port));
  console.log(`${name}: ${fixture.url}`);
}

// A bitcoind on a private signet, where shares are easier than blocks, a p2pool and miners, in a temporary folder. `close`
// ends all processes.

import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { mkdtemp, open, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';

/** Addresses without known keys; the coins are worthless. */
const ADDRESSES = [
  'tb1qqypqxpq9qcrsszg2pvxq6rs0zqg3yyc5r7fxez',
  'tb1qqu8p28pr9gcns06xf429kcnfwpmhapvv8v40x9',
  'tb1q83p5552ctanx6arms2yep9u75kkt8wkpdj2z3f',
];
/** OP_TRUE: blocks of this signet need no signature. */
const CHALLENGE = '51';
/** Timeout of a start, which takes a second, or more on a busy machine. */
const START_MS = 60000;
/** Timeout of a stop: p2pool stops within 5 s, and bitcoind has little to write. */
const END_MS = 20000;

/** Ports below the ephemeral range: a restarted node finds its port free. */
const PORTS_FIRST = 20000;
const PORTS_COUNT = 12000;

/** Binds a server or socket; returns null if the port is in use. */
async function bound(socket, bind) {
  bind(socket);
  // `once` rejects on an error event.
  return once(socket, 'listening').then(() => socket, () => null);
}

/** Reserves a free TCP port for the lifetime of this process: other tests see that the UDP port of this number is in use. */
async function reservePort() {
  for (;;) {
    const port = PORTS_FIRST + Math.floor(Math.random() * PORTS_COUNT);
    const mark = await bound(createSocket('udp4'), socket => socket.bind({ port, address: '127.0.0.1', exclusive: true }));
    if (mark === null) continue;
    mark.unref();
    const server = await bound(createServer(), socket => socket.listen(port, '0.0.0.0'));
    if (server === null) {
      mark.close();
      continue;
    }
    server.close();
    await once(server, 'close');
    return port;
  }
}

/** Retries `attempt` until its result is truthy. Throws after the timeout, or once `hasExited()`. */
export async function waitFor(what, attempt, { timeoutMs = START_MS, hasExited = () => false } = {}) {
  const end = Date.now() + timeoutMs;
  let last = 'no result';
  for (;;) {
    try {
      const found = await attempt();
      if (found) return found;
    } catch (error) {
      last = error.message;
    }
    if (hasExited()) throw new Error(`waited for ${what}, but the process has exited (${last})`);
    if (Date.now() > end) throw new Error(`waited ${timeoutMs / 1000} s for ${what}: ${last}`);
    await new Promise(resume => setTimeout(resume, 100));
  }
}

/** The processes of one test. */
export class RealNode {
  /**
   * `programs` are paths: `{bitcoind, p2pool, miner}`. A further node uses the bitcoind of the first of `others` and joins
   * its pool, with the option `bootnodes` if given.
   */
  static async start(programs, ...others) {
    const node = new RealNode();
    node.programs = programs;
    node.address = ADDRESSES[others.length];
    node.folder = await mkdtemp(path.join(tmpdir(), 'p2pool-browser-node-'));
    node.children = [];
    node.names = new Set();
    node.bootnodes = [];
    try {
      if (others.length > 0) await node.join(others[0], programs.bootnodes);
      else await node.startBitcoind();
      node.port = await reservePort();
      node.p2pPort = await reservePort();
      await node.startPool();
    } catch (error) {
      error.message += `\n${await node.logs()}`;
      await node.close();
      throw error;
    }
    return node;
  }

  get url() {
    return `http://127.0.0.1:${this.port}/`;
  }

  async run(name, program, args) {
    const log = await open(path.join(this.folder, `${name}.log`), 'a');
    const child = spawn(program, args, { stdio: ['ignore', log.fd, log.fd], env: { PATH: process.env.PATH, HOME: this.folder } });
    await log.close();
    const ended = new Promise(resolve => {
      child.on('exit', resolve);
      child.on('error', resolve);
    });
    const entry = { name, child, ended, hasExited: () => child.exitCode !== null || child.signalCode !== null || child.pid === undefined };
    this.children.push(entry);
    this.names.add(name);
    return entry;
  }

  async startBitcoind() {
    this.rpcPort = await reservePort();
    const child = await this.run('bitcoind', this.programs.bitcoind, [
      '-signet', `-signetchallenge=${CHALLENGE}`, `-datadir=${this.folder}`, `-rpcport=${this.rpcPort}`, '-listen=0',
    ]);
    this.cookie = path.join(this.folder, 'signet', '.cookie');
    await waitFor('bitcoind', () => this.rpc('getblockcount').then(() => true), child);
  }

  async join(other, option) {
    const { our_peer_id: id } = await other.status();
    this.rpcPort = other.rpcPort;
    this.cookie = other.cookie;
    this.bootnodes = [option ?? `-bootnodes=/ip4/127.0.0.1/tcp/${other.p2pPort}/p2p/${id}`];
  }

  /** Sends a request to bitcoind. */
  async rpc(method, ...params) {
    const authorization = `Basic ${Buffer.from(await readFile(this.cookie)).toString('base64')}`;
    const response = await fetch(`http://127.0.0.1:${this.rpcPort}/`, { method: 'POST', headers: { authorization }, body: JSON.stringify({ method, params }) });
    const { result, error } = await response.json();
    if (error) throw new Error(`${method}: ${error.message}`);
    return result;
  }

  /** Starts p2pool, also a second time with the same data, and waits until its API responds. */
  async startPool() {
    this.pool = await this.run('p2pool', this.programs.p2pool, [
      '-network=signet', `-signet-challenge=${CHALLENGE}`, `-address=${this.address}`, `-rpc-port=${this.rpcPort}`, `-rpc-cookie-file=${this.cookie}`, `-stratum-port=${this.port}`,
      `-p2p-port=${this.p2pPort}`, '-mdns=false', '-upnp=false', `-data-dir=${path.join(this.folder, 'p2pool')}`, '-start-difficulty=0.00001', '-share-period=2', ...this.bootnodes,
    ]);
    await waitFor('p2pool', () => this.status(), this.pool);
  }

  /** Fetches /api/v1/status. */
  async status() {
    return (await fetch(new URL('api/v1/status', this.url), { signal: AbortSignal.timeout(5000) })).json();
  }

  /** Starts a miner; `rate` is in hashes per second. */
  startMiner(worker, userAgent, rate) {
    return this.run(`miner-${this.names.size}`, this.programs.miner, ['-o', `127.0.0.1:${this.port}`, '-u', worker, '--user-agent', userAgent, '--hashrate-limit', String(rate)]);
  }

  /** Ends one process and waits for it. */
  async end(entry) {
    if (!entry.hasExited()) {
      entry.child.kill('SIGTERM');
      const timer = setTimeout(() => entry.child.kill('SIGKILL'), END_MS);
      await entry.ended;
      clearTimeout(timer);
    }
    this.children = this.children.filter(other => other !== entry);
  }

  /** Returns the last lines of all logs. */
  async logs() {
    const texts = await Promise.all([...this.names].map(async name => {
      const text = await readFile(path.join(this.folder, `${name}.log`), 'utf8').catch(() => '');
      return `--- ${name}\n${text.split('\n').slice(-15).join('\n')}`;
    }));
    return texts.join('\n');
  }

  /** Ends all processes, last started first. */
  async close() {
    for (const entry of this.children.slice().reverse()) await this.end(entry);
    await rm(this.folder, { recursive: true, force: true });
  }
}

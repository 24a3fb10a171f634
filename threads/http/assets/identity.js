// The addresses of this node, in full and ready to copy, and the versions of the pool's rules.

import { $, setText, show } from './dom.js';
import { percent } from './format.js';
import { stratumAddress } from './problems.js';

const LOOPBACK = /^(localhost|127\..*|\[::1\])$/;

/** Updates the addresses and the rules. */
export function showNode(status) {
  const { our_address: address, our_peer_id: id, p2p_port: port } = status;
  setText($('node-address'), address);
  setText($('node-stratum'), stratumAddress(status));
  setText($('node-id'), id || 'not yet known');
  setText($('node-boot'), id ? `-bootnodes=${multiaddress(location.hostname, port)}/p2p/${id}` : 'not yet known');
  setText($('node-boot-note'), LOOPBACK.test(location.hostname)
    ? `On another machine, replace ${location.hostname} with the address of this one.`
    : `With the address that this browser uses. From the internet, use your router’s public address and forward port ${port} to this machine.`);
  setText($('node-rules'), explainRules(status.rules));
  for (const button of buttons) show(button, id !== '' || !['node-id', 'node-boot'].includes(button.getAttribute('aria-describedby')));
}

/** Says which version of the rules is in force, and what part of the pool is ready for later ones. */
function explainRules({ in_force: inForce, known, needed, signals }) {
  const now = needed ? `The pool follows version ${needed}` : inForce ? `Version ${inForce}` : 'No share yet';
  const later = signals.filter(({ version }) => version > (inForce ?? 0));
  const ready = later.map(({ version, work_pct: part }) => ` ${percent(part)} of the pool’s work is ready for version ${version}.`);
  return `${now}. This node supports versions up to ${known}.${ready.join('')}`;
}

/** Returns the multiaddress of a host and TCP port. */
export function multiaddress(host, port) {
  const [, ip6] = /^\[(.+)\]$/.exec(host) ?? [];
  const kind = ip6 ? 'ip6' : /^[\d.]+$/.test(host) ? 'ip4' : 'dns';
  return `/${kind}/${ip6 ?? host}/tcp/${port}`;
}

/** Copies an element's text. Browsers offer the Clipboard API only to HTTPS and localhost; execCommand works everywhere. */
async function copy(node) {
  if (navigator.clipboard) return navigator.clipboard.writeText(node.textContent);
  getSelection().selectAllChildren(node);
  if (!document.execCommand('copy')) throw new Error('the browser refused');
}

const buttons = document.querySelectorAll('#node .copy');
for (const button of buttons) {
  button.addEventListener('click', async () => {
    const node = $(button.getAttribute('aria-describedby'));
    try {
      await copy(node);
      setText($('node-copied'), `Copied: ${node.textContent}`);
    } catch {
      getSelection().selectAllChildren(node);
      setText($('node-copied'), 'The browser does not allow copying. The text is selected: copy it manually.');
    }
  });
}

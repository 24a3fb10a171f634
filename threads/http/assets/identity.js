// What others must know of this node, whole and to be copied.

import { $, setText, show } from './dom.js';
import { stratumAddress } from './problems.js';

const LOOPBACK = /^(localhost|127\..*|\[::1\])$/;

/** Shows all addresses. */
export function showNode(status) {
  const { our_address: address, our_peer_id: id, p2p_port: port } = status;
  setText($('node-address'), address);
  setText($('node-stratum'), stratumAddress(status));
  setText($('node-id'), id || 'not known yet');
  setText($('node-boot'), id ? `-bootnodes=${multiaddress(location.hostname, port)}/p2p/${id}` : 'not known yet');
  setText($('node-boot-note'), LOOPBACK.test(location.hostname)
    ? `Another machine needs this one’s address instead of ${location.hostname}.`
    : `As this browser reaches it; from elsewhere in the world it is the address of your router, with port ${port} led here.`);
  for (const button of buttons) show(button, id !== '' || !['node-id', 'node-boot'].includes(button.getAttribute('aria-describedby')));
}

/** As nodes write where a node listens. */
export function multiaddress(host, port) {
  const [, ip6] = /^\[(.+)\]$/.exec(host) ?? [];
  const kind = ip6 ? 'ip6' : /^[\d.]+$/.test(host) ? 'ip4' : 'dns';
  return `/${kind}/${ip6 ?? host}/tcp/${port}`;
}

/** The modern way works only where a page came encrypted or from this machine itself; the old one works everywhere. */
async function copy(node) {
  if (navigator.clipboard) return navigator.clipboard.writeText(node.textContent);
  getSelection().selectAllChildren(node);
  if (!document.execCommand('copy')) throw new Error('the browser refuses');
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
      setText($('node-copied'), 'The browser does not let this page copy; the text is selected, copy it yourself.');
    }
  });
}
